"""Who may read the figures without being staff."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from emailqueue.conf import get_settings


def has_token(request: HttpRequest) -> bool:
    """Return whether the request brings the token of EMAIL_QUEUE["STATS_TOKEN"]."""
    token = get_settings().stats_token
    scheme, _space, sent = request.headers.get("Authorization", "").partition(" ")
    return bool(token) and scheme.lower() == "bearer" and constant_time_compare(sent.strip(), token)
