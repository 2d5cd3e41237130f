"""One round of the doctor over everything."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from django.db import DatabaseError
from redis import RedisError

from emailqueue.checks import mail_server, queues, tables, templates
from emailqueue.checks import settings as setting
from emailqueue.checks.finding import Finding, error
from emailqueue.checks.redis import redis
from emailqueue.conf import get_settings, is_debugging
from emailqueue.email_types import email_types
from emailqueue.redis import connect
from emailqueue.redis.report import describe_redis
from emailqueue.statistics.snapshot import Snapshot
from emailqueue.store import Store

logger = logging.getLogger(__name__)

Examination = Callable[[], Iterable[Finding]]


def examine(*, mail_to: str | None = None) -> list[Finding]:
    """
    Examine everything and return what was found, in an order in which causes come before effects.

    Changes nothing, except that it writes a key that lives for a second, and sends a mail to `mail_to` if that is
    given. A part that cannot be examined is an error and keeps no other from being examined.
    """
    findings = list(_settings_and_servers(mail_to))
    try:
        store = Store(connect())
        snapshot = Snapshot.take(store)
        overdue = store.overdue(before=snapshot.now - queues.LATE)
    except Exception as failure:
        logger.debug("redis tells nothing", exc_info=failure)
        text = "The queues cannot be examined, since Redis does not answer."
        findings.append(error("queues", "unexamined", text, "See the finding about Redis."))
        return [*findings, *_all(_of_tables(inbox=0))]
    settings = get_settings()
    moving: list[tuple[str, Examination]] = [
        ("workers", partial(queues.workers, snapshot, settings)),
        ("pauses", partial(queues.pauses, snapshot)),
        ("outage", partial(queues.outage, snapshot)),
        ("scheduled", partial(queues.scheduled, overdue, snapshot)),
        ("critical", partial(queues.critical, snapshot)),
    ]
    return [*findings, *_all(moving), *_all(_of_tables(inbox=snapshot.counts.inbox))]


def _settings_and_servers(mail_to: str | None) -> Iterator[Finding]:
    settings, debug = get_settings(), is_debugging()
    timeout = mail_server.mail_timeout(settings)
    yield from _all(
        [
            ("settings", setting.checks),
            ("frontend url", partial(setting.frontend_url, settings, debug=debug)),
            ("time-outs", partial(setting.time_outs, settings, mail_timeout=timeout)),
            ("redis", lambda: redis(describe_redis(), settings)),
            ("mail server", partial(mail_server.mail, settings, debug=debug, to=mail_to)),
            ("templates", partial(templates.templates, email_types(), settings)),
        ]
    )


def _of_tables(*, inbox: int) -> list[tuple[str, Examination]]:
    return [
        ("database", tables.migrations),
        ("dead letters", partial(tables.dead_letters, inbox=inbox)),
        ("outbox", partial(tables.outbox, get_settings())),
    ]


def _all(examinations: Iterable[tuple[str, Examination]]) -> Iterator[Finding]:
    for part, examination in examinations:
        try:
            yield from examination()
        except (DatabaseError, RedisError, OSError) as failure:
            # Without the message: it may quote a row, and so an address.
            text = f"This part cannot be examined: {type(failure).__name__}."
            yield error(part, "unexamined", text, "Is the server there, and is `manage.py migrate` done?")
        except Exception as failure:
            logger.exception("an examination failed", extra={"part": part})
            text = f"This part cannot be examined: {type(failure).__name__}."
            yield error(part, "unexamined", text, "The log tells more.")
