"""Whether time-outs contradict one another."""

from collections.abc import Iterator
from dataclasses import replace

from django.core.checks import CheckMessage, Info, Warning
from rq.defaults import DEFAULT_WORKER_TTL

from emailqueue.conf import Settings
from emailqueue.worker.email_worker import REDIS_TIMEOUT


def time_outs(settings: Settings, *, mail_timeout: float | None) -> list[CheckMessage]:
    """Compare time-outs with what they must be shorter or longer than. `mail_timeout`: of the mail backend's socket."""
    step = mail_timeout or settings.send_timeout
    if contradictions := list(_contradictions(settings, step=step)):
        return contradictions
    text = (
        f"A lease of {settings.lease:g} s is renewed every {settings.lease / 3:g} s, a step of the mail server may "
        f"take {step:g} s, a job {settings.job_timeout:g} s."
    )
    return [Info(text, id="time-outs.consistent")]


def _contradictions(settings: Settings, *, step: float) -> Iterator[CheckMessage]:
    if settings.lease - settings.lease / 3 <= REDIS_TIMEOUT:
        yield Warning(
            f"A lease of {settings.lease:g} s ends while its worker still waits for a slow answer of Redis "
            f"({REDIS_TIMEOUT:g} s): the mail then goes to another worker.",
            hint="Set EMAIL_QUEUE['LEASE'] to 8 or more.",
            id="time-outs.lease",
        )
    if step >= settings.job_timeout:
        yield Warning(
            f"One step of the mail server may take {step:g} s, a whole job {settings.job_timeout:g} s: a slow server's "
            "mail is broken off in the middle and may go out twice.",
            hint="Make EMAIL_QUEUE['SEND_TIMEOUT'] or the backend's time-out shorter than EMAIL_QUEUE['JOB_TIMEOUT'].",
            id="time-outs.step",
        )
    if settings.stats_interval * 2 >= DEFAULT_WORKER_TTL:
        yield Warning(
            f"Workers report to Redis every {settings.stats_interval:g} s, and are forgotten after "
            f"{DEFAULT_WORKER_TTL} s.",
            hint=f"Set EMAIL_QUEUE['STATS_INTERVAL'] below {DEFAULT_WORKER_TTL // 2}.",
            id="time-outs.stats-interval",
        )
    even = replace(settings.backoff, jitter=0.0)
    if (waits := sum(even.wait(number) for number in range(1, settings.attempts))) >= settings.max_age:
        yield Warning(
            f"{settings.attempts} attempts with their waits take {waits:,.0f} s, but a mail is given up when it is "
            f"{settings.max_age:,.0f} s old, before its last attempt.",
            hint="Raise EMAIL_QUEUE['MAX_AGE'], or lower ATTEMPTS or BACKOFF.",
            id="time-outs.max-age",
        )
