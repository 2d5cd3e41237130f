"""How a mail's HTML is shown: in a frame that runs nothing, asks nobody and submits nothing."""

from __future__ import annotations

import re

from django.http import HttpResponse

POLICY = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src 'none'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
"""Content-Security-Policy. Pictures of the mail that lie elsewhere stay empty: fetching one tells that it was read."""

TAGS = "base|embed|fencedframe|frame|frameset|iframe|link|meta|object|portal|script"
IDLE = re.compile(rf"<(/?)({TAGS})\b", re.IGNORECASE)
"""Tags that the policy takes the effect from. Browsers may still connect to where they point, in advance."""


def sealed(html: str) -> HttpResponse:
    """Return the page for a frame. Also opened by itself, it is as harmless: the policy has a sandbox of its own."""
    return HttpResponse(
        IDLE.sub(r"<\1x-\2", html),
        headers={
            "Content-Security-Policy": POLICY,
            "X-Frame-Options": "SAMEORIGIN",
            "X-Content-Type-Options": "nosniff",
            "X-DNS-Prefetch-Control": "off",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        },
    )
