"""Turns the job of one e-mail into a delivered mail."""

from collections.abc import Mapping
from typing import Any

from django.db import InterfaceError, OperationalError

from emailqueue.conf import get_settings
from emailqueue.delivery.mailers import is_smtp
from emailqueue.email_types import get_email_type
from emailqueue.enqueue.submit import submit
from emailqueue.errors import AttachmentGone, InvalidContext, StorageUnavailable, Suppressed, UnknownEmailType
from emailqueue.jobs.ends import End
from emailqueue.jobs.functions import DELIVER, DELIVER_MESSAGE, Run, job_function
from emailqueue.jobs.job import Job, MalformedJob
from emailqueue.jobs.outcome import SKIPPED, Outcome
from emailqueue.jobs.priority import Priority
from emailqueue.mail.attachments import KeptFiles
from emailqueue.mail.messages import message_of, recipients_of
from emailqueue.mail.prepare import split
from emailqueue.mail.rendering import message_id, render
from emailqueue.models import Subscription


@job_function(DELIVER)
def deliver(job: Job, run: Run) -> Outcome:
    """
    Render the mail and send it.

    A type that nobody registers any more, or a context that does not fit it, makes a dead letter at once. Other
    errors of rendering are retried. A mail of a subscribed type is skipped when its recipient has left, and waits
    while the database is away that says so.
    """
    name, to, context, language = _arguments(job)
    try:
        email_type = get_email_type(name)
        subscription = Subscription.objects.of(to, name) if email_type.subscribed else None
        if subscription and subscription.is_suppressed:
            return _skip(job, subscription)
        url = subscription.url() if subscription else ""
        message = render(email_type, to, context, message_id=message_id(job.id), language=language, unsubscribe_url=url)
    except (OperationalError, InterfaceError) as error:
        return Outcome.failed(End.AWAY, error)
    except (UnknownEmailType, InvalidContext) as error:
        return Outcome.failed(End.PERMANENT, error)
    return run.mailer().send(message, fence=run.fence)


def _arguments(job: Job) -> tuple[str, str, Any, str | None]:
    arguments = job.arguments()
    try:
        return arguments["email_type"], arguments["to"], arguments["context"], arguments.get("language")
    except KeyError as error:
        raise MalformedJob(f"Job {job.id} is a mail without {error}.") from error


@job_function(DELIVER_MESSAGE)
def deliver_message(job: Job, run: Run) -> Outcome:
    """
    Send a message that came through the e-mail backend.

    An attachment that is gone makes a dead letter at once; the mail waits for a storage that is away. A message to
    several that was queued while an API delivered becomes one job for each recipient by SMTP.
    """
    arguments, by_smtp = job.arguments(), is_smtp(get_settings())
    try:
        if by_smtp and len(recipients_of(arguments)) > 1:
            return _split(job, arguments)
        message = message_of(arguments, apart=by_smtp)
    except AttachmentGone as error:
        return Outcome.failed(End.PERMANENT, error)
    except (StorageUnavailable, InterfaceError, OperationalError) as error:
        return Outcome.failed(End.AWAY, error)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise MalformedJob(f"Job {job.id} holds no message: {error!r}.") from error
    return run.mailer().send(message, fence=run.fence)


def _split(job: Job, arguments: Mapping[str, Any]) -> Outcome:
    """Queue the jobs of the recipients, which show up when this one is settled."""
    jobs = split(arguments, priority=Priority.parse(job.queue))
    for one in jobs:
        KeptFiles.objects.hand_on(job.id, one.id)
    submit(jobs)
    return SKIPPED


def _skip(job: Job, subscription: Subscription) -> Outcome:
    """End the job without a mail. The retry of a dead letter becomes another one, so that staff see why."""
    subscription.count_skipped()
    if not job.dead_letter:
        return SKIPPED
    error = Suppressed(
        f"The recipient gets no mails of this type: {subscription.get_state_display()}. Whoever gets them again is "
        "chosen among the subscriptions, in the admin."
    )
    return Outcome.failed(End.PERMANENT, error)
