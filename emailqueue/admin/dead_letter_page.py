"""What the page of a letter shows beside its fields."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from emailqueue.dead_letters.origins import origins_of
from emailqueue.dead_letters.permissions import may
from emailqueue.dead_letters.preview import is_stale, render_now
from emailqueue.dead_letters.summary import advice, story, verdict_of
from emailqueue.mail.messages import MESSAGE, readable
from emailqueue.models import DeadLetter, Status


def page_context(request: HttpRequest, letter: DeadLetter) -> dict[str, Any]:
    """Return what the template shows: the story, the attempts, the content, and what this user may do."""
    may_read = may(request.user, "view_body")
    open_to = {verb: letter.status == Status.OPEN and may(request.user, verb) for verb in ("retry", "discard")}
    return {
        "story": story(letter),
        "advice": advice(letter),
        "stale": is_stale(letter),
        "attempts": [(attempt, verdict_of(attempt)) for attempt in letter.attempts.all()],
        "may_retry": open_to["retry"] and letter.arguments is not None,
        "may_edit": open_to["retry"] and bool(letter.email_type and letter.arguments),
        "may_discard": open_to["discard"],
        "may_read": may_read,
        "mail": render_now(letter) if may_read and letter.email_type else None,
        "content": laid_out(_content(letter)) if may_read else "",
        "neighbours": _neighbours(letter),
        "origins": origins_of(letter, request.user),
    }


def address_of(letter: DeadLetter, verb: str = "change") -> str:
    """Return the address of a letter's page, or of a verb's."""
    return reverse(f"admin:emailqueue_deadletter_{verb}", args=[letter.pk])


def laid_out(value: Any) -> str:
    """Return JSON as people read it."""
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False))


def _content(letter: DeadLetter) -> Any:
    arguments = letter.arguments
    return readable(arguments) if letter.email_type == MESSAGE and isinstance(arguments, dict) else arguments


def _neighbours(letter: DeadLetter) -> dict[str, DeadLetter | None]:
    """Return the letters of the same recipient that died before and after this one."""
    if not letter.recipient_key:
        return {}
    same = DeadLetter.objects.filter(recipient_key=letter.recipient_key).only("pk", "label", "died_at")
    at = letter.died_at
    return {
        "earlier": same.filter(Q(died_at__lt=at) | Q(died_at=at, pk__lt=letter.pk)).order_by("-died_at", "-pk").first(),
        "later": same.filter(Q(died_at__gt=at) | Q(died_at=at, pk__gt=letter.pk)).order_by("died_at", "pk").first(),
    }
