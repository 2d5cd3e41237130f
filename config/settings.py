"""What the environment says about the example project; every variable is optional in development."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import django
from django.core.exceptions import ImproperlyConfigured

from config.environment import choice, database, number, switch, text, texts
from emailqueue.redis import rq_queues

BASE_DIR = Path(__file__).resolve().parent.parent

# Debugging is on only where nothing speaks of production, so that it is never on there by accident. Where
# it is on, Django answers to localhost alone.
DEBUG = switch("DEBUG", default=not (text("SECRET_KEY") or text("ALLOWED_HOSTS") or text("DATABASE_URL")))
SECRET_KEY = text("SECRET_KEY", "only-for-development" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "SECRET_KEY is not set and DEBUG is off. Set it to 50 random characters, or DEBUG=1 to develop."
    )
ALLOWED_HOSTS = texts("ALLOWED_HOSTS")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_rq",
    "emailqueue",
    "events",
    "config",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": database("DATABASE_URL", f"sqlite:///{quote(str(BASE_DIR / 'db.sqlite3'))}")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
if STATIC_ROOT.is_dir():
    # collectstatic has run: the image has no runserver and no web server in front that would serve it.
    MIDDLEWARE.insert(1, "whitenoise.middleware.WhiteNoiseMiddleware")

RQ_QUEUES = {**rq_queues(data_dir=BASE_DIR / ".valkey")}
RQ = {"WORKER_CLASS": "emailqueue.worker.EmailWorker"}

# What the environment leaves out, emailqueue chooses.
EMAIL_QUEUE: dict[str, Any] = {
    key: text(variable)
    for key, variable in {
        "FRONTEND_URL": "FRONTEND_URL",
        "RATE_LIMIT": "EMAIL_RATE_LIMIT",
        "AMBIGUOUS": "EMAIL_AMBIGUOUS",
        "OUTBOX": "EMAIL_OUTBOX",
        "HEARTBEAT_FILE": "EMAIL_HEARTBEAT_FILE",
        "STATS_TOKEN": "EMAIL_STATS_TOKEN",
    }.items()
    if text(variable)
}
if text("EMAIL_CONCURRENCY"):
    EMAIL_QUEUE["CONCURRENCY"] = number("EMAIL_CONCURRENCY", 5, most=1000)
if text("EMAIL_JOB_TIMEOUT"):
    EMAIL_QUEUE["JOB_TIMEOUT"] = number("EMAIL_JOB_TIMEOUT", 180, most=86_400)

DEFAULT_FROM_EMAIL = text("DEFAULT_FROM_EMAIL", "Example <noreply@example.com>")
smtp_tls = switch("EMAIL_USE_TLS", default=False)
smtp_port = number("EMAIL_PORT", 587 if smtp_tls else 25, most=65535)
smtp: dict[str, Any] = {
    "host": text("EMAIL_HOST", "localhost"),
    "port": smtp_port,
    "username": text("EMAIL_HOST_USER"),
    "password": text("EMAIL_HOST_PASSWORD"),
    # Port 465 speaks TLS from the first byte, the others turn to it by STARTTLS.
    "use_tls": smtp_tls and smtp_port != 465,
    "use_ssl": smtp_tls and smtp_port == 465,
    # Django waits for ever by default. One step is shorter than the whole job.
    "timeout": min(60, max(1, EMAIL_QUEUE.get("JOB_TIMEOUT", 180) // 2)),
}
# Without a mail server, a developer reads the mails on the console. Production would lose them there.
on_console = DEBUG and not (text("EMAIL_HOST") or text("EMAIL_PORT"))
mail_backend = f"django.core.mail.backends.{'console' if on_console else 'smtp'}.EmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": mail_backend, "OPTIONS": {} if on_console else smtp}}
else:
    EMAIL_BACKEND = mail_backend
    EMAIL_HOST, EMAIL_PORT = smtp["host"], smtp["port"]
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = smtp["username"], smtp["password"]
    EMAIL_USE_TLS, EMAIL_USE_SSL = smtp["use_tls"], smtp["use_ssl"]
    EMAIL_TIMEOUT = smtp["timeout"]

# The folder in which a mail server on loopback keeps what it receives, for the page that shows it; see quickstart.
MAILBOX = text("MAILBOX")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"text": {"()": "emailqueue.logs.Formatter"}, "json": {"()": "emailqueue.logs.JSONFormatter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": choice("LOG_FORMAT", "text", "json")}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        # Django's own console handler would say each line again.
        "django": {"handlers": [], "level": "INFO"},
        # The loopback mail server of quickstart tells each byte of its dialogue.
        "mail.log": {"level": "WARNING"},
    },
}
