"""The mailbox page: what quickstart's mail server has received, read from the files that it writes."""

import os
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from heapq import nlargest
from pathlib import Path

from django.conf import settings
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from emailqueue.dead_letters.sandbox import sandboxed

SHOWN = 100
"""Newest mails that the page lists."""
LARGEST = 2_000_000
"""Bytes of a mail that are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One mail in the folder."""

    name: str
    """Its file's name: a number that grows, and the recipient."""

    message: EmailMessage

    @property
    def text(self) -> str:
        """The text part, or nothing."""
        return self._part("plain")

    @property
    def html(self) -> str:
        """The HTML part, or nothing."""
        return self._part("html")

    def _part(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        if part is None:
            return ""
        try:
            return str(part.get_content())
        except (LookupError, ValueError):  # a charset that Python does not know
            return ""


def mailbox(request: HttpRequest) -> HttpResponse:
    """List the newest mails, or show the one that ?mail= names; ?html=1 is what its frame shows."""
    folder = Path(settings.MAILBOX)
    names = _names(folder)
    name = request.GET.get("mail")
    context = {**admin.site.each_context(request), "title": "Mailbox", "folder": folder, "shown": SHOWN}
    if name is None:
        mails = [_read(folder, newest) for newest in nlargest(SHOWN, names)]
        return TemplateResponse(request, "config/mailbox.html", context | {"mails": mails})
    # Looked up among the names that are there, so that it leads nowhere else.
    if name not in names:
        raise Http404("No such mail.")
    mail = _read(folder, name)
    if "html" in request.GET:
        return sandboxed(mail.html)
    return TemplateResponse(request, "config/mail.html", context | {"mail": mail, "title": mail.message["subject"]})


def _names(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in os.scandir(folder) if entry.name.endswith(".eml") and entry.is_file()}
    except FileNotFoundError:
        return set()


def _read(folder: Path, name: str) -> Received:
    with (folder / name).open("rb") as file:
        message = message_from_bytes(file.read(LARGEST), policy=policy.default)
    return Received(name=name, message=message)
