"""A browser that knows what a reader of the tutorial sees: links, fields and buttons by their words."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from typing import TypeVar
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, ProxyHandler, Request, build_opener


@dataclass(slots=True, kw_only=True)
class Form:
    """A form as it is filled in."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """What sends a form."""

    form: Form
    action: str
    """Where it sends the form to; empty: where the form says."""
    field: tuple[str, str] | None


Thing = TypeVar("Thing")


class Screen(HTMLParser):
    """A page as it is seen."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: dict[str, str] = {}
        self.buttons: dict[str, Button] = {}
        self.labels: dict[str, str] = {}
        """Ids of fields by the words beside them."""
        self.fields: dict[str, tuple[Form, str]] = {}
        """Forms and names of fields by their ids."""
        self._words: list[str] = []
        self._open: list[tuple[str, dict[str, str], int]] = []
        self._form = Form(action="")
        self.feed(html)

    @property
    def text(self) -> str:
        """All its words."""
        return " ".join(" ".join(self._words).split())

    def handle_data(self, data: str) -> None:
        """Collect the words."""
        if not any(tag in ("script", "style") for tag, _attributes, _start in self._open):
            self._words.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what can be used."""
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = Form(action=attributes.get("action", ""))
        elif tag == "input":
            self._note_input(attributes)
        elif tag in ("a", "label", "textarea", "select", "option", "script", "style"):
            if tag in ("textarea", "select"):
                self.fields[attributes.get("id", "")] = (self._form, attributes.get("name", ""))
            self._open.append((tag, attributes, len(self._words)))

    def handle_endtag(self, tag: str) -> None:
        """Note what had words between its tags."""
        if not self._open or self._open[-1][0] != tag:
            return
        _tag, attributes, start = self._open.pop()
        words = "".join(self._words[start:])
        if tag == "a":
            self.links.setdefault(" ".join(words.split()), attributes.get("href", ""))
        elif tag == "label":
            self.labels[" ".join(words.split()).removesuffix(":")] = attributes.get("for", "")
        elif tag == "textarea":
            self._form.fields[attributes.get("name", "")] = words.removeprefix("\n")
        elif tag == "option" and "selected" in attributes and self._open:
            self._form.fields[self._open[-1][1].get("name", "")] = attributes.get("value", words)

    def _note_input(self, attributes: dict[str, str]) -> None:
        kind, name, value = (attributes.get(key, "") for key in ("type", "name", "value"))
        if kind == "submit":
            sent = (name, value) if name else None
            self.buttons[value] = Button(form=self._form, action=attributes.get("formaction", ""), field=sent)
            return
        self.fields[attributes.get("id", "")] = (self._form, name)
        if name and (kind not in ("checkbox", "radio") or "checked" in attributes):
            self._form.fields[name] = value


class Browser:
    """One window, with its cookies."""

    def __init__(self) -> None:
        self._opener = build_opener(ProxyHandler({}), HTTPCookieProcessor(CookieJar()))
        self._address = ""
        self._screen = Screen("")

    def open(self, address: str, *, fields: dict[str, str] | None = None) -> None:
        """Go to an address; with fields, send a form to it."""
        address = urljoin(self._address, address)
        body = None if fields is None else urlencode(fields).encode()
        request = Request(address, body, {"Referer": self._address})  # noqa: S310 - a server of the test
        with self._opener.open(request, timeout=20) as answer:
            self._address, self._screen = answer.geturl(), Screen(answer.read().decode())

    def click(self, words: str) -> None:
        """Follow the link of these words."""
        self.open(self._named(words, self._screen.links))

    def type(self, value: str, *, into: str) -> None:
        """Fill in the field that these words stand beside."""
        form, name = self._screen.fields[self._named(into, self._screen.labels)]
        form.fields[name] = value

    def press(self, words: str) -> None:
        """Send a form by the button of these words."""
        button = self._named(words, self._screen.buttons)
        self.open(
            button.action or button.form.action, fields={**button.form.fields, **dict([button.field or ("", "")])}
        )

    def says(self, words: str) -> bool:
        """Return whether the page has these words."""
        return words in self._screen.text

    def _named(self, words: str, things: dict[str, Thing]) -> Thing:
        assert words in things, f"{self._address} has no {words!r}, but {', '.join(map(repr, things))}."
        return things[words]
