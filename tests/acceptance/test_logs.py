from __future__ import annotations

import json

import pytest
from redis import Redis

from emailqueue.jobs.priority import QUEUES
from emailqueue.testing.mailserver import MailServer
from events import queue_vote_confirmation
from tests.conftest import StartWorker

VOTE = {"model_name": "Aurora", "profile_url": "https://front.example/models/7"}


def test_each_line_of_a_worker_is_one_json_object_without_an_address(
    mailbox: MailServer, start_worker: StartWorker, valkey: Redis
) -> None:
    mailbox.rules.append(("eve@*", ["550 5.1.1 <eve@example.com> is unknown"]))
    queue_vote_confirmation("ada@example.com", VOTE)
    refused = queue_vote_confirmation("eve@example.com", VOTE)

    worker = start_worker(*QUEUES, "--burst", LOG_FORMAT="json")
    assert worker.process.wait(20) == 0

    printed = worker.log.read_text()
    lines = [json.loads(line) for line in printed.splitlines()]
    words = [line["message"] for line in lines]
    assert {"worker started", "statistics", "sent", "bad address", "worker stopped"} <= set(words)
    [refusal] = [line for line in lines if line["message"] == "bad address"]
    assert (refusal["job_id"], refusal["smtp_code"], refusal["level"]) == (refused, 550, "WARNING")
    assert "@" not in printed


@pytest.mark.parametrize("word", ["", "text"])
def test_without_a_word_lines_stay_text(start_worker: StartWorker, word: str) -> None:
    worker = start_worker(*QUEUES, "--burst", LOG_FORMAT=word)
    assert worker.process.wait(20) == 0

    assert " INFO emailqueue.worker worker started worker=" in worker.log.read_text()
