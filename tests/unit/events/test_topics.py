"""Topics and their payloads."""

from __future__ import annotations

import copy
import importlib
import inspect
import json
from dataclasses import make_dataclass
from typing import Any, get_type_hints

import pytest
from django.dispatch import Signal, receiver

import emailqueue.events
import events
from emailqueue.errors import InvalidPayload, UnknownTopic
from emailqueue.events import topics as bus
from emailqueue.events.event import Event
from emailqueue.events.topics import Topic, get_topic
from events import publish_event, topics
from events.payloads import VoteCreated
from events.publishing import Publish, PublishEvent
from tests.support.orders import ORDER_SHIPPED, OrderShipped, shipped

VOTE = {"voter_email": "ada@example.com", "model_name": "Ada", "model_id": 7}
RANK = {
    "model_id": "m1",
    "model_name": "Ada",
    "new_rank": 1,
    "old_rank": 2,
    "vote_count": 99,
    "supporter_emails": ["ada@example.com", "bob@example.com"],
}


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


@pytest.mark.parametrize("hint", [bytes, bytes | None, list[bytes], dict[str, list[bytes]]])
def test_a_payload_of_types_that_json_has_no_match_for_is_refused_by_its_field(hint: Any) -> None:
    payload = make_dataclass("OrderPaid", [("order", int), ("at", hint)], frozen=True, kw_only=True)

    with pytest.raises(
        TypeError, match=r"^The field 'at' of OrderPaid is of the type <class 'bytes'>, which JSON cannot carry"
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
        (
            "vote.created",
            ["ada"],
            r"The payload of 'vote\.created' is \['ada'\]. Use an object of VoteCreated or a mapping",
        ),
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
        (
            "model.rank_changed",
            {**RANK, "supporter_emails": ["a@b.example", "b"]},
            r"'supporter_emails\[1\]' .* is 'b'. It must be an e-m",
        ),
        (
            "order.shipped",
            {"order": 1, "weights": {"box": "heavy"}},
            r"weights\['box'\].* of .* is 'heavy'. It must be a number",
        ),
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
