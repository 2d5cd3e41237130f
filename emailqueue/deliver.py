"""Turns the job of one e-mail into a delivered mail."""

from __future__ import annotations

from email.utils import parseaddr

from django.conf import settings as django_settings

from emailqueue.email_types import get_email_type
from emailqueue.errors import InvalidContext, UnknownEmailType
from emailqueue.jobs import Job, MalformedJob, Run, job_function
from emailqueue.outcome import Kind, Outcome
from emailqueue.rendering import render


@job_function
def deliver(job: Job, run: Run) -> Outcome:
    """
    Render the mail and send it.

    A type that nobody registers any more, or a context that does not fit it, cannot heal by
    waiting: the mail becomes a dead letter at once. Other errors of rendering are retried.
    """
    arguments = job.arguments()
    try:
        name, to, context = arguments["email_type"], arguments["to"], arguments["context"]
    except KeyError as error:
        raise MalformedJob(f"Job {job.id} is a mail without {error}.") from error
    try:
        message = render(
            get_email_type(name), to, context, message_id=message_id(job.id), language=arguments.get("language")
        )
    except (UnknownEmailType, InvalidContext) as error:
        return Outcome.failed(Kind.PERMANENT, error)
    return run.mailer().send(message, fence=run.fence)


def message_id(job_id: str) -> str:
    """Return the Message-ID of a job: always the same, so that a mail sent twice can be told by its receiver."""
    domain = parseaddr(django_settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    return f"<{job_id}@{domain}>"
