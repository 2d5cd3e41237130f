"""Topics, payloads and subscribers, without Redis: jobs are run as a worker would run them."""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, make_dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn, get_type_hints

import pytest
from django.dispatch import Signal, receiver
from pytest_django import Settings
from redis import RedisError

import emailqueue.events
import events
from emailqueue.errors import InvalidAttempts, InvalidBackoff
from emailqueue.events import topics as bus
from emailqueue.events.errors import InvalidPayload, InvalidSubscriber, UnknownTopic
from emailqueue.events.event import Event
from emailqueue.events.subscribers import call_subscriber, run_subscriber, subscriber_job
from emailqueue.events.subscriptions import Subscription, subscribe, subscribers_of
from emailqueue.events.topics import Topic, get_topic
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.job import Job
from emailqueue.jobs.outcome import SENT, Kind, Outcome
from events import publish_event, topics
from events.payloads import VoteCreated
from events.publishing import Publish, PublishEvent

VOTE = {"voter_email": "ada@example.com", "model_name": "Ada", "model_id": 7}
RANK = {
    "model_id": "m1",
    "model_name": "Ada",
    "new_rank": 1,
    "old_rank": 2,
    "vote_count": 99,
    "supporter_emails": ["ada@example.com", "bob@example.com"],
}


@dataclass(frozen=True, kw_only=True)
class OrderShipped:
    order: int
    currency: str = "EUR"
    tags: list[str] = field(default_factory=list)
    weights: dict[str, float] | None = None
    anything: Any = None


ORDER_SHIPPED = Topic("order.shipped", payload=OrderShipped)
taken: list[Event] = []


def take(event: Event) -> None:
    taken.append(event)


async def take_later(event: Event) -> None:
    taken.append(event)


def stumble(event: Event) -> NoReturn:
    raise ConnectionError("the warehouse is away")


def lose_its_cache(event: Event) -> NoReturn:
    raise RedisError("the warehouse is away")


def leave(event: Event) -> NoReturn:
    raise SystemExit("the warehouse is away")


def receive(sender: type, event: Event, **kwargs: object) -> None:
    taken.append(event)


async def receive_later(sender: type, event: Event, **kwargs: object) -> None:
    taken.append(event)


def local() -> Callable[[Event], None]:
    def take_locally(event: Event) -> None:
        taken.append(event)

    return take_locally


def is_paid_in_dollars(event: Event) -> bool:
    return bool(event.currency == "USD")


async def will_be_large(event: Event) -> object:
    return event.weights


class Shelf:
    @classmethod
    def receive_for_all(cls, event: Event, **kwargs: object) -> None:
        taken.append(event)

    def receive(self, event: Event, **kwargs: object) -> None:
        taken.append(event)


@pytest.fixture(autouse=True)
def _nobody_subscribes() -> Iterator[None]:
    yield
    taken.clear()
    ORDER_SHIPPED.receivers.clear()


def shipped(**payload: object) -> Event:
    return Event(
        id="e" * 32,
        topic="order.shipped",
        payload=ORDER_SHIPPED.validate({"order": 1, **payload}),
        published_at=datetime(2031, 5, 4, 12, 0, 0, 123456, tzinfo=UTC),
    )


def run(name: str) -> Outcome:
    new = subscriber_job(shipped(), name, subscribers_of(ORDER_SHIPPED).get(name, take))
    job = Job(id=new.id, queue=new.queue, token="1", data=new.fields()["data"].encode())
    return run_subscriber(job, None)  # type: ignore[arg-type] # it sends no mail, so it asks nothing of its Run


def test_a_topic_is_a_django_signal() -> None:
    received: list[dict[str, object]] = []

    @receiver(ORDER_SHIPPED)
    def record(**kwargs: object) -> None:
        received.append(kwargs)

    event = shipped()

    ORDER_SHIPPED.send(sender=OrderShipped, event=event)

    assert isinstance(topics.VOTE_CREATED, Signal)
    assert received == [{"signal": ORDER_SHIPPED, "sender": OrderShipped, "event": event}]


def test_topics_are_found_by_name() -> None:
    found = get_topic("vote.created")

    same = get_topic(found)

    assert found is same is topics.VOTE_CREATED
    assert repr(found) == "<Topic vote.created>"
    assert bus.all_topics()["order.shipped"] is ORDER_SHIPPED


