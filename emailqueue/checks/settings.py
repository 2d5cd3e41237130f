"""What the settings alone tell: links that lead nowhere, and time-outs that contradict one another."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from rq.defaults import DEFAULT_WORKER_TTL

from emailqueue.checks.finding import Finding, error, from_checks, ok, warning
from emailqueue.checks.system import check_alerts, check_rq_queues
from emailqueue.conf import Settings
from emailqueue.jobs.backoff import Backoff
from emailqueue.worker.email_worker import REDIS_TIMEOUT


def frontend_url(settings: Settings, *, debug: bool) -> Iterator[Finding]:
    """Examine the address that links in mails begin with."""
    url = settings.frontend_url
    host = urlsplit(url).hostname or ""
    if debug:
        yield ok("frontend url", "debug", f"Links in mails begin with {url}.")
    elif _is_local(host):
        yield error(
            "frontend url",
            "local",
            f"Links in mails begin with {url}, which nobody but this machine can open.",
            "Set EMAIL_QUEUE['FRONTEND_URL'] to the public address of the site.",
        )
    elif url.startswith("http://"):
        yield warning(
            "frontend url",
            "without-tls",
            f"Links in mails begin with {url}, without TLS.",
            "Write https:// in EMAIL_QUEUE['FRONTEND_URL'].",
        )
    else:
        yield ok("frontend url", "public", f"Links in mails begin with {url}.")


def _is_local(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".local", ".internal"))
    return not address.is_global


def time_outs(settings: Settings, *, mail_timeout: float | None) -> Iterator[Finding]:
    """Compare time-outs with what they must be shorter or longer than. `mail_timeout`: of the mail backend's socket."""
    wrong = list(_contradictions(settings, mail_timeout=mail_timeout))
    yield from wrong
    if not wrong:
        yield ok(
            "time-outs",
            "consistent",
            f"A lease of {settings.lease:g} s is renewed every {settings.lease / 3:g} s, a step of the mail server may "
            f"take {mail_timeout or settings.send_timeout:g} s, a job {settings.job_timeout:g} s.",
        )


def _contradictions(settings: Settings, *, mail_timeout: float | None) -> Iterator[Finding]:
    if settings.lease - settings.lease / 3 <= REDIS_TIMEOUT:
        yield warning(
            "time-outs",
            "lease",
            f"A lease of {settings.lease:g} s ends while its worker still waits for a slow answer of Redis "
            f"({REDIS_TIMEOUT:g} s): the mail then goes to another worker.",
            "Set EMAIL_QUEUE['LEASE'] to 8 or more.",
        )
    step = mail_timeout or settings.send_timeout
    if step >= settings.job_timeout:
        yield warning(
            "time-outs",
            "step",
            f"One step of the mail server may take {step:g} s, a whole job {settings.job_timeout:g} s: a slow server's "
            "mail is broken off in the middle and may go out twice.",
            "Make EMAIL_QUEUE['SEND_TIMEOUT'] or the backend's time-out shorter than EMAIL_QUEUE['JOB_TIMEOUT'].",
        )
    if settings.stats_interval * 2 >= DEFAULT_WORKER_TTL:
        yield warning(
            "time-outs",
            "stats-interval",
            f"Workers tell Redis every {settings.stats_interval:g} s that they live, and are forgotten after "
            f"{DEFAULT_WORKER_TTL} s.",
            f"Set EMAIL_QUEUE['STATS_INTERVAL'] below {DEFAULT_WORKER_TTL // 2}.",
        )
    if (waits := _waits(settings.backoff, settings.attempts)) >= settings.max_age:
        yield warning(
            "time-outs",
            "max-age",
            f"{settings.attempts} attempts with their waits take {waits:,.0f} s, but a mail is given up when it is "
            f"{settings.max_age:,.0f} s old, before its last attempt.",
            "Raise EMAIL_QUEUE['MAX_AGE'], or lower ATTEMPTS or BACKOFF.",
        )


def _waits(backoff: Backoff, attempts: int) -> float:
    even = replace(backoff, jitter=0.0)
    return sum(even.wait(number) for number in range(1, attempts))


def checks() -> Iterator[Finding]:
    """Repeat what the system checks say of our settings."""
    yield from from_checks("settings", [*check_rq_queues(), *check_alerts()])
