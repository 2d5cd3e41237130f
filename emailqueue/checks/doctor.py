"""The doctor: the system checks, and what only the servers can answer, as one list of Django's messages."""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from django.core.checks import CheckMessage, Error, run_checks
from django.db import DatabaseError
from redis import RedisError

from emailqueue.checks import links, mail_server, queues, tables, templates, time_outs
from emailqueue.checks.redis import redis
from emailqueue.conf import Settings, get_settings, is_debugging
from emailqueue.email_types import email_types
from emailqueue.redis import connect
from emailqueue.redis.report import describe_redis
from emailqueue.statistics.snapshot import Snapshot
from emailqueue.store import Store

logger = logging.getLogger(__name__)

Examination = tuple[str, Callable[[], Iterable[CheckMessage]]]
"""The part that is examined, which is the `obj` of each finding, and how."""


def examine(*, mail_to: str | None = None) -> list[CheckMessage]:
    """
    Examine everything and return what was found, in an order in which causes come before effects.

    Changes nothing, except that it writes a key that lives for a second, and sends a mail to `mail_to` if that is
    given. A part that cannot be examined is an error and keeps no other from being examined.
    """
    settings = get_settings()
    findings = list(_run(_without_queues(settings, mail_to)))
    try:
        store = Store(connect())
        snapshot = Snapshot.take(store)
    except Exception as failure:
        logger.debug("redis does not answer", exc_info=failure)
        text = "The queues cannot be examined, since Redis does not answer."
        findings.append(Error(text, hint="See the finding about Redis.", obj="queues", id="queues.unexamined"))
        return [*findings, *_run(_of_tables(settings, inbox=0))]
    findings += _run(_of_queues(snapshot))
    return [*findings, *_run(_of_tables(settings, inbox=snapshot.counts.inbox))]


def _without_queues(settings: Settings, mail_to: str | None) -> list[Examination]:
    debug, mail_timeout = is_debugging(), mail_server.mail_timeout(settings)
    return [
        ("settings", lambda: [found for found in run_checks(tags=["emailqueue"]) if not found.is_silenced()]),
        ("frontend url", partial(links.frontend_url, settings, debug=debug)),
        ("time-outs", partial(time_outs.time_outs, settings, mail_timeout=mail_timeout)),
        ("redis", lambda: redis(describe_redis(), settings)),
        ("mail server", partial(mail_server.mail, settings, debug=debug, to=mail_to)),
        ("templates", partial(templates.templates, email_types(), settings)),
    ]


def _of_queues(snapshot: Snapshot) -> list[Examination]:
    return [
        ("workers", partial(queues.workers, snapshot)),
        ("pauses", partial(queues.pauses, snapshot)),
        ("outage", partial(queues.outage, snapshot)),
        ("scheduled", partial(queues.scheduled, snapshot)),
        ("critical", partial(queues.critical, snapshot)),
    ]


def _of_tables(settings: Settings, *, inbox: int) -> list[Examination]:
    return [
        ("database", tables.migrations),
        ("dead letters", partial(tables.dead_letters, inbox=inbox)),
        ("outbox", partial(tables.outbox, settings)),
    ]


def _run(examinations: Iterable[Examination]) -> Iterator[CheckMessage]:
    for part, examination in examinations:
        try:
            for finding in examination():
                finding.obj = finding.obj or part
                yield finding
        except Exception as failure:
            hint = "Is the server there, and is `manage.py migrate` done?"
            if not isinstance(failure, (DatabaseError, RedisError, OSError)):
                logger.exception("an examination failed", extra={"part": part})
                hint = "The log has the traceback."
            # Without the message: it may quote a row, and so an address.
            text = f"This part cannot be examined: {type(failure).__name__}."
            yield Error(text, hint=hint, obj=part, id=f"{part.replace(' ', '-')}.unexamined")
