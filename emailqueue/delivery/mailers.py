"""Which of Django's e-mail backends really delivers."""

import django
from django.conf import settings as django_settings
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend as SMTPBackend
from django.utils.module_loading import import_string

from emailqueue.conf import Settings

SMTP = "django.core.mail.backends.smtp.EmailBackend"


def new_backend(settings: Settings) -> BaseEmailBackend:
    """
    Return a new backend of the mailer that really delivers, with a time-out on its socket.

    Raises ImproperlyConfigured when that would be the queue itself.
    """
    require_delivery(settings)
    if has_mailers():
        backend: BaseEmailBackend = mail.mailers[settings.mailer or "default"]  # type: ignore[attr-defined,unused-ignore]  # Django 6.1
    else:
        backend = mail.get_connection(settings.mailer)
    if isinstance(backend, SMTPBackend) and not backend.timeout:
        backend.timeout = settings.send_timeout  # Django's default is to wait for ever
    return backend


def require_delivery(settings: Settings) -> None:
    """Raise ImproperlyConfigured when what delivers is missing, or would be the queue itself, in a circle."""
    path = _path(settings)
    try:
        backend = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"What delivers the mail cannot be imported: {error}. {_hint()}") from error
    if getattr(backend, "is_queue", False):
        named = f"EMAIL_QUEUE['MAILER'] is {settings.mailer!r}" if settings.mailer else "EMAIL_QUEUE has no 'MAILER'"
        raise ImproperlyConfigured(f"{named}, so the queue would deliver to itself ({path}). {_hint()}")


def is_smtp(settings: Settings) -> bool:
    """
    Return whether mail is delivered by SMTP, and so to one recipient at a time. Others take a message as a whole.

    A backend that cannot be imported is none; require_delivery() says so.
    """
    try:
        backend = import_string(_path(settings))
    except (ImportError, ImproperlyConfigured):
        return False
    return isinstance(backend, type) and issubclass(backend, SMTPBackend)


def queue_is_used() -> bool:
    """Return whether the queue is among what Django sends mail by."""
    if not has_mailers():
        return is_queue(str(django_settings.EMAIL_BACKEND))
    return any(is_queue(str(mailer.get("BACKEND", SMTP))) for mailer in django_settings.MAILERS.values())


def is_queue(path: str) -> bool:
    """Return whether the backend at that dotted path queues instead of sending."""
    try:
        return bool(getattr(import_string(path), "is_queue", False))
    except ImportError:
        return False


def _path(settings: Settings) -> str:
    if not has_mailers():
        return settings.mailer or str(django_settings.EMAIL_BACKEND)
    mailers, alias = django_settings.MAILERS, settings.mailer or "default"
    if alias not in mailers:
        raise ImproperlyConfigured(f"MAILERS has no {alias!r} that would deliver the mail. {_hint()}")
    return str(mailers[alias].get("BACKEND", SMTP))


def has_mailers() -> bool:
    """Return whether the project names its mail servers in MAILERS, which excludes EMAIL_HOST and the like."""
    return django.VERSION >= (6, 1) and hasattr(django_settings, "MAILERS")


def _hint() -> str:
    if has_mailers():
        return "Set EMAIL_QUEUE['MAILER'] to the alias in MAILERS that really delivers."
    return f"Set EMAIL_QUEUE['MAILER'] to the e-mail backend that really delivers, for example {SMTP!r}."
