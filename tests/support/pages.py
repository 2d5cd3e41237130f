"""What a page of the docs holds: its blocks of code, its links and its headings, read as CommonMark."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

SHELLS = ("", "bash", "console", "sh")
"""What a block of commands calls itself; the empty one is also that of an indented block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of code."""

    language: str
    """The first word behind its fence; empty for an indented block, too."""
    content: str
    line: int
    """Number of the line in the page that its fence stands in, from 1; of an indented block, its first line."""

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command line, if it is a block of a shell."""
        if self.language not in SHELLS:
            return []
        lines = self.content.replace("\\\n", " ").splitlines()
        if self.language == "console":  # the rest is what the commands print
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [_words(line) for line in lines]


class Page:
    """A page, by its path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def tokens(self) -> list[Token]:
        """Its text in pieces, in their order, what stands in a paragraph after the paragraph."""
        return list(_flat(MarkdownIt("commonmark").enable("table").parse(self.path.read_text())))

    @property
    def blocks(self) -> list[Block]:
        """Its blocks of code, in their order."""
        return [
            Block(language=(token.info.split() or [""])[0], content=token.content, line=(token.map or [0])[0] + 1)
            for token in self.tokens
            if token.type in ("fence", "code_block")
        ]

    @property
    def python(self) -> str:
        """Its Python blocks as one module, in which each line has the number that it has in the page."""
        lines = [""] * len(self.path.read_text().splitlines())
        for block in self.blocks:
            if block.language == "python":
                content = block.content.splitlines()
                lines[block.line : block.line + len(content)] = content  # block.line itself is the fence
        return "\n".join(lines)

    @property
    def spans(self) -> list[str]:
        """The code within its sentences, without line breaks."""
        return [" ".join(token.content.split()) for token in self.tokens if token.type == "code_inline"]

    @property
    def links(self) -> list[str]:
        """Where its links and pictures lead."""
        return [str(token.attrs[name]) for token in self.tokens for name in ("href", "src") if name in token.attrs]

    @property
    def anchors(self) -> set[str]:
        """What its headings can be reached by, named as GitHub names them."""
        seen: Counter[str] = Counter()
        found = set()
        for heading, text in zip(self.tokens, self.tokens[1:], strict=False):
            if heading.type == "heading_open":
                slug = re.sub(r"[^\w\- ]", "", text.content.lower()).replace(" ", "-")
                found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
                seen[slug] += 1
        return found


def _flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _flat(token.children or [])


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a lone quote in a sentence that a program prints
        return []
