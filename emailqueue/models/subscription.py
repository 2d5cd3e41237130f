"""The table of who gets mails of subscribed types, and who does not any more and why."""

from __future__ import annotations

import uuid
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from django.core.signing import BadSignature, Signer
from django.db import models, router
from django.db.models import F
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.encoding import iri_to_uri, punycode
from django.utils.translation import gettext_lazy as _

from emailqueue.conf import get_settings
from emailqueue.errors import NoUnsubscribePage
from emailqueue.schema.address import ascii_domain

ALL_TYPES = ""


class SubscriptionQuerySet(models.QuerySet["Subscription"]):
    """Subscriptions."""

    def written(self) -> Self:
        """Read where rows are written: a replica may not know yet who has just left."""
        return self.using(router.db_for_write(Subscription))

    def of(self, address: str, email_type: str) -> Subscription:
        """Return the subscription of an address to a type, or the one that holds all types back from it."""
        key = address_key(address)
        known = self.written().filter(address=key, email_type__in=(ALL_TYPES, email_type))
        rows = {row.email_type: row for row in known}
        everything, one = rows.get(ALL_TYPES), rows.get(email_type)
        if everything and everything.is_suppressed:
            return everything
        return one or self.get_or_create(address=key, email_type=email_type)[0]

    def by_token(self, token: str) -> Subscription | None:
        """Return the subscription that a link leads to; None for a token that we have not signed."""
        try:
            return self.written().filter(pk=_signer().unsign(token)).first()
        except BadSignature:
            return None

    def suppress(
        self, address: str, state: Subscription.State, *, email_type: str = ALL_TYPES, detail: str = ""
    ) -> None:
        """Send no more mails of the type, or of all subscribed types, to an address."""
        row, _created = self.get_or_create(address=address_key(address), email_type=email_type)
        row.become(state, detail=detail)


class Subscription(models.Model):
    """What one address gets of one subscribed e-mail type. Mails of other types go out whatever stands here."""

    class State(models.TextChoices):
        """
        Whether mails go out, and if not, why.

        In the order of their weight: what a person asked for is not forgotten for what a mail server said.
        """

        ACTIVE = "active", _("gets mails")
        BOUNCED = "bounced", _("mails bounced for good")
        BLOCKED = "blocked", _("blocked by staff")
        UNSUBSCRIBED = "unsubscribed", _("has unsubscribed")
        COMPLAINED = "complained", _("complained about mails")

    # A random number, since links hold it: nothing about the address can be read from it.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    address = models.CharField(_("address"), max_length=320)
    """As address_key() writes it."""
    email_type = models.CharField(_("e-mail type"), max_length=200, blank=True)
    """Empty: all subscribed types."""
    state = models.CharField(_("state"), max_length=20, choices=State.choices, default=State.ACTIVE)
    detail = models.TextField(_("detail"), blank=True)
    """What a mail service said."""
    changed_at = models.DateTimeField(_("changed at"), default=timezone.now)
    skipped = models.IntegerField(_("skipped mails"), default=0)
    """Mails that did not go out because of this."""
    skipped_at = models.DateTimeField(_("last skipped at"), null=True)

    objects = SubscriptionQuerySet.as_manager()

    class Meta:
        verbose_name = _("subscription")
        verbose_name_plural = _("subscriptions")
        default_permissions = ("add", "change", "view")
        constraints = (models.UniqueConstraint(fields=["address", "email_type"], name="emailqueue_subscription_once"),)
        indexes = (models.Index(fields=["state", "-changed_at"], name="emailqueue_subscription_state"),)

    def __str__(self) -> str:
        return f"{self.address}: {self.email_type or _('all subscribed types')}"

    @property
    def is_suppressed(self) -> bool:
        """Whether no mail goes out."""
        return self.state != self.State.ACTIVE

    def become(self, state: State, *, detail: str = "") -> bool:
        """
        Change to another state, and return whether that changed anything.

        A reason is replaced by one that weighs more, so that what is done twice changes nothing; what was said of the
        earlier one stays.
        """
        states, active = list(self.State), state == self.State.ACTIVE
        others = states[1:] if active else states[: states.index(state)]
        details = "\n".join(filter(None, ["" if active else self.detail, detail]))
        changes: dict[str, Any] = {"state": state, "detail": details, "changed_at": timezone.now()}
        rows = Subscription.objects.written()
        changed = rows.filter(pk=self.pk, state__in=others).update(**changes)
        self.refresh_from_db(using=rows.db)
        return bool(changed)

    def count_skipped(self) -> None:
        """Count a mail that did not go out."""
        Subscription.objects.filter(pk=self.pk).update(skipped=F("skipped") + 1, skipped_at=timezone.now())

    def url(self) -> str:
        """
        Return the address that ends the subscription (RFC 8058). Raises NoUnsubscribePage without emailqueue.urls.

        Without a slash at its end, since mail programs follow no redirect.
        """
        return unsubscribe_url(_signer().sign(self.pk.hex))


def unsubscribe_url(token: str) -> str:
    """Return the address of a token, in ASCII, as headers want it. Raises NoUnsubscribePage."""
    settings = get_settings()
    try:
        path = reverse("emailqueue:unsubscribe", args=[token])
    except (NoReverseMatch, AttributeError) as error:  # the latter without ROOT_URLCONF
        raise NoUnsubscribePage(
            "Mails of subscribed types need the page to unsubscribe. Write path('email/', "
            "include('emailqueue.urls')) into the URLconf."
        ) from error
    site = urlsplit(settings.site_url or settings.frontend_url)
    return iri_to_uri(urlunsplit(site._replace(netloc=_ascii_host(site.netloc), path=site.path + path)))


def _ascii_host(netloc: str) -> str:
    """Return host and port in ASCII. The port stays out of it, else it would be a part of the last label."""
    host, colon, port = netloc.partition(":")
    return netloc if netloc.isascii() else f"{punycode(host)}{colon}{port}"


def address_key(address: str) -> str:
    """Return an address as it is compared: in lower case, its domain in ASCII."""
    local, _at, domain = address.rpartition("@")
    return f"{local.lower()}@{ascii_domain(address) or domain.lower()}"


def _signer() -> Signer:
    return Signer(salt="emailqueue.subscriptions", sep=".")
