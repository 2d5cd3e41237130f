"""How a child is tied to its parent: `python -m config.quickstart.tied PARENT COMMAND...` becomes the command."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""See prctl(2): the setting outlives exec. Set here and not between fork and exec, which threads make unsafe."""


def become(parent: int, command: list[str]) -> None:
    """Run `command` in place of this process; on Linux it is killed as soon as `parent` is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - quickstart's own command


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
