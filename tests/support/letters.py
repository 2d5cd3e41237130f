"""Dead letters, and staff who look at them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from emailqueue.jobs.functions import DELIVER
from emailqueue.models import Attempt, DeadLetter, Reason

ALL = ("view", "view_body", "retry", "discard", "export", "control_queues")
LIST = reverse("admin:emailqueue_deadletter_changelist")
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
XSS = "<script>alert(1)</script>"


def create(number: int = 1, **fields: Any) -> DeadLetter:
    arguments = {
        "email_type": "vote-confirmation",
        "to": f"ada{number}@example.com",
        "context": {"model_name": "GPT", "profile_url": "https://front.example/models/7"},
    }
    letter = DeadLetter.objects.create(
        **{
            "id": f"{number:032x}",
            "job_id": f"job-{number}",
            "queue": "normal",
            "label": "vote-confirmation",
            "email_type": "vote-confirmation",
            "recipient": f"ada{number}@example.com",
            "priority": 3,
            "function": DELIVER,
            "arguments": arguments,
            "attempts_allowed": 3,
            "reason": Reason.PERMANENT,
            "attempts_charged": 1,
            "error_class": "emailqueue.delivery.smtp.Refused",
            "message": "550 no such mailbox",
            "smtp_code": 550,
            "smtp_reply": "no such mailbox",
            "dead_lettered_at": NOON + timedelta(seconds=number),
            **fields,
        }
    )
    Attempt.objects.create(
        dead_letter=letter,
        number=1,
        at=NOON,
        kind="permanent",
        phase="rcpt",
        smtp_code=letter.smtp_code,
        smtp_reply=letter.smtp_reply,
        error_class=letter.error_class,
        message=letter.message,
        traceback=fields.get("message", "Traceback …"),
    )
    return letter


def create_many(count: int, **fields: Any) -> None:
    """Store letters that say little, quickly."""
    letters = (DeadLetter(**{"id": f"f{number:031x}", "dead_lettered_at": NOON, **fields}) for number in range(count))
    DeadLetter.objects.bulk_create(letters, batch_size=500)


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("mary", password="secret", is_staff=True)
    codenames = [*(f"{name}_deadletter" for name in permissions), *permissions]
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


def page(letter: DeadLetter, name: str = "change") -> str:
    return reverse(f"admin:emailqueue_deadletter_{name}", args=[letter.pk])


def act(client: Client, action: str, *letters: DeadLetter, **fields: str) -> str:
    form = {"action": action, "_selected_action": [letter.pk for letter in letters], "index": "0", **fields}
    return client.post(LIST, form, follow=True).content.decode()


def act_export(client: Client, form: str, *letters: DeadLetter, **fields: str) -> list[bytes]:
    content = {"action": f"export_{form}", "_selected_action": [letter.pk for letter in letters], "index": "0"}
    answer = client.post(LIST, {**content, **fields})
    assert answer.status_code == 200, answer
    assert answer.streaming
    return list(answer.streaming_content)  # type: ignore[attr-defined]
