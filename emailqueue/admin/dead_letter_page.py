"""What the page of a dead letter shows beside its fields."""

import json
from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from django.utils.html import format_html

from emailqueue.admin.actions import ACTIONS
from emailqueue.dead_letters.actions import may
from emailqueue.dead_letters.preview import is_stale, render_now
from emailqueue.dead_letters.summary import hint, summary
from emailqueue.jobs.priority import EVENT_QUEUE
from emailqueue.mail.messages import MESSAGE, readable
from emailqueue.models import DeadLetter
from emailqueue.verdict.judge import sentence


def page_context(request: HttpRequest, letter: DeadLetter) -> dict[str, Any]:
    """Return what the template shows: what happened, the attempts, the content, and what this user may do."""
    may_read, is_message = may(request.user, "view_body"), letter.email_type == MESSAGE
    return {
        "summary": summary(letter),
        "hint": hint(letter),
        "stale": is_stale(letter),
        "attempts": [(attempt, sentence(attempt.rule)) for attempt in letter.attempts.all()],
        "offered": [each for each in ACTIONS if each.is_offered(letter) and may(request.user, each.permission)],
        "may_read": may_read,
        "mail": render_now(letter) if may_read and letter.email_type else None,
        "content": as_pre(readable(letter.arguments or {}) if is_message else letter.arguments) if may_read else "",
        "neighbours": _neighbours(letter),
        "event_led_to_it": bool(letter.cause or letter.queue == EVENT_QUEUE),
    }


def as_pre(value: Any) -> str:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False))


def _neighbours(letter: DeadLetter) -> dict[str, DeadLetter | None]:
    """Return the dead letters of the same recipient just before and after this one."""
    if not letter.recipient_key:
        return {}
    same = DeadLetter.objects.filter(recipient_key=letter.recipient_key).only("pk", "label", "dead_lettered_at")
    at = letter.dead_lettered_at
    earlier = same.filter(Q(dead_lettered_at__lt=at) | Q(dead_lettered_at=at, pk__lt=letter.pk))
    later = same.filter(Q(dead_lettered_at__gt=at) | Q(dead_lettered_at=at, pk__gt=letter.pk))
    return {
        "earlier": earlier.order_by("-dead_lettered_at", "-pk").first(),
        "later": later.order_by("dead_lettered_at", "pk").first(),
    }
