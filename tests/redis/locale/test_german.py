"""What a reader gets whose browser, or whose mail, is German."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from redis import Redis

from emailqueue import EmailType, email_types, register
from emailqueue.models import Subscription
from emailqueue.testing import EmailQueue
from events import queue_reward_delivery
from tests.support.catalogues import CATALOGUES, compile_into, texts
from tests.support.letters import LIST, create

GERMAN = {"accept-language": "de-CH,de;q=0.9,en;q=0.5"}

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def german(settings: Settings, tmp_path: Path) -> None:
    """Read the catalogues as they are now: what an installation has compiled may be older."""
    settings.LOCALE_PATHS = compile_into(tmp_path)
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]


@pytest.fixture
def newsletter() -> Iterator[EmailType]:
    template = "events/referral-join.html"
    yield register(EmailType(name="newsletter", template=template, needed={"user_name": str}, subscribed=True))
    email_types._registry.pop("newsletter")


def english_in(page: str) -> list[str]:
    """Return the texts of ours that stand between two tags as the source has them."""
    entries = [entry for catalogue in CATALOGUES for entry in texts(catalogue).values()]
    # "message" is also the name of an e-mail type, that of Django's own mail.
    ours = [entry.msgid for entry in entries if entry.msgstr not in ("", entry.msgid) and entry.msgid != "message"]
    return [text for text in ours if f">{text}<" in html.unescape(page)]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (LIST, "Ausgewählte unzustellbare Mails erneut versuchen"),
        (reverse("admin:emailqueue_deadletter_change", args=["1".zfill(32)]), "Die Mail, wie sie jetzt gesendet würde"),
        (reverse("admin:emailqueue_stats"), "Versandlimit über alle Worker"),
        (reverse("admin:emailqueue_subscription_changelist"), "durch Mitarbeiter gesperrt"),
        (reverse("admin:emailqueue_eventtrail_changelist"), "Eines Ereignisses, einer Mail, zu der es geführt hat"),
    ],
)
def test_the_admin_speaks_the_language_of_the_browser(
    path: str, says: str, admin_client: Client, valkey: Redis
) -> None:
    create(1)

    german = admin_client.get(path, headers=GERMAN).content.decode()
    english = admin_client.get(path).content.decode()

    assert says in german
    assert english_in(german) == []
    assert says not in english
    assert english_in(english) != []


def test_the_page_to_unsubscribe_speaks_the_language_of_the_browser(newsletter: EmailType) -> None:
    link = Subscription.objects.of("ada@example.com", "newsletter").url()

    asked = Client().get(link, headers=GERMAN).content.decode()
    left = Client().post(link, {"List-Unsubscribe": "One-Click"}, headers=GERMAN).content.decode()

    assert '<html lang="de"' in asked
    assert "Abbestellen?" in asked
    assert "Sie haben abbestellt" in left
    assert english_in(asked) + english_in(left) == []


def test_a_mail_speaks_the_language_of_its_call(email_queue: EmailQueue) -> None:
    reward = {"reward_name": "Aurora", "claim_url": "https://front.example/rewards"}
    queue_reward_delivery("ada@example.com", reward, language="de")

    email_queue.drain()

    (message,) = mail.outbox
    assert message.subject == "Ihre Belohnung ist da: Aurora"
    assert "Sie wartet auf Sie. Das Einlösen dauert eine Minute:" in message.body
    assert english_in(str(message.alternatives[0][0])) == []  # type: ignore[attr-defined]  # outbox holds EmailMultiAlternatives
