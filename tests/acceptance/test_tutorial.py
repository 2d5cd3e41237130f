"""docs/tutorial.md, done word for word: its files written, its commands typed, its clicks made, its output compared."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.clicks import Browser
from tests.support.pages import Block, Page
from tests.support.terminal import Terminal, is_shown

FILE = re.compile(r"(?:#|<!--) (\S+?)(?P<added>, added at its end)?(?:, Django (?P<django>[\d.]+))?(?: -->)?")
STEP = re.compile(
    r"[Oo]pen <(?P<address>[^>]+)>"
    r"|[Tt]ype `(?P<value>[^`]+)` into \*\*(?P<field>[^*]+)\*\*"
    r"|[Pp]ress \*\*(?P<button>[^*]+)\*\*"
    r"|(?:[Cc]lick|then) \*\*(?P<link>[^*]+)\*\*"
    r"|“(?P<words>[^”]+)”"
)
FIRST = "the first terminal"


class Reader:
    """Does what the page says, piece by piece."""

    def __init__(self, folder: Path, *, logs: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self.done = {"files": 0, "commands": 0}
        self.terminals: dict[str, Terminal] = {}
        self.browser = Browser()
        self._logs = logs
        self._environ = environ
        self._id = ""

    def follow(self, page: Page) -> None:
        """Read from the beginning to the end."""
        blocks = {block.line: block for block in page.blocks}
        listed = False
        for token in page.tokens:
            if token.type == "fence":
                block = blocks[(token.map or [0])[0] + 1]
                do = self.type_in if block.language == "console" else self.write
                do(block)
            elif token.type in ("ordered_list_open", "ordered_list_close"):
                listed = token.type.endswith("open")
            elif token.type == "inline" and listed:
                self.click_through(" ".join(token.content.split()))

    def write(self, block: Block) -> None:
        """Write the file that the first line of a block names, or add to it."""
        first, _newline, content = block.content.partition("\n")
        named = FILE.fullmatch(first)
        assert named, f"Line {block.line}: the block does not say in its first line which file it is."
        if named["django"] and not self._is_for_us(named["django"]):
            return
        path = self.folder / named[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        before = f"{path.read_text()}\n" if named["added"] else ""
        path.write_text(before + content)
        self.done["files"] += 1

    def type_in(self, block: Block) -> None:
        """Type the commands of a block, and compare what is printed with what is shown."""
        lines = block.content.splitlines()
        name, _comma, first = (lines.pop(0)[2:] if lines[0].startswith("# ") else FIRST).partition(", ")
        terminal = self._terminal(re.sub(r"^a ", "the ", name))
        if first == "after Ctrl+C":
            assert terminal.interrupt() == 0
        shown, *dialogue = re.split(r"^\$ (.*)\n?", "\n".join(lines), flags=re.MULTILINE)
        if shown:
            terminal.expect(shown)
        for command, output in zip(dialogue[::2], dialogue[1::2], strict=True):
            stays = name != FIRST and command == dialogue[-2]
            self._enter(terminal, command.replace(" ID", f" {self._id}"), output, stays=stays)

    def click_through(self, text: str) -> None:
        """Do what a numbered sentence says, and find on the page what it quotes."""
        assert not re.search(r"[*`<“]", STEP.sub("", text)), f"Nobody knows how to do all of this: {text}"
        for step in STEP.finditer(text):
            if step["address"]:
                self.browser.open(step["address"])
            elif step["value"]:
                self.browser.type(step["value"], into=step["field"])
            elif step["button"]:
                self.browser.press(step["button"])
            elif step["link"]:
                self.browser.click(step["link"])
            else:
                assert self.browser.says(step["words"]), f"The page does not say {step['words']!r}."

    def _enter(self, terminal: Terminal, command: str, output: str, *, stays: bool) -> None:
        self.done["commands"] += 1
        if stays:
            terminal.begin(command)
            terminal.expect(output)
            return
        printed = terminal.run(command)
        assert is_shown(printed, output), f"{command!r} printed:\n{printed}\nThe page shows:\n{output}"
        self._id = (re.findall(r"\b[0-9a-f]{32}\b", printed) or [self._id])[-1]

    def _terminal(self, name: str) -> Terminal:
        if name not in self.terminals:
            self.terminals[name] = Terminal(name, folder=self.folder, logs=self._logs, environ=self._environ)
        return self.terminals[name]

    def _is_for_us(self, version: str) -> bool:
        code = "import django; print('6.1' if django.VERSION >= (6, 1) else '5.2')"
        python = self.folder / ".venv" / "bin" / "python"
        return (
            subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == version
        )


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader in an empty folder beside a checkout, in whose environment nothing is set but where packages are."""
    (tmp_path / "django-emailqueue").symlink_to(ROOT)
    for folder in ("empty", "logs"):
        (tmp_path / folder).mkdir()
    kept = re.compile(r"HOME|LANG|TMPDIR|SSL_\w+|\w+_(?:proxy|PROXY)|PIP_\w+")
    environ = {name: value for name, value in os.environ.items() if kept.fullmatch(name)} | {
        "PATH": f"{sys.base_prefix}/bin:/usr/bin:/bin",
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONUNBUFFERED": "1",  # as in a terminal, which this is not
    }
    reader = Reader(tmp_path / "empty", logs=tmp_path / "logs", environ=environ)
    yield reader
    for terminal in reader.terminals.values():
        terminal.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_tutorial_leads_to_what_it_says(reader: Reader, tmp_path: Path) -> None:
    # Somebody else may have the ports; then the page itself says to take others.
    text = (ROOT / "docs" / "tutorial.md").read_text()
    for port in ("1025", "8000"):
        text = text.replace(port, free_port(port))
    page = Page(tmp_path / "tutorial.md")
    page.path.write_text(text)

    reader.follow(page)

    ended = [reader.terminals[f"the {name} terminal"].interrupt() for name in ("second", "third", "fourth")]
    assert reader.done == {"files": text.count("```python") + text.count("```html") - 1, "commands": text.count("\n$ ")}
    assert ended == [-signal.SIGINT, 0, 0]


@pytest.mark.parametrize(
    ("printed", "shown", "fits"),
    [
        ("made\n", "made\n", True),
        ("made 3\n", "made …\n", True),
        ("a\nb\nmade\n", "…\nmade\n", True),
        ("made\n", "…\nmade\n…\n", True),
        (f"{'0a' * 16}\n", f"{'f7' * 16}\n", True),
        ("", "", True),
        ("made\n", "", False),
        ("", "made\n", False),
        ("made\nwarning\n", "made\n", False),
        ("remade\n", "made\n", False),
    ],
)
def test_what_is_printed_is_compared_with_what_is_shown(printed: str, shown: str, fits: bool) -> None:
    assert is_shown(printed, shown) is fits


def free_port(wanted: str) -> str:
    """Return the port that is wanted, or a free one if it is taken."""
    for port in (int(wanted), 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return str(probe.getsockname()[1])
    raise AssertionError("No port is free.")
