"""Whether the links in mails lead somewhere: to the front end, and to the page to unsubscribe."""

import ipaddress
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Info, Warning, register

from emailqueue.conf import Settings, get_settings
from emailqueue.email_types import email_types
from emailqueue.errors import EmailQueueError
from emailqueue.models.subscription import unsubscribe_url


@register("emailqueue")
def check_unsubscribe(**kwargs: Any) -> list[CheckMessage]:
    """See that the links to unsubscribe of subscribed e-mail types lead somewhere, without a redirect."""
    if not any(email_type.subscribed for email_type in email_types().values()):
        return []
    try:
        link = unsubscribe_url("token").removesuffix("token")
    except EmailQueueError as error:
        text = "There are subscribed e-mail types, and no page to unsubscribe."
        return [Error(text, hint=str(error), id="emailqueue.E041")]
    return [*_check_unsubscribe_link(link)]


def _check_unsubscribe_link(link: str) -> Iterator[CheckMessage]:
    if not django_settings.DEBUG and not link.startswith("https:"):
        hint = "Write https:// in EMAIL_QUEUE['SITE_URL']: one click needs HTTPS, and follows no redirect (RFC 8058)."
        yield Warning(f"Links to unsubscribe begin with {link!r}, which is not HTTPS.", hint=hint, id="emailqueue.W042")
    elif django_settings.PREPEND_WWW and not link.startswith(("https://www.", "http://www.")):
        hint = "Write www. in EMAIL_QUEUE['SITE_URL']: mail programs follow no redirect (RFC 8058)."
        text = f"Links to unsubscribe begin with {link!r}, which PREPEND_WWW redirects."
        yield Warning(text, hint=hint, id="emailqueue.W042")
    if not get_settings().site_url:
        hint = "Set EMAIL_QUEUE['SITE_URL'] to the address of this Django site, also where it is that of FRONTEND_URL."
        yield Warning(f"Links to unsubscribe lead to FRONTEND_URL, {link!r}.", hint=hint, id="emailqueue.W043")


def frontend_url(settings: Settings, *, debug: bool) -> Iterator[CheckMessage]:
    """Examine the address that links in mails begin with."""
    url = settings.frontend_url
    text = f"Links in mails begin with {url}"
    if debug:
        yield Info(f"{text}.", id="frontend-url.debug")
    elif _is_local(urlsplit(url).hostname or ""):
        hint = "Set EMAIL_QUEUE['FRONTEND_URL'] to the public address of the site."
        yield Error(f"{text}, which only this machine or network can open.", hint=hint, id="frontend-url.local")
    elif url.startswith("http://"):
        hint = "Write https:// in EMAIL_QUEUE['FRONTEND_URL']."
        yield Warning(f"{text}, without TLS.", hint=hint, id="frontend-url.without-tls")
    else:
        yield Info(f"{text}.", id="frontend-url.public")


def _is_local(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".local", ".internal"))