@pytest.mark.parametrize("name", ["vote.craeted", None, ["vote.created"]])
def test_an_unknown_topic_is_told_which_are_known(name: Any) -> None:
    with pytest.raises(UnknownTopic, match=r"is not a topic\. Use one of vote\.created, model\.progress"):
        get_topic(name)


@pytest.mark.parametrize(
    ("name", "payload", "sentence"),
    [
        ("order.shipped", OrderShipped, r"The topic 'order\.shipped' exists already"),
        ("Order shipped", OrderShipped, "'Order shipped' cannot name a topic"),
        ("order.lost", dict, "cannot describe a payload. Use a frozen, keyword-only dataclass"),
    ],
)
def test_a_topic_that_makes_no_sense_is_refused(name: str, payload: type, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Topic(name, payload=payload)


@pytest.mark.parametrize("hint", [datetime, datetime | None, list[datetime], dict[str, list[datetime]]])
def test_a_payload_of_types_that_json_has_no_match_for_is_refused_by_its_field(hint: Any) -> None:
    payload = make_dataclass("OrderPaid", [("order", int), ("at", hint)], frozen=True, kw_only=True)

    with pytest.raises(
        ValueError, match=r"^'at' of 'order\.paid' is of the type <class 'datetime\.datetime'>, which a "
    ):
        Topic("order.paid", payload=payload)

    assert "order.paid" not in bus.all_topics()


def test_a_payload_is_a_mapping_or_the_dataclass() -> None:
    whole = VoteCreated(voter_email="ada@example.com", model_name="Ada", model_id=7)

    from_mapping = topics.VOTE_CREATED.validate({**VOTE, "profile_url": None})

    assert from_mapping == topics.VOTE_CREATED.validate(whole) == VOTE


def test_defaults_are_filled_in_and_none_is_left_out() -> None:
    given = {"order": 1, "weights": {"box": 2}, "anything": ("a", None)}

    payload = ORDER_SHIPPED.validate(given)

    assert payload == {
        "order": 1,
        "currency": "EUR",
        "tags": [],
        "weights": {"box": 2},
        "anything": ["a", None],
    }


@pytest.mark.parametrize(
    ("topic", "payload", "sentence"),
    [
        ("vote.created", ["ada"], r"The payload of 'vote\.created' is \['ada'\]. Use a mapping or VoteCreated"),
        ("vote.created", {**VOTE, "voter": 1}, r"'vote\.created' takes no 'voter' in its payload. It takes voter_e"),
        ("vote.created", {"model_id": 1}, r"'vote\.created' needs 'voter_email', 'model_name' in its payload"),
        ("vote.created", {**VOTE, "model_id": True}, "is True. It must be text or a whole number"),
        ("vote.created", {**VOTE, "model_id": None}, "is None. It must be text or a whole number"),
        ("vote.created", {**VOTE, "model_name": 7}, r"'model_name' of 'vote\.created' is 7. It must be text"),
        ("vote.created", {**VOTE, "voter_email": "ada"}, "is 'ada'. It must be an e-mail address"),
        ("vote.created", {**VOTE, "voter_email": "a@b.example\nBcc: c@d.example"}, "must be an e-mail address"),
        ("vote.created", {**VOTE, "voter_email": 7}, "is 7. It must be an e-mail address"),
        ("vote.created", {**VOTE, "profile_url": "javascript:1"}, r"must be an http\(s\) address or None"),
        ("vote.created", {**VOTE, "model_name": "A\0da"}, r"'model_name' of 'vote\.created' holds a NUL"),
        ("model.rank_changed", {**RANK, "new_rank": True}, "'new_rank' .* is True. It must be a whole number"),
        ("model.rank_changed", {**RANK, "new_rank": 1.5}, "'new_rank' .* is 1.5. It must be a whole number"),
        ("model.rank_changed", {**RANK, "supporter_emails": "a@b.example"}, "a list, each item an e-mail address"),
        ("model.rank_changed", {**RANK, "supporter_emails": ["a@b.example", "b"]}, "holds 'b'. It must be an e-m"),
        ("order.shipped", {"order": 1, "weights": {"box": "heavy"}}, "is {'box': 'heavy'}. It must be a mapping"),
        ("order.shipped", {"order": 1, "weights": {1: 1.0}}, "mapping of text to a number or None"),
        ("order.shipped", {"order": 1, "weights": {"box": float("nan")}}, "JSON cannot carry"),
        ("order.shipped", {"order": 1, "anything": object()}, "'anything' .* JSON cannot carry"),
        ("order.shipped", {"order": 1, "anything": {"a": ["\0"]}}, "'anything' .* holds a NUL"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_with_a_sentence(topic: str, payload: Any, sentence: str) -> None:
    with pytest.raises(InvalidPayload, match=sentence):
        get_topic(topic).validate(payload)


def test_a_dataclass_is_checked_as_a_mapping_is() -> None:
    with pytest.raises(InvalidPayload, match=r"'model_name' .* is 7"):
        topics.VOTE_CREATED.validate(VoteCreated(**{**VOTE, "model_name": 7}))  # type: ignore[arg-type] # that is the test


def test_a_text_that_speaks_of_nul_is_no_nul() -> None:
    payload = {"order": 1, "anything": r"\u0000 and \\u0000"}

    valid = ORDER_SHIPPED.validate(payload)

    assert valid["anything"] == payload["anything"]


def test_the_fields_of_a_payload_are_attributes_of_the_event() -> None:
    event = shipped(anything={"shelf": 3})

    restored = Event.parse(json.loads(json.dumps(event.as_json())))

    assert restored == event == copy.deepcopy(event)
    assert (restored.order, restored.currency, restored.anything) == (1, "EUR", {"shelf": 3})
    assert restored.weights is None


@pytest.mark.parametrize("name", ["colour", "__html__"])
def test_an_event_has_no_other_attributes(name: str) -> None:
    event = shipped()

    assert not hasattr(event, name)


def test_an_event_that_is_not_there_yet_has_no_attributes() -> None:
    empty = Event.__new__(Event)

    assert not hasattr(empty, "payload")


@pytest.mark.parametrize("debug", [True, False])
def test_a_subscriber_is_called_with_the_event(settings: Settings, debug: bool) -> None:
    settings.DEBUG = debug  # Django checks receivers then
    subscribe("order.shipped")(take)

    outcome = run(f"{__name__}.take")

    assert outcome is SENT
    assert taken == [shipped()]


def test_an_asynchronous_subscriber_is_awaited() -> None:
    subscribe(ORDER_SHIPPED)(take_later)

    outcome = run(f"{__name__}.take_later")

    assert outcome is SENT
    assert taken == [shipped()]


@pytest.mark.parametrize("function", [receive, receive_later])
def test_a_connected_receiver_is_called_as_django_calls_it(function: Any) -> None:
    ORDER_SHIPPED.connect(function, sender=OrderShipped)

    outcome = run(f"{__name__}.{function.__name__}")

    assert outcome is SENT
    assert taken == [shipped()]


def test_an_asynchronous_subscriber_also_hears_a_signal_that_is_sent_directly() -> None:
    subscribe(ORDER_SHIPPED)(take_later)

    ORDER_SHIPPED.send(sender=None, event=shipped())

    assert taken == [shipped()]


@pytest.mark.parametrize("handler", [stumble, lose_its_cache, leave])
def test_whatever_a_subscriber_raises_is_a_failed_attempt_of_its_own(handler: Any) -> None:
    subscribe(ORDER_SHIPPED)(handler)

    outcome = run(f"{__name__}.{handler.__name__}")

    assert outcome.kind is Kind.TRANSIENT
    assert outcome.failure is not None
    assert outcome.failure.message == "the warehouse is away"


def test_a_subscriber_that_exists_no_longer_fails_for_good() -> None:
    subscribe(ORDER_SHIPPED)(take)
    ORDER_SHIPPED.disconnect(dispatch_uid=f"{__name__}.take")

    outcome = run(f"{__name__}.take")

    assert outcome.kind is Kind.PERMANENT
    assert outcome.failure is not None
    assert f"'order.shipped' has no subscriber '{__name__}.take' any more. It has none." in outcome.failure.message


@pytest.mark.parametrize(
    ("when", "words", "reason"),
    [
        ({"currency": "USD"}, "currency is 'USD'", "currency is 'EUR', not 'USD'"),
        ({"order": [2, 3], "currency": "EUR"}, "order is 2 or 3 and currency is 'EUR'", "order is 1, not 2 or 3"),
        ({"order": {3, 2}}, "order is 2 or 3", "order is 1, not 2 or 3"),
        ({"tags": [["new"]]}, "tags is ['new']", "tags is [], not ['new']"),
        ({"anything": ("a",)}, "anything is 'a'", "anything is None, not 'a'"),
        (is_paid_in_dollars, "is_paid_in_dollars(event)", "is_paid_in_dollars(event) was False"),
        (will_be_large, "will_be_large(event)", "will_be_large(event) was None"),
        (lambda event: event.weights, "<lambda>(event)", "<lambda>(event) was None"),
    ],
)
def test_a_filter_skips_what_it_does_not_want_and_says_why(when: Any, words: str, reason: str) -> None:
    subscribe(ORDER_SHIPPED, when=when)(take)
    [subscription] = subscribers_of(ORDER_SHIPPED).values()

    skipped = call_subscriber(subscription, shipped(), topic=ORDER_SHIPPED)

    assert isinstance(subscription, Subscription)
    assert (str(subscription.filter), skipped, taken) == (words, reason, [])


@pytest.mark.parametrize(
    "when",
    [
        {"currency": ["USD", "EUR"], "order": 1},
        {"anything": None},
        {"weights": ({"box": 2.0}, None)},
        lambda event: event.order,
    ],
)
def test_a_filter_lets_through_what_it_wants(when: Any) -> None:
    subscribe(ORDER_SHIPPED, when=when)(take)

    outcome = run(f"{__name__}.take")

    assert outcome is SENT
    assert taken == [shipped()]


def test_a_filter_that_raises_is_a_failed_attempt() -> None:
    subscribe(ORDER_SHIPPED, when=stumble)(take)

    outcome = run(f"{__name__}.take")

    assert (outcome.kind, taken) == (Kind.TRANSIENT, [])


@pytest.mark.parametrize(
    ("when", "sentence"),
    [
        ({"ordre": 1}, r"asks for 'ordre', which 'order\.shipped' has not\. It has order, currency, tags"),
        ({"order": "1"}, r"would skip every event: 'order' of 'order\.shipped' is '1'\. It must be a whole number"),
        ({"tags": ["new"]}, r"would skip every event: 'tags' .* must be a list"),
        ({"order": []}, "would skip every event: it has no value for 'order'"),
        ({"order": None}, "would skip every event"),
        ({}, "is empty. Leave `when` out"),
        ("order == 1", "is 'order == 1'. Use a function of the event, or a mapping"),
    ],
)
def test_a_filter_that_can_never_match_is_refused_at_once(when: Any, sentence: str) -> None:
    with pytest.raises(InvalidSubscriber, match=sentence):
        subscribe(ORDER_SHIPPED, when=when)(take)

    assert subscribers_of(ORDER_SHIPPED) == {}


def test_subscribing_again_with_other_options_is_refused() -> None:
    subscribe(ORDER_SHIPPED)(take)

    with pytest.raises(InvalidSubscriber, match=r"is subscribed to 'order\.shipped' already, with other options"):
        subscribe(ORDER_SHIPPED, attempts=7)(take)


def test_a_receiver_is_called_as_django_people_expect() -> None:
    shelf = Shelf()
    ORDER_SHIPPED.connect(shelf.receive, dispatch_uid="the first shelf")
    ORDER_SHIPPED.connect(shelf.receive, dispatch_uid="the first shelf")
    ORDER_SHIPPED.connect(Shelf.receive_for_all)
    ORDER_SHIPPED.connect(functools.partial(receive, extra=1), weak=False)
    ORDER_SHIPPED.connect(receive, sender=VoteCreated)  # which this topic never sends
    ORDER_SHIPPED.connect(Shelf().receive)  # held weakly, so it is gone
    ORDER_SHIPPED.connect(receive_later)
    ORDER_SHIPPED.disconnect(receive_later)
    names = list(subscribers_of(ORDER_SHIPPED))

    outcomes = [run(name) for name in names]

    assert names == ["the first shelf", f"{__name__}.Shelf.receive_for_all", f"{__name__}.receive"]
    assert outcomes == [SENT] * 3
    assert taken == [shipped()] * 3


def test_subscribing_twice_is_subscribing_once() -> None:
    decorated = subscribe(ORDER_SHIPPED)(subscribe(ORDER_SHIPPED)(take))

    subscribers = subscribers_of(ORDER_SHIPPED)

    assert decorated is take
    assert list(subscribers) == [f"{__name__}.take"]


def test_receivers_of_one_name_are_told_apart_by_number() -> None:
    shelves = [Shelf(), Shelf()]
    for shelf in shelves:
        ORDER_SHIPPED.connect(shelf.receive)

    subscribers = subscribers_of(ORDER_SHIPPED)

    assert list(subscribers) == [f"{__name__}.Shelf.receive", f"{__name__}.Shelf.receive#2"]
    assert list(subscribers.values()) == [shelf.receive for shelf in shelves]


@pytest.mark.parametrize(
    "handler",
    [
        lambda event: event.order,
        local(),
        functools.partial(take),
    ],
)
def test_a_handler_that_a_worker_could_not_find_is_refused(handler: Any) -> None:
    with pytest.raises(InvalidSubscriber, match=r"cannot subscribe to 'order\.shipped': a worker in another"):
        subscribe(ORDER_SHIPPED)(handler)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"attempts": 0}, InvalidAttempts),
        ({"attempts": True}, InvalidAttempts),
        ({"attempts": 101}, InvalidAttempts),
        ({"backoff": {"delay": -1}}, InvalidBackoff),
    ],
)
def test_a_subscriber_with_senseless_options_is_refused(options: Mapping[str, Any], error: type) -> None:
    with pytest.raises(error):
        subscribe(ORDER_SHIPPED, **options)


