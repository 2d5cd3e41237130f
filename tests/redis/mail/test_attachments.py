"""Large attachments: where they are kept, and what happens when the storage is away."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core.files.storage import FileSystemStorage
from django.core.mail import EmailMessage, EmailMultiAlternatives
from pytest_django import Settings
from redis import Redis

from emailqueue.backends import QueuedEmailBackend
from emailqueue.errors import StorageUnavailable
from emailqueue.housekeeping.attachments import sweep
from emailqueue.jobs.backoff import Backoff
from emailqueue.jobs.functions import Run, job_function
from emailqueue.jobs.job import Job, NewJob, new_id
from emailqueue.jobs.outcome import SENT, Outcome
from emailqueue.mail.attachments import FOLDER, INLINE, project_folder, storage
from emailqueue.models import DeadLetter
from emailqueue.store import Store
from emailqueue.testing import MailServer
from tests.conftest import Work
from tests.support.attachments import LARGE, OFFICE, files, job_ids, send

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("media"), pytest.mark.postgresql]


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


def test_the_folder_of_the_project_stays_the_same(settings: Settings) -> None:
    before = project_folder()
    settings.SECRET_KEY = "another"

    assert project_folder() == before
    assert re.fullmatch(rf"{FOLDER}/[0-9a-f]{{16}}", before)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"short")], ids=["gone", "cut"])
def test_a_mail_whose_attachment_is_gone_becomes_a_letter_at_once(
    mailbox: MailServer, work: Work, media: Path, damage: Callable[[Path], object]
) -> None:
    send()
    damage(files(media)[0])

    work()

    letter = DeadLetter.objects.get()
    assert letter.error_class == "emailqueue.errors.AttachmentGone"
    assert letter.attempts_charged == 1
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


@job_function("tests.queue_and_fail_once")
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
        function="tests.queue_and_fail_once",
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
