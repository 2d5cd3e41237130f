from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import django
import pytest
from django.utils.log import AdminEmailHandler
from django.utils.module_loading import import_string
from pytest_django import Settings
from redis import Redis

from emailqueue.conf import get_settings
from emailqueue.delivery.mailers import is_smtp, queue_is_used, require_delivery
from emailqueue.testing import MailServer
from tests.conftest import Work
from tests.settings import mail_port

PAGE = (Path(__file__).parents[2] / "docs" / "backend.md").read_text()
DJANGO_5, DJANGO_6, CALLS, LOGGING = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def as_the_page_says(mailbox: MailServer, settings: Settings) -> None:
    names: dict[str, object] = {}
    if django.VERSION < (6, 1):
        exec(DJANGO_5, names)  # noqa: S102 - our own page
        settings.EMAIL_BACKEND = names["EMAIL_BACKEND"]
    else:
        exec(DJANGO_6.replace('"port": 25', f'"port": {mail_port}'), names)  # noqa: S102 - likewise
        settings.MAILERS = names["MAILERS"]
    settings.EMAIL_QUEUE = {**settings.EMAIL_QUEUE, **names["EMAIL_QUEUE"]}  # type: ignore[dict-item]
    get_settings.cache_clear()


@pytest.mark.usefixtures("as_the_page_says")
def test_the_settings_of_the_page_deliver_what_its_calls_send(mailbox: MailServer, valkey: Redis, work: Work) -> None:
    exec(CALLS, {})  # noqa: S102 - our own page
    waited = (valkey.llen("rq:queue:normal"), valkey.llen("rq:queue:high"))

    work()

    require_delivery(get_settings())
    assert (queue_is_used(), is_smtp(get_settings())) == (True, True)
    assert waited == (1, 3)
    assert sorted(received.recipient for received in mailbox.messages) == [
        *("ada@example.com", "ada@example.com", "archive@example.com", "office@example.com")
    ]
    assert all(b"archive" not in received.content for received in mailbox.messages)


def test_the_logging_of_the_page_names_a_backend_that_there_is() -> None:
    names: dict[str, Any] = {}
    exec(LOGGING, names)  # noqa: S102 - our own page
    handler = names["LOGGING"]["handlers"]["mail_admins"]

    assert import_string(handler["email_backend"]).is_queue
    assert issubclass(import_string(handler["class"]), AdminEmailHandler)
