"""What the system checks say about the settings, and about the Redis behind RQ_QUEUES."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import FileSystemStorage, InvalidStorageError
from rq.serializers import JSONSerializer, resolve_serializer

from emailqueue.conf import get_settings, knows_time_zones
from emailqueue.delivery.mailers import queue_is_used, require_delivery
from emailqueue.email_types import email_types
from emailqueue.errors import EmailQueueError
from emailqueue.jobs.priority import QUEUES, Priority
from emailqueue.redis.report import describe_redis
from emailqueue.redis.tls import is_verified

WAY_OUT = "Write RQ_QUEUES = {**rq_queues(), ...your own} with rq_queues from emailqueue.redis."


def check_redis(**kwargs: Any) -> list[CheckMessage]:
    """Connect to Redis and tell what it is; only by `manage.py check --tag redis`."""
    if not _is_named("redis"):
        return []
    try:
        report = describe_redis()
    except ImproperlyConfigured:
        return []  # check_rq_queues tells why
    if report.latency is None:
        return list(report.problems)
    return [Info(str(report), id="emailqueue.I001"), *report.problems]


def check_alerts(**kwargs: Any) -> list[CheckMessage]:
    """Find the function that EMAIL_QUEUE["ALERTS"] names."""
    from emailqueue.housekeeping.alerts import handler

    try:
        handler()
    except ImportError as error:
        hint = "Write the dotted path of a function that takes a Digest, 'managers' or 'off'."
        return [Error(f"EMAIL_QUEUE['ALERTS'] leads nowhere: {error}.", hint=hint, id="emailqueue.E021")]
    return []


def check_mailer(**kwargs: Any) -> list[CheckMessage]:
    """Find what really delivers: it must be there, and must not be the queue."""
    try:
        require_delivery(get_settings())
    except ImproperlyConfigured as error:
        return [Error(str(error), id="emailqueue.E031")]
    return []


def check_attachment_storage(**kwargs: Any) -> list[CheckMessage]:
    """Warn where large attachments would land in the folder of the project."""
    from emailqueue.mail.attachments import FOLDER, storage

    alias = get_settings().attachment_storage
    try:
        place = storage()
    except InvalidStorageError as error:
        hint = "Set EMAIL_QUEUE['ATTACHMENT_STORAGE'] to an alias in STORAGES that works."
        return [Error(f"The storage {alias!r} cannot be made: {error}.", hint=hint, id="emailqueue.E032")]
    if queue_is_used() and isinstance(place, FileSystemStorage) and not place.base_location:
        return [
            CheckWarning(
                f"The storage {alias!r} has no folder of its own, so large attachments would lie in the working "
                f"directory of each process, in {FOLDER}.",
                hint="Set MEDIA_ROOT, or EMAIL_QUEUE['ATTACHMENT_STORAGE'] to an alias in STORAGES that is private.",
                id="emailqueue.W033",
            )
        ]
    return []


def check_unsubscribe(**kwargs: Any) -> list[CheckMessage]:
    """See that the links to unsubscribe of subscribed e-mail types lead somewhere, without a redirect."""
    from emailqueue.models.subscription import unsubscribe_url

    if not any(email_type.subscribed for email_type in email_types().values()):
        return []
    try:
        address = unsubscribe_url("token")
    except EmailQueueError as error:
        return [
            Error(
                "There are subscribed e-mail types, and no page to unsubscribe.", hint=str(error), id="emailqueue.E041"
            )
        ]
    return [*_check_unsubscribe_link(address.removesuffix("token"))]


def _check_unsubscribe_link(link: str) -> Iterator[CheckMessage]:
    if not settings.DEBUG and not link.startswith("https:"):
        hint = "Write https:// in EMAIL_QUEUE['SITE_URL']: one click wants HTTPS, and follows no redirect (RFC 8058)."
        yield CheckWarning(
            f"Links to unsubscribe begin with {link!r}, which is not HTTPS.", hint=hint, id="emailqueue.W042"
        )
    elif settings.PREPEND_WWW and not link.startswith(("https://www.", "http://www.")):
        hint = "Write www. in EMAIL_QUEUE['SITE_URL']: mail programs follow no redirect (RFC 8058)."
        yield CheckWarning(
            f"Links to unsubscribe begin with {link!r}, which PREPEND_WWW redirects.", hint=hint, id="emailqueue.W042"
        )
    if not get_settings().site_url:
        hint = "Set EMAIL_QUEUE['SITE_URL'] to the address of this Django site, also where it is that of FRONTEND_URL."
        yield CheckWarning(f"Links to unsubscribe lead to FRONTEND_URL, {link!r}.", hint=hint, id="emailqueue.W043")


def check_time_zones(**kwargs: Any) -> list[CheckMessage]:
    """Ask for aware times: what a worker writes into the database carries its zone."""
    if knows_time_zones():
        return []
    hint = "Set USE_TZ = True, which is Django's default."
    return [Error("USE_TZ is off, so dead letters could not be written.", hint=hint, id="emailqueue.E051")]


def check_rq_queues(**kwargs: Any) -> list[CheckMessage]:
    """Compare RQ_QUEUES with what rq_queues() would have written; connect to nothing."""
    # django-rq reads the settings when it is imported, and checks are imported before they are whole.
    from django_rq import settings as django_rq_settings

    try:
        configured = django_rq_settings.QUEUES
    except ImproperlyConfigured:
        configured = {}
    missing = [queue for queue in QUEUES if queue not in configured]
    if missing:
        return [Error(f"RQ_QUEUES has no {_listed(missing)}.", hint=WAY_OUT, id="emailqueue.E011")]
    ours = {queue: configured[queue] for queue in QUEUES}
    return [*_check_connections(ours), *_check_serializers(ours)]


def _is_named(tag: str) -> bool:
    """
    Return whether the check that calls this runs because its tag was named.

    Django hands the tags to no check, so they are read where run_checks() keeps them. Without that, every
    `runserver` and `migrate` would connect to Redis.
    """
    frame = inspect.currentframe()
    check = frame and frame.f_back
    runner = check and check.f_back
    return bool(runner and tag in (runner.f_locals.get("tags") or ()))


def _check_connections(ours: Mapping[str, Mapping[str, Any]]) -> Iterator[CheckMessage]:
    from django_rq.connection_utils import filter_connection_params

    connections = {queue: filter_connection_params(dict(config)) for queue, config in ours.items()}
    first = Priority.CRITICAL.queue
    apart = [queue for queue in ours if connections[queue] != connections[first]]
    if apart:
        yield Error(
            f"RQ_QUEUES has another connection for {_listed(apart)} than for {first!r}, but one script "
            "serves them all.",
            hint=WAY_OUT,
            id="emailqueue.E012",
        )
    yield from _check_options(ours[first])


def _check_options(config: Mapping[str, Any]) -> Iterator[CheckMessage]:
    from django_rq.connection_utils import get_redis_connection

    if "USE_REDIS_CACHE" in config:
        yield Error(
            "RQ_QUEUES has USE_REDIS_CACHE for our queues, whose connections belong to the cache.",
            hint=WAY_OUT,
            id="emailqueue.E014",
        )
        return
    try:
        options = get_redis_connection(dict(config)).connection_pool.connection_kwargs
    except (KeyError, TypeError, ValueError):
        # Without the cause: its message may hold a part of a password.
        yield Error(
            "RQ_QUEUES has no usable connection for our queues: neither a sound URL nor HOST and PORT.",
            hint=WAY_OUT,
            id="emailqueue.E014",
        )
        return
    if options.get("socket_timeout") is None or options.get("socket_connect_timeout", 0) is None:
        yield CheckWarning(
            "RQ_QUEUES has no time-outs for our queues: pages of django-rq hang while Redis does.",
            hint="Add socket_timeout=1 and socket_connect_timeout=1 to the query of URL. " + WAY_OUT,
            id="emailqueue.W015",
        )
    if not is_verified(options):
        yield CheckWarning(
            "RQ_QUEUES turns the verification of Redis' certificate off for our queues: anyone can pose as it.",
            hint="Leave ssl_cert_reqs and ssl_check_hostname out, and name the file of an authority of your own in "
            f"REDIS_CA_FILE. {WAY_OUT}",
            id="emailqueue.W016",
        )


def _check_serializers(ours: Mapping[str, Mapping[str, Any]]) -> Iterator[CheckMessage]:
    others = [queue for queue, config in ours.items() if not _is_json(config.get("SERIALIZER"))]
    if others:
        yield Error(
            f"RQ_QUEUES has no JSON serializer for {_listed(others)}, so django-rq cannot read our jobs.",
            hint=f'Set "SERIALIZER": "rq.serializers.JSONSerializer". {WAY_OUT}',
            id="emailqueue.E013",
        )


def _is_json(serializer: Any) -> bool:
    try:
        return resolve_serializer(serializer) is JSONSerializer
    except (AttributeError, ImportError, NotImplementedError, ValueError):
        return False


def _listed(queues: Sequence[str]) -> str:
    return ", ".join(map(repr, queues))
