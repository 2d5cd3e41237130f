"""When the files of attachments go, and what keeps them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core.files.storage import FileSystemStorage
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings
from redis import Redis

from emailqueue import cancel_email
from emailqueue.housekeeping.attachments import LOST, YOUNG, sweep, sweep_lost
from emailqueue.housekeeping.retention import purge
from emailqueue.housekeeping.thread import SWEEPING, Housekeeper
from emailqueue.mail.attachments import FOLDER, KeptFiles, keep, project_folder, storage
from emailqueue.models import DeadLetter, OutboxRow
from emailqueue.store import INBOX, Store
from emailqueue.testing import MailServer
from tests.conftest import Work, claim_and_vanish, eventually
from tests.support.attachments import LARGE, files, job_ids, send

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("media"), pytest.mark.postgresql]


def grow_old(age: timedelta = YOUNG) -> None:
    KeptFiles.objects.update(created_at=timezone.now() - 2 * age)


def forget_the_ended(valkey: Redis) -> None:
    """Have Redis be as it is some minutes later."""
    for key in valkey.scan_iter("emailqueue:ended:*"):
        valkey.delete(key)


def test_a_file_goes_when_the_mails_of_all_recipients_are_sent(
    mailbox: MailServer, work: Work, store: Store, media: Path
) -> None:
    mailbox.rules.append(("bob@*", ["451 4.3.0 later", "250 ok"]))
    send("ada@example.com", "bob@example.com")
    KeptFiles.objects.update(created_at=timezone.now() - 2 * YOUNG)

    work()
    swept_between = sweep(store)
    kept_between = files(media)
    work(seconds=15)
    sweep(store)  # unless the worker has

    assert (swept_between, len(kept_between)) == (0, 1)
    assert len(mailbox.messages) == 2
    for received in mailbox.messages:
        (part,) = received.message.iter_attachments()
        assert part.get_content() == LARGE
    (left,) = storage().listdir(project_folder())[0]
    assert list(media.rglob("*"))[-1] == media / project_folder() / left
    assert not KeptFiles.objects.exists()


def test_the_worker_sweeps(mailbox: MailServer, work: Work, valkey: Redis, media: Path) -> None:
    send()
    before = files(media)
    work()

    housekeeper = Housekeeper(valkey)  # unless the one of the worker was late enough
    housekeeper.start()
    eventually(lambda: not files(media))

    housekeeper.stop()
    assert len(before) == 1


def test_a_dead_letter_keeps_its_files_until_it_is_purged(
    mailbox: MailServer, work: Work, store: Store, media: Path
) -> None:
    mailbox.replies = ["550 5.1.1 no such mailbox"]
    send()
    work()
    grow_old()
    forget_the_ended(store.connection)
    swept_open = sweep(store)
    letter = DeadLetter.objects.get()

    letter.retry(to="bob@example.com")
    work()
    swept_delivered = sweep(store)
    kept = files(media)
    purge(older_than=timedelta(), now=timezone.now() + timedelta(days=1))
    grow_old()
    forget_the_ended(store.connection)
    swept = sweep(store)

    (part,) = mailbox.messages[0].message.iter_attachments()
    assert part.get_content() == LARGE
    assert (swept_open, swept_delivered, len(kept)) == (0, 0, 1)
    assert (swept, files(media)) == (1, [])


def test_a_letter_that_follows_from_a_retry_keeps_the_files_too(
    mailbox: MailServer, work: Work, store: Store, media: Path
) -> None:
    mailbox.replies = ["550 5.1.1 no such mailbox", "550 5.1.1 no such mailbox"]
    send()
    work()
    DeadLetter.objects.get().retry(to="bob@example.com")
    work()
    purge(older_than=timedelta(), now=timezone.now() + timedelta(days=1))
    grow_old()
    forget_the_ended(store.connection)

    swept = sweep(store)
    letter = DeadLetter.objects.get()
    letter.retry()
    work()

    assert swept == 0
    assert letter.recipient == "bob@example.com"
    (part,) = mailbox.messages[0].message.iter_attachments()
    assert part.get_content() == LARGE


def test_a_death_that_is_not_in_the_database_yet_keeps_its_files(
    mailbox: MailServer, work: Work, store: Store, media: Path
) -> None:
    mailbox.replies = ["550 5.1.1 no such mailbox"]
    send()
    work()
    grow_old()
    DeadLetter.objects.get().delete()
    store.connection.hset(INBOX, "d1", "{}")

    swept = sweep(store)

    assert (swept, len(files(media))) == (0, 1)


def test_a_mail_that_a_worker_has_or_that_waits_keeps_its_files(store: Store, media: Path) -> None:
    send()
    send()
    grow_old()
    claim_and_vanish(store.connection, jobs=1, lease=60)

    swept = sweep(store)

    assert (swept, len(files(media))) == (0, 2)


def test_a_mail_in_the_outbox_keeps_its_files(store: Store, media: Path, queue_settings: Callable[..., None]) -> None:
    queue_settings(OUTBOX="always")
    send()
    store.connection.flushall()
    grow_old()

    swept = sweep(store)

    assert OutboxRow.objects.count() == 1
    assert (swept, len(files(media))) == (0, 1)


def test_the_files_of_a_cancelled_mail_go(store: Store, media: Path) -> None:
    send()
    cancel_email(*job_ids(store.connection))

    swept = sweep(store)

    assert (swept, files(media)) == (1, [])


def test_a_mail_that_nobody_knows_has_an_hour_to_be_committed(store: Store, media: Path) -> None:
    send()
    store.connection.flushall()

    swept_young = sweep(store)
    grow_old()
    swept_old = sweep(store)

    assert (swept_young, swept_old) == (0, 1)
    assert files(media) == []


def test_the_files_of_a_transaction_that_was_rolled_back_go_days_later(store: Store, media: Path) -> None:
    send()
    with transaction.atomic():
        send()
        transaction.set_rollback(True)
    (media / project_folder() / "of-somebody-else").mkdir()
    of_another = media / FOLDER / "0123456789abcdef" / "2026-01-01" / ("a" * 40)
    of_another.mkdir(parents=True)
    (of_another / "content").write_bytes(LARGE)
    today = timezone.now().date()

    early = sweep_lost(today=today + LOST - timedelta(days=1))
    deleted = sweep_lost(today=today + LOST)

    assert (early, deleted) == (0, 1)
    assert len(files(media)) == 2
    assert (of_another / "content").exists()


class Interrupted(Store):
    """A job runs again between the question to Redis and what is done about its answer."""

    def whereabouts(self, job_ids: Any) -> Any:
        answer = super().whereabouts(job_ids)
        for row in KeptFiles.objects.all():
            kept = keep(LARGE, message=row.message)
            KeptFiles.objects.note([row.job_id], message=row.message, names=[kept["file"]])
        return answer


def test_a_file_that_is_stored_while_the_sweep_asks_redis_stays(valkey: Redis, media: Path) -> None:
    send()
    cancel_email(*job_ids(valkey))

    swept = sweep(Interrupted(valkey))
    kept = len(files(media))
    swept_later = sweep(Store(valkey))

    assert (swept, kept) == (0, 2)
    assert (swept_later, files(media)) == (1, [])


class Sticky(FileSystemStorage):
    """Does not delete the files of one message."""

    stuck: ClassVar[str] = ""

    def delete(self, name: str) -> None:
        if self.stuck in name:
            raise PermissionError(name)
        super().delete(name)


def test_a_file_that_cannot_be_deleted_does_not_keep_the_others(
    valkey: Redis, media: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": f"{__name__}.Sticky"}}
    for _ in range(3):
        send()
    Sticky.stuck = files(media)[1].parent.name
    for job_id in job_ids(valkey):
        cancel_email(job_id)

    swept = sweep(Store(valkey))

    told = [record for record in caplog.records if record.message == "attachments are not deleted"]
    assert (swept, len(files(media)), KeptFiles.objects.count()) == (2, 1, 1)
    assert len(told) == 1


def test_one_worker_sweeps_at_a_time_and_none_that_stops(valkey: Redis, media: Path) -> None:
    send()
    cancel_email(*job_ids(valkey))
    valkey.set(SWEEPING, "of another worker")
    housekeeper = Housekeeper(valkey)

    housekeeper.start()
    eventually(lambda: housekeeper._next_sweep > 0)
    housekeeper.stop()
    kept = files(media)

    assert len(kept) == 1
    assert valkey.get(SWEEPING) == b"of another worker"


def test_a_storage_without_the_folder_has_nothing_to_sweep() -> None:
    assert sweep_lost(today=date(2036, 1, 1)) == 0
