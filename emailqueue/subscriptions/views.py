"""The page behind List-Unsubscribe, for mail programs (RFC 8058) and for people."""

import re
from urllib.parse import urlsplit

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from emailqueue.conf import get_settings
from emailqueue.models import Subscription


@never_cache
@csrf_exempt  # the token is the right to do it, and a mail program has no cookie
@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """
    End the subscription when posted to; show a page that asks for it otherwise.

    A GET changes nothing, since scanners and previews follow links. A POST may come any number of times.
    """
    subscription = Subscription.objects.by_token(token)
    if subscription and request.method == "POST":
        subscription.become(Subscription.State.UNSUBSCRIBED)
    response = TemplateResponse(
        request,
        "emailqueue/unsubscribe.html",
        {"subscription": subscription, "site": _site(), "kind": _kind(subscription)},
        status=200 if subscription else 404,
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex"
    return response


def _site() -> str:
    """Return whose mails these are, as people know it."""
    return urlsplit(get_settings().site_url).hostname or ""


def _kind(subscription: Subscription | None) -> str:
    """Return the type in words."""
    name = subscription.email_type if subscription else ""
    return re.sub(r"[-_]+", " ", name) or gettext("all subscribed types")
