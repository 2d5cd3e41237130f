"""Django's own mail through the queue."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings
from redis import Redis

from emailqueue.delivery.mailers import SMTP
from emailqueue.testing import MailServer
from tests.support.django_mail import deliver_by


@pytest.fixture
def queued(mailbox: MailServer, settings: Settings, valkey: Redis, tmp_path: Path) -> MailServer:
    settings.MEDIA_ROOT = tmp_path / "media"
    deliver_by(settings, SMTP)
    return mailbox