def test_a_subscriber_brings_its_own_attempts_and_backoff(settings: Settings) -> None:
    settings.EMAIL_QUEUE = {"ATTEMPTS": 4, "BACKOFF": {"delay": 9}}
    subscribe(ORDER_SHIPPED, attempts=7, backoff={"type": "fixed", "delay": 0.5})(take)
    ORDER_SHIPPED.connect(receive)

    jobs = [subscriber_job(shipped(), name, who) for name, who in subscribers_of(ORDER_SHIPPED).items()]

    assert [(job.attempts, job.backoff) for job in jobs] == [
        (7, Backoff(type="fixed", delay=0.5)),
        (4, Backoff(delay=9)),
    ]
    assert [job.label for job in jobs] == [
        f"order.shipped → {__name__}.take",
        f"order.shipped → {__name__}.receive",
    ]


def test_the_job_of_a_subscriber_has_the_same_id_each_time() -> None:
    first, again, other = (subscriber_job(shipped(), name, take) for name in ("a.take", "a.take", "b.take"))

    ids = {first.id, again.id, other.id}

    assert len(ids) == 2
    assert first.id == again.id


def test_publish_event_has_a_method_for_each_topic_with_a_signature_to_complete() -> None:
    methods = {topic.replace(".", "_"): getattr(publish_event, topic.replace(".", "_")) for topic in bus.all_topics()}

    signatures = {name: inspect.signature(method) for name, method in methods.items()}

    assert set(methods) <= set(dir(publish_event))
    assert {tuple(signature.parameters) for signature in signatures.values()} == {
        ("payload", "idempotency_key", "using")
    }
    assert get_type_hints(PublishEvent) == {
        topic.name.replace(".", "_"): Publish[topic.payload]  # type: ignore[name-defined] # at run time
        for topic in vars(topics).values()
        if isinstance(topic, Topic)
    }
    with pytest.raises(AttributeError, match=r"publish_event has no 'vote_craeted'\. It has vote_created, model_"):
        _ = publish_event.vote_craeted  # type: ignore[attr-defined] # that is the test


def test_the_package_hands_out_its_public_names() -> None:
    importlib.import_module("emailqueue.events.publishing")

    names = {name: getattr(package, name) for package in (events, emailqueue.events) for name in package.__all__}

    assert names["topics"] is topics
    assert names["Topic"] is Topic
    assert all(callable(names[name]) for name in ("publish", "subscribe", "get_event_stats", "Event"))
    with pytest.raises(AttributeError, match="module 'events' has no attribute 'publisher'"):
        _ = events.publisher
