from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from redis import Redis
from redis.client import Monitor

from emailqueue import queue_bulk_emails, queue_email
from emailqueue.events import publish
from emailqueue.jobs.job import Job
from emailqueue.models import DeadLetter
from emailqueue.statistics.panels import Panel, _makers, register_panel
from emailqueue.statistics.snapshot import Period, Snapshot, percentile
from emailqueue.store import Settlement, Store
from emailqueue.store.scripts import source
from tests.conftest import Work, claim_and_vanish
from tests.support.letters import NOON, XSS, create

pytestmark = pytest.mark.postgresql

PAGE = reverse("admin:emailqueue_stats")
JSON = reverse("admin:emailqueue_stats_json")
TOKEN = "a-token-of-enough-characters"
VOTE = {"model_name": "Ada", "profile_url": "https://front.example/models/1"}


def settle(valkey: Redis, verb: str, *jobs: Job, **fields: Any) -> None:
    batch = [Settlement(job=job, verb=verb, **fields) for job in jobs]
    Store(valkey).settle(batch, worker="vanished", now="", keep=60)


def keys_and_values(valkey: Redis) -> dict[bytes, Any]:
    return {key: valkey.dump(key) for key in valkey.scan_iter()}


@pytest.fixture
def panel() -> Iterator[Callable[..., None]]:
    before = dict(_makers)
    yield register_panel
    _makers.clear()
    _makers.update(before)


@pytest.mark.django_db(transaction=True)
def test_the_series_count_what_became_of_mails_and_how_long_they_took(valkey: Redis) -> None:
    queue_bulk_emails("vote-confirmation", [f"ada{number}@example.com" for number in range(6)], VOTE)
    queue_email("vote-confirmation", "late@example.com", VOTE, delay=0.001)
    time.sleep(0.3)
    jobs = claim_and_vanish(valkey, "normal", jobs=7, lease=60)
    settle(valkey, "sent", *jobs[:3])
    settle(valkey, "sent", *jobs[:3])
    settle(valkey, "retry", jobs[3], due=60, history="[]")
    settle(valkey, "wait", jobs[4], due=60, history="[]")
    settle(valkey, "dead", jobs[5], inbox_id="d1", record="{}")
    settle(valkey, "sent", jobs[6])

    snapshot = Snapshot.take(Store(valkey))

    for periods in (snapshot.minutes, snapshot.hours):
        assert sum(period.sent for period in periods) == 4
        assert sum(period.retried for period in periods) == 1
        assert sum(period.dead for period in periods) == 1
        # That of a mail for later counts from when it was due.
        assert sum(sum(period.latencies.values()) for period in periods) == 4
    assert (len(snapshot.minutes), len(snapshot.hours)) == (60, 48)
    p50 = snapshot.latency(0.5)
    assert p50 is not None
    assert 0.25 <= p50 < 10


@pytest.mark.django_db(transaction=True)
def test_the_series_vanish_by_themselves(valkey: Redis) -> None:
    queue_email("vote-confirmation", "ada@example.com", VOTE)
    settle(valkey, "sent", *claim_and_vanish(valkey, "normal", lease=60))

    lives = {kind: [valkey.ttl(key) for key in valkey.scan_iter(f"emailqueue:{kind}:*")] for kind in ("minute", "hour")}

    assert [0 < life <= 7200 for life in lives["minute"]] == [True]
    assert [7200 < life <= 259200 for life in lives["hour"]] == [True]


def test_a_percentile_is_true_to_an_eighth() -> None:
    def bucket(ms: float) -> int:
        return next(number for number in range(200) if 1.25 ** (number + 1) > ms)

    period = Period(begins=0, sent=100, retried=0, dead=0, latencies={bucket(100): 94, bucket(8000): 6})

    p50, p95 = percentile([period], 0.5), percentile([period], 0.95)

    assert p50 == pytest.approx(0.1, rel=0.125)
    assert p95 == pytest.approx(8, rel=0.125)
    assert percentile([], 0.5) is None


@pytest.mark.django_db
def test_the_page_shows_queues_plots_and_panels(valkey: Redis, admin_client: Client) -> None:
    create(1, label="rank-update", recipient="ada@bounce.example")
    create(2, label="rank-update", recipient="bob@bounce.example")

    text = admin_client.get(PAGE).content.decode()
    part = admin_client.get(PAGE, {"part": "1"}).content.decode()

    assert text.count('<svg class="eq-plot"') == 2
    assert 'aria-label="Per minute, the last hour: sent 0, retried 0, dead-lettered 0"' in text
    for name in ("queues", "workers", "failing_types", "failing_domains", "events"):
        assert f'id="panel-{name}"' in text
    assert '<tr><th scope="row">bounce.example</th><td>2</td></tr>' in text
    assert "No worker runs" in text
    assert "<html" not in part
    assert 'id="panel-queues"' in part
    assert "<script>" not in text.partition('<div id="stats"')[2].partition("</main>")[0]


