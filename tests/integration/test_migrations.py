from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from emailqueue.models import DeadLetter

BEFORE = [("emailqueue", "0001_initial")]


@pytest.fixture
def first_schema(transactional_db: None) -> Iterator[MigrationExecutor]:
    executor = MigrationExecutor(connection)
    latest = [node for node in executor.loader.graph.leaf_nodes() if node[0] == "emailqueue"]
    executor.migrate(BEFORE)
    yield executor
    MigrationExecutor(connection).migrate(latest)


def test_letters_that_are_there_already_are_found_after_the_migration(first_schema: MigrationExecutor) -> None:
    old = first_schema.loader.project_state(BEFORE).apps.get_model("emailqueue", "DeadLetter")
    old.objects.create(id="a" * 32, recipient="Ada@Example.com", message="550  No such mailbox", died_at=timezone.now())
    old.objects.bulk_create([old(id=f"{number:032x}", died_at=timezone.now()) for number in range(600)])

    latest = MigrationExecutor(connection)
    latest.migrate([node for node in latest.loader.graph.leaf_nodes() if node[0] == "emailqueue"])

    letter = DeadLetter.objects.get(recipient_key="ada@example.com")
    assert (letter.recipient_domain, letter.error_key) == ("example.com", "550 no such mailbox")
    assert DeadLetter.objects.count() == 601
