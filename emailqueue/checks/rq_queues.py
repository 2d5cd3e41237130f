"""Whether RQ_QUEUES has our five queues as rq_queues() would have written them; nothing is connected to."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from rq.serializers import JSONSerializer, resolve_serializer

from emailqueue.conf import get_settings
from emailqueue.redis.tls import is_verified

HINT = (
    "Write RQ_QUEUES = {**rq_queues(), ...your own} with rq_queues from emailqueue.redis; give it prefix= where "
    'EMAIL_QUEUE has a "QUEUE_PREFIX".'
)


@register("emailqueue", "redis")
def check_rq_queues(**kwargs: Any) -> list[CheckMessage]:
    """Compare RQ_QUEUES with what rq_queues() would have written; connect to nothing."""
    # django-rq reads the settings when it is imported, and checks are imported before they are whole.
    from django_rq import settings as django_rq_settings

    try:
        configured = django_rq_settings.QUEUES
    except ImproperlyConfigured:
        configured = {}
    names = get_settings().by_rq_name
    if missing := [name for name in names if name not in configured]:
        return [Error(f"RQ_QUEUES has no {_listed(missing)}.", hint=HINT, id="emailqueue.E011")]
    ours = {name: configured[name] for name in names}
    return [*_check_connections(ours), *_check_serializers(ours)]


def _check_connections(ours: Mapping[str, Mapping[str, Any]]) -> Iterator[CheckMessage]:
    from django_rq.connection_utils import filter_connection_params

    connections = {queue: filter_connection_params(dict(config)) for queue, config in ours.items()}
    first = next(iter(ours))
    if apart := [queue for queue in ours if connections[queue] != connections[first]]:
        text = f"RQ_QUEUES has another connection for {_listed(apart)} than for {first!r}, but one script serves all."
        yield Error(text, hint=HINT, id="emailqueue.E012")
    yield from _check_options(ours[first])


def _check_options(config: Mapping[str, Any]) -> Iterator[CheckMessage]:
    from django_rq.connection_utils import get_redis_connection

    if "USE_REDIS_CACHE" in config:
        text = "RQ_QUEUES has USE_REDIS_CACHE for our queues, whose connections belong to the cache."
        yield Error(text, hint=HINT, id="emailqueue.E014")
        return
    try:
        options = get_redis_connection(dict(config)).connection_pool.connection_kwargs
    except (KeyError, TypeError, ValueError):
        # Without the cause: its message may hold a part of a password.
        text = "RQ_QUEUES has no usable connection for our queues: neither a sound URL nor HOST and PORT."
        yield Error(text, hint=HINT, id="emailqueue.E014")
        return
    if options.get("socket_timeout") is None or options.get("socket_connect_timeout", 0) is None:
        text = "RQ_QUEUES has no time-outs for our queues: pages of django-rq hang while Redis does."
        hint = f"Add socket_timeout=1 and socket_connect_timeout=1 to the query of URL. {HINT}"
        yield Warning(text, hint=hint, id="emailqueue.W015")
    if not is_verified(options):
        yield Warning(
            "RQ_QUEUES turns the verification of Redis' certificate off for our queues: anyone can pose as it.",
            hint="Leave ssl_cert_reqs and ssl_check_hostname out, and name the file of an authority of your own in "
            f"REDIS_CA_FILE. {HINT}",
            id="emailqueue.W016",
        )


def _check_serializers(ours: Mapping[str, Mapping[str, Any]]) -> Iterator[CheckMessage]:
    if others := [queue for queue, config in ours.items() if not _is_json(config.get("SERIALIZER"))]:
        yield Error(
            f"RQ_QUEUES has no JSON serializer for {_listed(others)}, so django-rq cannot read our jobs.",
            hint=f'Set "SERIALIZER": "rq.serializers.JSONSerializer". {HINT}',
            id="emailqueue.E013",
        )


def _is_json(serializer: Any) -> bool:
    try:
        return resolve_serializer(serializer) is JSONSerializer
    except (AttributeError, ImportError, NotImplementedError, ValueError):
        return False


def _listed(queues: Sequence[str]) -> str:
    return ", ".join(map(repr, queues))
