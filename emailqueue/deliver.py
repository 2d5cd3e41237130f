"""Turns the job of one e-mail into a delivered mail."""

from __future__ import annotations

from emailqueue.email_types import get_email_type
from emailqueue.errors import AttachmentGone, InvalidContext, UnknownEmailType
from emailqueue.jobs import Job, MalformedJob, Run, job_function
from emailqueue.messages import message_of
from emailqueue.outcome import Kind, Outcome
from emailqueue.rendering import message_id, render


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
        message = render(get_email_type(name), to, context, message_id=message_id(job.id))
    except (UnknownEmailType, InvalidContext) as error:
        return Outcome.failed(Kind.PERMANENT, error)
    return run.mailer().send(message, fence=run.fence)


@job_function
def deliver_message(job: Job, run: Run) -> Outcome:
    """
    Send a message that came through the e-mail backend.

    An attachment that is gone does not come back: the mail becomes a dead letter at once. A storage that is away is
    waited for.
    """
    try:
        message = message_of(job.arguments())
    except AttachmentGone as error:
        return Outcome.failed(Kind.PERMANENT, error)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise MalformedJob(f"Job {job.id} holds no message: {error!r}.") from error
    return run.mailer().send(message, fence=run.fence)