@pytest.mark.django_db(transaction=True)
def test_the_json_says_the_same(valkey: Redis, admin_client: Client, work: Work) -> None:
    queue_email("vote-confirmation", "ada@example.com", VOTE)
    publish("reward.earned", {"user_email": "ada@example.com", "reward_name": "Badge"})
    create(1)

    figures = admin_client.get(JSON).json()

    normal = figures["queues"]["normal"]
    assert (normal["waiting"], normal["active"], normal["delayed"]) == (1, 0, 0)
    assert 0 <= normal["oldest_seconds"] < 60
    assert figures["queues"]["low"]["oldest_seconds"] is None
    assert figures["dead_letters"] == {"open": 1, "more": False}
    assert len(figures["minutes"]) == 60
    assert ["reward.earned", "", 1, "", ""] in figures["panels"]["events"]["rows"]


@pytest.mark.django_db
def test_the_json_is_for_staff_and_for_who_has_the_token(
    valkey: Redis, admin_client: Client, queue_settings: Callable[..., None]
) -> None:
    stranger = Client()
    unset = stranger.get(JSON, headers={"Authorization": "Bearer "})
    queue_settings(STATS_TOKEN=TOKEN)

    answers = [
        stranger.get(JSON),
        stranger.get(JSON, headers={"Authorization": "Bearer wrong"}),
        stranger.get(JSON, headers={"Authorization": f"Basic {TOKEN}"}),
        stranger.get(JSON, {"token": TOKEN}),
        stranger.get(JSON, headers={"Authorization": f"Bearer {TOKEN}"}),
        admin_client.get(JSON),
        stranger.get(PAGE),
    ]

    assert unset.status_code == 401
    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 200, 200, 302]


@pytest.mark.django_db(transaction=True)
def test_looking_changes_nothing_in_one_round_trip(valkey: Redis, admin_client: Client) -> None:
    queue_bulk_emails("vote-confirmation", ["ada@example.com"] * 3, VOTE)
    settle(valkey, "sent", *claim_and_vanish(valkey, "normal", lease=60))
    admin_client.get(PAGE)
    before = keys_and_values(valkey)

    with valkey.monitor() as monitor:  # type: ignore[no-untyped-call]
        admin_client.get(PAGE)
        valkey.echo("end")
        commands = list(_until_end(monitor))
    after = keys_and_values(valkey)

    assert [command.split()[0] for command in commands] == ["EVALSHA"]
    assert before == after


def test_the_server_runs_the_view_as_a_script_that_only_reads(valkey: Redis) -> None:
    if valkey.info("server")["redis_version"] < "7":
        pytest.skip("EVAL_RO came with Redis 7")

    view: Any = valkey.eval_ro(source("view"), 0, "60", "48")

    assert json.loads(view)["queues"]["normal"]["waiting"] == 0


def _until_end(monitor: Monitor) -> Iterator[str]:
    while True:
        entry = monitor.next_command()  # type: ignore[no-untyped-call]
        if entry["command"].startswith("ECHO"):
            return
        # HELLO and CLIENT open the connection of the one who ends this.
        if entry["client_type"] != "lua" and not entry["command"].startswith(("HELLO", "CLIENT")):
            yield entry["command"]


@pytest.mark.django_db
def test_it_costs_a_fixed_number_of_queries(valkey: Redis, admin_client: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert admin_client.get(PAGE, {"part": "1"}).status_code == 200
        return len(captured)

    few = queries()
    DeadLetter.objects.bulk_create(
        [
            DeadLetter(id=f"{n:032x}", dead_lettered_at=NOON, label=f"type-{n}", recipient=f"a@{n}.example")
            for n in range(500)
        ]
    )

    assert queries() == few <= 6


@pytest.mark.django_db
def test_a_panel_that_fails_takes_no_other_with_it(
    valkey: Redis, admin_client: Client, panel: Callable[..., None]
) -> None:
    def fails(snapshot: Snapshot) -> Panel:
        raise RuntimeError("no")

    panel("broken", fails)
    panel("evil", lambda _: Panel(title=XSS, columns=(XSS,), rows=[(XSS, XSS)], note=XSS))

    text = admin_client.get(PAGE).content.decode()

    assert "This panel failed" in text
    assert 'id="panel-queues"' in text
    assert XSS not in text


@pytest.mark.django_db
def test_without_redis_the_page_says_so(admin_client: Client, settings: Any) -> None:
    settings.RQ_QUEUES = {name: {**queue, "URL": "unix:///nowhere.sock"} for name, queue in settings.RQ_QUEUES.items()}

    page, figures = admin_client.get(PAGE), admin_client.get(JSON)

    assert "Redis does not answer" in page.content.decode()
    assert figures.status_code == 503
