"""
The figures of the queue for Prometheus; needs the extra `prometheus`.

A scrape is one look at Redis (a Snapshot) and two queries. Route the view, which staff may open, and who sends the
token of EMAIL_QUEUE["STATS_TOKEN"] as a bearer:

    path("metrics/", emailqueue.views.metrics)

or register EmailQueueCollector() with a registry of your own. The view has django-rq's figures of all queues, too.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from django.contrib.admin import site
from django.db import DatabaseError
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_rq.contrib.prometheus import RQCollector
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from redis import RedisError

from emailqueue.conf import get_settings
from emailqueue.errors import RedisUnavailable
from emailqueue.flow import limit_in, outages_in, paused_in
from emailqueue.jobs.priority import QUEUES
from emailqueue.models import OutboxRow
from emailqueue.statistics.figures import COUNTED, has_token, open_dead_letters, take
from emailqueue.statistics.snapshot import Snapshot
from emailqueue.store import NOW, OUTCOMES, PASSED

logger = logging.getLogger(__name__)

AWAY = (RedisError, RedisUnavailable, OSError)


class EmailQueueCollector(Collector):
    """Reads all figures anew with each scrape. While Redis is away, it reports that and the outbox alone."""

    def describe(self) -> Iterable[Metric]:
        """Return the metric that is always there: to register a collector asks no server."""
        return [GaugeMetricFamily("emailqueue_up", "Whether Redis answers.")]

    def collect(self) -> Iterator[Metric]:
        snapshot = None
        with suppress(*AWAY):
            snapshot = take()
        yield GaugeMetricFamily("emailqueue_up", "Whether Redis answers.", value=snapshot is not None)
        if snapshot:
            yield from _queues(snapshot)
            yield from _totals(snapshot.counts.counters)
            yield from _flow(snapshot)
            yield from _latency(snapshot)
        yield from _tables(snapshot)


def _gauges(name: str, text: str, values: Mapping[Any, float], *labels: str) -> Metric:
    """Return a metric by `labels`; the keys of `values` are tuples of theirs."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _queues(snapshot: Snapshot) -> Iterator[Metric]:
    now, served = snapshot.counts.queues, [worker.queues.split(",") for worker in snapshot.alive]
    jobs = {(queue, state): now[queue][state] for queue in QUEUES for state in NOW}
    yield _gauges("emailqueue_jobs", "Jobs in the queue now.", jobs, "queue", "state")
    oldest = {(queue,): seconds or 0 for queue, seconds in snapshot.oldest.items()}
    yield _gauges("emailqueue_oldest_seconds", "Age of the first job since it was due.", oldest, "queue")
    workers = {(queue,): sum(queue in queues for queues in served) for queue in QUEUES}
    yield _gauges("emailqueue_workers", "Workers that are alive.", workers, "queue")


def _totals(counters: Mapping[str, int]) -> Iterator[Metric]:
    ended = {
        label: CounterMetricFamily(f"emailqueue_{what}_ended", "Jobs that have ended.", labels=[label, "outcome"])
        for label, what in (("queue", "jobs"), ("type", "type"))
    }
    passed = {
        (label, outcome): CounterMetricFamily(f"emailqueue_{what}_{outcome}", sentence, labels=[label])
        for outcome, sentence in PASSED.items()
        for label, what in (("queue", "jobs"), ("type", "type"))
    }
    for name, number in sorted(counters.items()):
        for label, value, outcome in _read(name):
            if outcome in OUTCOMES:
                ended[label].add_metric([value, outcome], number)
            elif outcome in PASSED:
                passed[label, outcome].add_metric([value], number)
    yield from ended.values()
    yield from passed.values()


def _read(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield the label, its value and the outcome of a counter: "low:failed" or "failed=order-shipped"."""
    queue, colon, outcome = name.partition(":")
    if colon and queue in QUEUES:
        yield "queue", queue, outcome
    outcome, sign, label = name.partition("=")
    if sign:
        yield "type", label, outcome


def _flow(snapshot: Snapshot) -> Iterator[Metric]:
    flow = snapshot.counts.flow
    paused = {(queue,): queue in paused_in(flow) for queue in QUEUES}
    yield _gauges("emailqueue_paused", "Whether the queue is paused.", paused, "queue")
    outages = {(server,): max(0.0, snapshot.now - since.timestamp()) for server, since in outages_in(flow).items()}
    yield _gauges("emailqueue_outage_seconds", "How long a mail server is away.", outages, "server")
    limit = limit_in(flow, get_settings()).rate
    for name, sentence, value in (
        ("throttled_domains", "Domains that ask us to go slower, 100 at most.", len(snapshot.counts.throttled)),
        ("suspended", "Whether RQ's suspension stops all workers.", snapshot.suspended),
        ("limit_mails_per_second", "Mails a second that may go out; 0: no limit.", limit),
    ):
        yield GaugeMetricFamily(f"emailqueue_{name}", sentence, value=value)


def _latency(snapshot: Snapshot) -> Iterator[Metric]:
    # A gauge each: "quantile" is the label of summaries, which count since the process began.
    for percent in (50, 95, 99):
        sentence = f"Within which {percent} of 100 mails of the last hour were sent, since they were due."
        seconds = snapshot.latency(percent / 100)
        yield GaugeMetricFamily(f"emailqueue_latency_p{percent}_seconds", sentence, value=seconds)


def _tables(snapshot: Snapshot | None) -> Iterator[Metric]:
    found: dict[tuple[str, str], int] = {}
    try:
        rows = OutboxRow.objects.order_by()[: COUNTED + 1].count()
        found["outbox_rows", "Jobs with a row in the database"] = min(rows, COUNTED)
        if snapshot:
            found["dead_letters", "Open dead letters"] = open_dead_letters(snapshot)
    except DatabaseError as error:  # Redis has the rest
        logger.warning("database is away", extra={"error_class": type(error).__name__})
        found = {}
    yield GaugeMetricFamily("emailqueue_database_up", "Whether the database answers.", value=bool(found))
    for (name, what), number in found.items():
        yield GaugeMetricFamily(f"emailqueue_{name}", f"{what}; counting ends at 10,000.", value=number)


@never_cache
@require_safe
@non_atomic_requests
def metrics(request: HttpRequest) -> HttpResponse:
    """Return our metrics and those of django-rq, in the format that the scraper asks for."""
    if not (has_token(request) or site.has_permission(request)):
        answer = {"error": "Send the token of EMAIL_QUEUE['STATS_TOKEN'] as a bearer, or log in as staff."}
        return JsonResponse(answer, status=401, headers={"WWW-Authenticate": "Bearer"})
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    registry = CollectorRegistry()
    registry.register(EmailQueueCollector())
    registry.register(rq := _RQ())
    try:
        written = encode(registry)
    except AWAY:
        registry.unregister(rq)
        written = encode(registry)
    return HttpResponse(written, content_type=content_type)


class _RQ(Collector):
    """django-rq's collector, which would ask Redis already when it is registered."""

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from RQCollector().collect()  # type: ignore[no-untyped-call]  # django-rq types a part of it
