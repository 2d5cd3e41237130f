"""Large attachments: where they are kept, and when they go."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core.files.storage import FileSystemStorage
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings
from redis import Redis

from emailqueue import cancel_email
from emailqueue.backends import QueuedEmailBackend
from emailqueue.errors import StorageUnavailable
from emailqueue.housekeeping.attachments import LOST, YOUNG, sweep, sweep_lost
from emailqueue.housekeeping.retention import purge
from emailqueue.housekeeping.thread import SWEEPING, Housekeeper
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.job import Job, NewJob, Run, job_function, new_id, path_of
from emailqueue.jobs.outcome import SENT, Outcome
from emailqueue.mail.attachments import FOLDER, INLINE, KeptFiles, keep, project_folder, storage
from emailqueue.models import DeadLetter, OutboxRow
from emailqueue.store import INBOX, Store
from emailqueue.testing import MailServer
from tests.conftest import Work, claim_and_vanish, eventually

LARGE = bytes(range(256)) * (INLINE // 256) + b"more"
OFFICE = "office@sender.example"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def media(settings: Settings, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


@pytest.fixture
def store(valkey: Redis) -> Store:
    return Store(valkey)


def send(*to: str, content: bytes = LARGE) -> None:
    message = EmailMessage("Subject", "Body", OFFICE, list(to or ["ada@example.com"]))
    message.attach("large.bin", content, "application/octet-stream")
    QueuedEmailBackend().send_messages([message])


def files(media: Path) -> list[Path]:
    return [path for path in media.rglob("*") if path.is_file()]


def grow_old(age: timedelta = YOUNG) -> None:
    KeptFiles.objects.update(created_at=timezone.now() - 2 * age)


def forget_the_ended(valkey: Redis) -> None:
    """Have Redis be as it is some minutes later."""
    for key in valkey.scan_iter("emailqueue:ended:*"):
        valkey.delete(key)


def job_ids(valkey: Redis) -> list[str]:
    waiting: list[Any] = valkey.lrange("rq:queue:normal", 0, -1)
    return [job_id.decode() for job_id in waiting]


def test_large_attachments_lie_in_the_storage_and_small_ones_in_the_job(valkey: Redis, media: Path) -> None:
    send(content=LARGE[:INLINE])
    small = files(media)

    send(content=LARGE[: INLINE + 1])

    sizes = [len(valkey.hget(f"rq:job:{job_id}", "data") or b"") for job_id in job_ids(valkey)]
    assert small == []
    assert [path.stat().st_size for path in files(media)] == [INLINE + 1]
    assert sizes[0] > INLINE
    assert sizes[1] < 2000


def test_a_large_body_lies_in_the_storage_too(
    mailbox: MailServer, work: Work, valkey: Redis, media: Path, store: Store
) -> None:
    html = "<p>Grüße</p>" * 10_000
    message = EmailMultiAlternatives("Subject", "Body", OFFICE, ["ada@example.com"])
    message.attach_alternative(html, "text/html")

    QueuedEmailBackend().send_messages([message])
    (job_id,) = job_ids(valkey)
    carried = len(valkey.hget(f"rq:job:{job_id}", "data") or b"")
    stored = [path.stat().st_size for path in files(media)]
    work()
    sweep(store)  # unless the worker has

    (received,) = mailbox.messages
    assert carried < 2000
    assert stored == [len(html.encode())]
    (body,) = [part for part in received.message.walk() if part.get_content_type() == "text/html"]
    assert body.get_content().strip() == html
    assert files(media) == []


def test_what_counts_is_what_all_copies_carry_together(mailbox: MailServer, valkey: Redis, media: Path) -> None:
    send("a@example.com", "b@example.com", content=LARGE[: INLINE // 2])
    two = files(media)

    send("a@example.com", "b@example.com", "c@example.com", content=LARGE[: INLINE // 2])

    assert two == []
    assert len(files(media)) == 1


def test_the_name_of_a_file_does_not_follow_from_the_message_id(valkey: Redis, media: Path) -> None:
    send()

    (path,) = files(media)
    (job_id,) = job_ids(valkey)
    assert path.relative_to(media).parts[0] == FOLDER
    assert job_id not in str(path)


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


def test_the_folder_of_the_project_stays_the_same(settings: Settings) -> None:
    before = project_folder()
    settings.SECRET_KEY = "another"

    assert project_folder() == before
    assert re.fullmatch(rf"{FOLDER}/[0-9a-f]{{16}}", before)


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


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"short")], ids=["gone", "cut"])
def test_a_mail_whose_attachment_is_gone_becomes_a_letter_at_once(
    mailbox: MailServer, work: Work, media: Path, damage: Callable[[Path], object]
) -> None:
    send()
    damage(files(media)[0])

    work()

    letter = DeadLetter.objects.get()
    assert letter.error_class == "emailqueue.errors.AttachmentGone"
    assert letter.tries == 1
    assert mailbox.messages == []


def test_a_storage_that_is_away_is_waited_for(mailbox: MailServer, work: Work, media: Path) -> None:
    send()
    folder = files(media)[0].parent
    held = folder.rename(folder.with_name("held"))
    folder.write_bytes(b"not a folder")  # to open a file in it is another error than that it is gone

    work()
    folder.unlink()
    held.rename(folder)
    work(seconds=15)

    assert len(mailbox.messages) == 1


class Failing(FileSystemStorage):
    """Fails as some do that lie in a network; ValueError is what others raise for a wrong configuration."""

    errors: ClassVar[list[Exception]] = []

    def open(self, name: str, mode: str = "rb") -> Any:
        if self.errors:
            raise self.errors.pop()
        return super().open(name, mode)

    def save(self, name: str | None, content: Any, max_length: int | None = None) -> str:
        if self.errors:
            raise self.errors.pop()
        return super().save(name, content, max_length)


@pytest.fixture
def failing(settings: Settings) -> Iterator[list[Exception]]:
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": f"{__name__}.Failing"}}
    yield Failing.errors
    Failing.errors.clear()


@pytest.mark.parametrize("error", [ValueError, RuntimeError, ConnectionError])
def test_an_outage_of_the_storage_costs_no_attempt(
    mailbox: MailServer,
    work: Work,
    failing: list[Exception],
    queue_settings: Callable[..., None],
    error: type[Exception],
) -> None:
    queue_settings(ATTEMPTS=1)
    send()
    failing.extend(error("later") for _ in range(2))

    work(seconds=15)

    assert len(mailbox.messages) == 1
    assert not DeadLetter.objects.exists()
    assert failing == []


@pytest.mark.parametrize("error", [ValueError("?"), ConnectionError("gone")])
def test_a_storage_that_is_away_at_the_call_is_silent_only_on_request(
    failing: list[Exception], valkey: Redis, error: Exception
) -> None:
    message = EmailMessage("Subject", "Body", OFFICE, ["ada@example.com"])
    message.attach("large.bin", LARGE, "application/octet-stream")
    failing.extend([error, error])

    queued = QueuedEmailBackend(fail_silently=True).send_messages([message])
    with pytest.raises(StorageUnavailable, match="storage of attachments failed"):
        QueuedEmailBackend().send_messages([message])

    assert queued == 0
    assert job_ids(valkey) == []


@job_function
def queue_and_fail_once(job: Job, run: Run) -> Outcome:
    """Queue a message, and end as told by how often it has run."""
    send()
    if not job.history:
        raise RuntimeError("later")
    return SENT


def test_a_job_that_runs_again_queues_its_message_once(
    mailbox: MailServer, work: Work, store: Store, media: Path
) -> None:
    job = NewJob(
        id=new_id(),
        queue="normal",
        function=path_of(queue_and_fail_once),
        arguments={},
        attempts=2,
        backoff=Backoff(type="fixed", delay=0.1),
        label="test",
    )
    store.enqueue([job])

    work(seconds=15)
    sweep(store)

    assert len(mailbox.messages) == 1
    assert files(media) == []


def test_the_storage_is_the_one_that_the_setting_names(
    settings: Settings, tmp_path: Path, queue_settings: Callable[..., None], valkey: Redis, media: Path
) -> None:
    private = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path / "private"}}
    settings.STORAGES = {**settings.STORAGES, "private": private}
    queue_settings(ATTACHMENT_STORAGE="private")

    send()

    assert files(media) == []
    assert len(files(tmp_path / "private")) == 1
    assert storage().listdir(project_folder())[0]
