"""Where large attachments are kept until the jobs that send them have ended."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from secrets import token_hex
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from django.db import models
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from emailqueue.conf import get_settings
from emailqueue.errors import AttachmentGone, StorageUnavailable

INLINE = 64 * 1024
"""Bytes of attachments that the jobs of one message carry in all; more than that lies in the storage."""

FOLDER = "emailqueue-attachments"
"""In the storage. Not "emailqueue": without MEDIA_ROOT Django's storage is the folder that the process runs in."""

NAME = re.compile(rf"{FOLDER}/[0-9a-f]{{16}}/\d{{4}}-\d\d-\d\d/[0-9a-f]{{40}}/[\w.-]+", re.ASCII)


class KeptFilesQuerySet(models.QuerySet["KeptFiles"]):
    """Which jobs need which files."""

    def note(self, job_ids: Iterable[str], *, message: str, names: Sequence[str]) -> None:
        """Store that these jobs need the files of `names`. A job that is queued again needs those, too."""
        ids = list(job_ids)
        for row in self.filter(job_id__in=ids):
            # Not save(), which fails where the sweep has just deleted the row.
            self.filter(pk=row.pk).update(
                names=list(dict.fromkeys([*row.names, *names])), ended=False, created_at=timezone.now()
            )
        rows = [KeptFiles(job_id=job_id, message=message, names=list(names)) for job_id in ids]
        self.bulk_create(rows, batch_size=500, ignore_conflicts=True)

    def hand_on(self, old_job: str, new_job: str) -> None:
        """Have a job need the same files as the one that it replaces."""
        for row in self.filter(job_id=old_job):
            self.note([new_job], message=row.message, names=row.names)


class KeptFiles(models.Model):
    """The files in the storage that one job needs."""

    job_id = models.CharField(_("job id"), max_length=200, unique=True)
    message = models.CharField(_("message"), max_length=64, db_index=True)
    """Common to the jobs of all recipients of one message, which share its files."""
    names = models.JSONField(_("names"), default=list)
    ended = models.BooleanField(_("ended"), default=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now)

    objects = KeptFilesQuerySet.as_manager()

    class Meta:
        verbose_name = _("kept files")
        verbose_name_plural = _("kept files")
        default_permissions = ()

    def __str__(self) -> str:
        return self.job_id


class ProjectFolder(models.Model):
    """The one row that says which folder of a storage is this project's: others may share the storage."""

    name = models.CharField(_("name"), max_length=16)

    class Meta:
        verbose_name = _("folder of the project")
        verbose_name_plural = _("folder of the project")
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


def project_folder() -> str:
    """Return the path of this project's folder in the storage. It does not follow from any key, which may change."""
    folder, _created = ProjectFolder.objects.get_or_create(pk=1, defaults={"name": token_hex(8)})
    return f"{FOLDER}/{folder.name}"


def storage() -> Storage:
    """Return the storage that EMAIL_QUEUE["ATTACHMENT_STORAGE"] names."""
    return storages[get_settings().attachment_storage]


def keep(content: bytes, *, message: str) -> dict[str, Any]:
    """
    Store a content and return what stands for it in a job. Raises StorageUnavailable.

    Its name cannot be guessed from the Message-ID, since many projects serve their storage to everyone.
    """
    folder = salted_hmac("emailqueue.mail.attachments", message, algorithm="sha256").hexdigest()[:40]
    path = f"{project_folder()}/{timezone.now():%Y-%m-%d}/{folder}/content"
    with _translated():
        name = storage().save(path, ContentFile(content))
    return {"file": name, "size": len(content)}


def fetch(content: Any) -> Any:
    """Return the bytes of what keep() has stored. Raises AttachmentGone or StorageUnavailable."""
    if not (isinstance(content, Mapping) and "file" in content):
        return content
    name, size = str(content["file"]), content["size"]
    if not NAME.fullmatch(name):  # a job must not send whatever lies in the storage
        raise ValueError(f"{name!r} is no attachment of the queue.")
    with _translated(), storage().open(name) as file:
        stored: bytes = file.read()
    if len(stored) != size:
        raise AttachmentGone(f"The attachment {name!r} has {len(stored)} bytes in the storage instead of {size}.")
    return stored


@contextmanager
def _translated() -> Iterator[None]:
    """Raise our errors in place of the storage's, which are of any kind."""
    try:
        yield
    except FileNotFoundError as error:
        raise AttachmentGone(f"An attachment is not in the storage any more: {error}.") from error
    except Exception as error:
        raise StorageUnavailable(f"The storage of attachments failed: {type(error).__name__}: {error}") from error
