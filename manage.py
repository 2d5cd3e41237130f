#!/usr/bin/env python
"""Run a command of the example project."""

import os
import signal
import sys

if __name__ == "__main__":
    # Before the slow imports: the first process of a container ignores SIGTERM until it has a handler, and a worker
    # sets its own when it has started. Not sys.exit(): Python ignores what is raised in a callback, as imports have
    # them, and the worker would start all the same.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # The sentence says what to write instead; a traceback would hide it.
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
