"""Which functions a job may call, and by which names jobs call them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from django.core.mail import EmailMessage

from emailqueue.jobs.outcome import Outcome

if TYPE_CHECKING:
    from emailqueue.jobs.job import Job

DELIVER = "emailqueue.deliver"
DELIVER_MESSAGE = "emailqueue.deliver_message"


class Sender(Protocol):
    """A thread's way to the mail server."""

    def send(self, message: EmailMessage, *, fence: Callable[[], bool]) -> Outcome:
        """Send one mail, asking `fence` at the last moment before the server can accept it."""


class Run(Protocol):
    """What the worker offers to a job function while it runs."""

    def fence(self) -> bool:
        """Mark the job as about to be sent. False: the lease is lost, do not send."""

    def mailer(self) -> Sender:
        """Return this thread's connection to the mail server."""


JobFunction = Callable[["Job", Run], Outcome]
_functions: dict[str, JobFunction] = {}
_of_events: set[str] = set()


def job_function(name: str, *, of_events: bool = False) -> Callable[[JobFunction], JobFunction]:
    """
    Allow jobs to call the decorated function. RQ's dashboard shows `name`, which looks like a dotted path.

    `of_events`: it sends no mail, so its jobs count as events, whichever queue they wait in.
    """

    def register(function: JobFunction) -> JobFunction:
        _functions[name] = function
        if of_events:
            _of_events.add(name)
        return function

    return register


def function_named(name: str) -> JobFunction | None:
    """Return the function that is registered under `name`."""
    return _functions.get(name)


def is_of_events(name: str) -> bool:
    """Return whether the function of that name sends no mail."""
    return name in _of_events
