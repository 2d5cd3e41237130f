"""What mail services tell of an address, and which of it holds mails back."""

from __future__ import annotations

from typing import Any

import pytest
from anymail.signals import AnymailTrackingEvent, tracking
from anymail.webhooks.brevo import BrevoTrackingWebhookView
from anymail.webhooks.mailersend import MailerSendTrackingWebhookView
from anymail.webhooks.mailgun import MailgunTrackingWebhookView
from anymail.webhooks.mailjet import MailjetTrackingWebhookView
from anymail.webhooks.mandrill import MandrillCombinedWebhookView
from anymail.webhooks.postmark import PostmarkTrackingWebhookView
from anymail.webhooks.sendgrid import SendGridTrackingWebhookView
from anymail.webhooks.sparkpost import SparkPostTrackingWebhookView
from anymail.webhooks.unisender_go import UnisenderGoTrackingWebhookView
from pytest_django import Settings

from emailqueue.models import Subscription
from emailqueue.subscriptions import tracking as listening
from tests.support.subscriptions import ADA, KEY, subscribe

State = Subscription.State
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("newsletter")]
POSTMARK = {"RecordType": "Bounce", "Email": ADA, "MessageID": "1", "BouncedAt": "2026-11-24T12:00:00Z"}


@pytest.mark.parametrize(
    ("view", "told", "state"),
    [
        (PostmarkTrackingWebhookView, {**POSTMARK, "Type": "HardBounce"}, State.BOUNCED),
        (PostmarkTrackingWebhookView, {**POSTMARK, "Type": "BadEmailAddress"}, State.BOUNCED),
        (PostmarkTrackingWebhookView, {**POSTMARK, "Type": "SoftBounce"}, State.ACTIVE),
        (PostmarkTrackingWebhookView, {**POSTMARK, "Type": "Blocked"}, State.ACTIVE),
        (BrevoTrackingWebhookView, {"event": "hard_bounce", "email": ADA}, State.BOUNCED),
        (BrevoTrackingWebhookView, {"event": "soft_bounce", "email": ADA}, State.ACTIVE),
        (BrevoTrackingWebhookView, {"event": "complaint", "email": ADA}, State.COMPLAINED),
        (MailjetTrackingWebhookView, {"event": "bounce", "email": ADA, "hard_bounce": True}, State.BOUNCED),
        (MailjetTrackingWebhookView, {"event": "bounce", "email": ADA, "hard_bounce": False}, State.ACTIVE),
        (SendGridTrackingWebhookView, {"event": "bounce", "type": "bounce", "email": ADA}, State.BOUNCED),
        (SendGridTrackingWebhookView, {"event": "bounce", "type": "blocked", "email": ADA}, State.ACTIVE),
        (SendGridTrackingWebhookView, {"event": "bounce", "reason": "452 4.2.2 full", "email": ADA}, State.ACTIVE),
        (SendGridTrackingWebhookView, {"event": "bounce", "reason": "550 5.1.1 gone", "email": ADA}, State.BOUNCED),
        (SendGridTrackingWebhookView, {"event": "dropped", "reason": "Bounced Address", "email": ADA}, State.BOUNCED),
        (SendGridTrackingWebhookView, {"event": "dropped", "reason": "Invalid", "email": ADA}, State.BOUNCED),
        (
            SendGridTrackingWebhookView,
            {"event": "dropped", "reason": "Unsubscribed Address", "email": ADA},
            State.UNSUBSCRIBED,
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:django-anymail has dropped official support for SendGrid")
def test_what_mail_services_call_a_bounce_counts_when_it_is_one_for_good(
    view: Any, told: dict[str, Any], state: State
) -> None:
    event = view(webhook_secret="a:b").esp_to_anymail_event(told)

    listening.suppress(event, view.esp_name)

    assert subscribe().state == state


def mailgun(reason: str) -> dict[str, Any]:
    answer = {"delivery-status": {"code": 550, "message": "550 5.7.1 refused"}}
    told = {"event": "failed", "severity": "permanent", "reason": reason, "recipient": ADA, "timestamp": 1.0, **answer}
    return {"event-data": told}


def unisender(word: str) -> dict[str, Any]:
    told = {"status": "hard_bounced", "email": ADA, "event_time": "2026-11-24 12:00:00"}
    return {**told, "delivery_info": {"delivery_status": word}}


def suppressed(reason: str) -> dict[str, Any]:
    return {"RecordType": "SubscriptionChange", "Recipient": ADA, "SuppressSending": True, "SuppressionReason": reason}


def mailersend(word: str) -> dict[str, Any]:
    return {"type": f"activity.{word}", "data": {"type": word, "email": {"recipient": {"email": ADA}}}}


@pytest.mark.parametrize(
    ("view", "told", "state"),
    [
        (MailerSendTrackingWebhookView, mailersend("hard_bounced"), State.BOUNCED),
        (MailerSendTrackingWebhookView, mailersend("soft_bounced"), State.ACTIVE),
        (MailgunTrackingWebhookView, mailgun("bounce"), State.BOUNCED),
        (MailgunTrackingWebhookView, mailgun("suppress-bounce"), State.BOUNCED),
        (MailgunTrackingWebhookView, mailgun("espblock"), State.ACTIVE),
        (MailgunTrackingWebhookView, mailgun("old"), State.ACTIVE),
        (MailjetTrackingWebhookView, {"event": "blocked", "email": ADA, "error": "user unknown"}, State.BOUNCED),
        (MailjetTrackingWebhookView, {"event": "blocked", "email": ADA, "error": "quota exceeded"}, State.ACTIVE),
        (MailjetTrackingWebhookView, {"event": "blocked", "email": ADA, "error": "spam reporter"}, State.COMPLAINED),
        (MandrillCombinedWebhookView, {"event": "hard_bounce", "msg": {"email": ADA}}, State.BOUNCED),
        (MandrillCombinedWebhookView, {"event": "soft_bounce", "msg": {"email": ADA}}, State.ACTIVE),
        (PostmarkTrackingWebhookView, suppressed("HardBounce"), State.BOUNCED),
        (PostmarkTrackingWebhookView, suppressed("SpamComplaint"), State.COMPLAINED),
        (PostmarkTrackingWebhookView, suppressed("ManualSuppression"), State.UNSUBSCRIBED),
        (UnisenderGoTrackingWebhookView, unisender("err_user_unknown"), State.BOUNCED),
        (UnisenderGoTrackingWebhookView, unisender("err_mailbox_full"), State.ACTIVE),
        (UnisenderGoTrackingWebhookView, unisender("err_spam_rejected"), State.ACTIVE),
        (UnisenderGoTrackingWebhookView, unisender("err_unsubscribed"), State.UNSUBSCRIBED),
    ],
)
def test_each_service_says_in_its_own_words_that_a_bounce_is_for_good(
    settings: Settings, view: Any, told: dict[str, Any], state: State
) -> None:
    keys = ("MAILERSEND_SIGNING_SECRET", "MAILGUN_WEBHOOK_SIGNING_KEY", "UNISENDER_GO_API_KEY")
    settings.ANYMAIL = dict.fromkeys(keys, "secret")
    event = view(webhook_secret="a:b").esp_to_anymail_event(told)

    listening.suppress(event, view.esp_name)

    assert subscribe().state == state


@pytest.mark.parametrize(
    ("word", "bounce_class", "state"),
    [
        ("bounce", "10", State.BOUNCED),
        ("bounce", "30", State.BOUNCED),
        ("out_of_band", "10", State.BOUNCED),
        *[("bounce", soft, State.ACTIVE) for soft in ("20", "21", "22", "23", "40", "51", "70")],
        ("policy_rejection", "10", State.BOUNCED),
        ("policy_rejection", "22", State.ACTIVE),
        ("policy_rejection", "51", State.ACTIVE),
        ("bounce", "90", State.UNSUBSCRIBED),
    ],
)
def test_sparkpost_tells_by_a_number_what_kind_of_bounce_it_is(word: str, bounce_class: str, state: State) -> None:
    view = SparkPostTrackingWebhookView(webhook_secret="a:b")
    raw = {"msys": {"message_event": {"type": word, "bounce_class": bounce_class, "raw_rcpt_to": ADA}}}

    listening.suppress(view.esp_to_anymail_event(*view.unwrap_event(raw)), view.esp_name)

    assert subscribe().state == state


@pytest.mark.parametrize(
    ("service", "told", "state"),
    [
        ("Amazon SES", {"bounce": {"bounceType": "Permanent"}}, State.BOUNCED),
        ("Amazon SES", {"bounce": {"bounceType": "Transient"}}, State.ACTIVE),
        ("Resend", {"data": {"bounce": {"type": "Permanent"}}}, State.BOUNCED),
        ("Resend", {"data": {"bounce": {"type": "Transient"}}}, State.ACTIVE),
        ("A new one", None, State.ACTIVE),
    ],
)
def test_services_whose_parsers_want_more_packages_say_it_too(service: str, told: Any, state: State) -> None:
    event = AnymailTrackingEvent(event_type="bounced", recipient=ADA, reject_reason="bounced", esp_event=told)

    listening.suppress(event, service)

    assert subscribe().state == state


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ("550 5.1.1 no such user", State.BOUNCED),
        ("smtp; 550-5.1.1 no such user", State.BOUNCED),
        ("5.4.4 no such domain.", State.BOUNCED),
        ("550 no such user", State.BOUNCED),
        ("host mx.example[5.1.1.9] said: 550 no such user (in reply to RCPT TO command)", State.BOUNCED),
        ("452 4.2.2 over quota of 512 MB", State.ACTIVE),
        ("452 over quota of 512 MB", State.ACTIVE),
        ("451 5.1.1.9 is greylisted for 300 s, 550 after that", State.ACTIVE),
        ("552 5.2.2 mailbox full", State.ACTIVE),
        ("552 5.3.4 message too big", State.ACTIVE),
        ("550 5.7.1 your address is on a list", State.ACTIVE),
        ("", State.ACTIVE),
    ],
)
def test_of_other_services_the_answer_of_the_mail_server_decides(answer: str, state: State) -> None:
    event = AnymailTrackingEvent(event_type="bounced", recipient=ADA, reject_reason="bounced", mta_response=answer)

    listening.suppress(event, "A new one")

    assert subscribe().state == state


@pytest.mark.parametrize(
    ("event_type", "state"),
    [
        ("bounced", State.BOUNCED),
        ("complained", State.COMPLAINED),
        ("unsubscribed", State.UNSUBSCRIBED),
        ("deferred", State.ACTIVE),
        ("delivered", State.ACTIVE),
        ("opened", State.ACTIVE),
    ],
)
def test_what_a_mail_service_tells_holds_all_subscribed_types_back(
    settings: Settings, event_type: str, state: State
) -> None:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "anymail"]
    listening.connect()
    event = AnymailTrackingEvent(
        event_type=event_type, recipient=ADA, reject_reason="bounced", mta_response="550 5.1.1 unknown"
    )

    tracking.send(sender=None, event=event, esp_name="Postmark")
    tracking.disconnect(dispatch_uid="emailqueue.subscriptions")

    subscription = subscribe()
    assert (subscription.state, subscription.address) == (state, KEY)
    assert (subscription.detail == "Postmark · bounced · 550 5.1.1 unknown") == (state != State.ACTIVE)


def test_without_anymail_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    listening.connect()

    assert not tracking.has_listeners()
