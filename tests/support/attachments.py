"""Mails with a large attachment, and the files that are kept of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.mail import EmailMessage
from redis import Redis

from emailqueue.backends import QueuedEmailBackend
from emailqueue.mail.attachments import INLINE

LARGE = bytes(range(256)) * (INLINE // 256) + b"more"
OFFICE = "office@sender.example"


def send(*to: str, content: bytes = LARGE) -> None:
    message = EmailMessage("Subject", "Body", OFFICE, list(to or ["ada@example.com"]))
    message.attach("large.bin", content, "application/octet-stream")
    QueuedEmailBackend().send_messages([message])


def files(media: Path) -> list[Path]:
    return [path for path in media.rglob("*") if path.is_file()]


def job_ids(valkey: Redis) -> list[str]:
    waiting: list[Any] = valkey.lrange("rq:queue:normal", 0, -1)
    return [job_id.decode() for job_id in waiting]
