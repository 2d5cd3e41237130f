"""Where a quickstart keeps its files, and the environment that points there and nowhere else."""

import fcntl
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from django.core.management import CommandError

from emailqueue.redis.embedded import EmbeddedValkey

RATE_LIMIT = "200/s"
OWN_PREFIXES = ("REDIS_", "UPSTASH_", "EMAIL_")
OWN_NAMES = ("ALLOWED_HOSTS", "DEFAULT_FROM_EMAIL")
"""Variables of the user's environment that no process of a quickstart may see; others are replaced."""
LOCK = "quickstart.lock"
"""Marks a folder that may be emptied, and is locked by the quickstart that uses it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The folder of one quickstart."""

    folder: Path
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    """Tells this run from an earlier one that was killed, and whose server may not have ended yet."""

    @property
    def mailbox(self) -> Path:
        """Where the delivered mails lie."""
        return self.folder / "mailbox"

    @property
    def logs(self) -> Path:
        """Where each process writes its log."""
        return self.folder / "logs"

    @property
    def valkey(self) -> EmbeddedValkey:
        """The server, not started."""
        return EmbeddedValkey(self.folder / f"valkey-{self.run}")

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return `environ` with all that config.settings reads from it set for this quickstart."""
        foreign = {
            name: value
            for name, value in environ.items()
            if not name.startswith(OWN_PREFIXES) and name not in OWN_NAMES
        }
        return foreign | {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DEBUG": "1",
            "SECRET_KEY": secrets.token_urlsafe(40),
            "FRONTEND_URL": "https://app.example.com",
            "DATABASE_URL": f"sqlite:///{quote(str(self.folder / 'db.sqlite3'))}",
            "REDIS_URL": self.valkey.url,
            "EMAIL_RATE_LIMIT": RATE_LIMIT,
            "MAILBOX": str(self.mailbox),
        }

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """
        Empty the folder and keep other quickstarts out of it.

        Raises CommandError when another one is in it, or when it holds files that are not of a quickstart.
        """
        if self.folder.exists() and not (self.folder.is_dir() and _may_be_emptied(self.folder)):
            raise CommandError(f"{self.folder} holds other files. Name a new or empty folder with --state.")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / LOCK).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CommandError(
                    f"Another quickstart runs in {self.folder}. End it, or name another folder with --state."
                ) from None
            _empty(self.folder)
            (self.folder / ".gitignore").write_text("*\n")
            self.logs.mkdir()
            yield


def _may_be_emptied(folder: Path) -> bool:
    return (folder / LOCK).is_file() or not any(folder.iterdir())


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            # The server of a killed run may still write there; what it leaves is in nobody's way.
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != LOCK:
            entry.unlink()
