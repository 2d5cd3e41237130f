"""How a mail's HTML is shown: in a frame that runs nothing, loads nothing and submits nothing."""

import re

from django.http import HttpResponse

POLICY = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src 'none'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
"""Content-Security-Policy. Remote pictures stay empty: to fetch one would show the sender that the mail was read."""

TAGS = "base|embed|fencedframe|frame|frameset|iframe|link|meta|object|portal|script"
CONNECTING = re.compile(rf"<(/?)({TAGS})\b", re.IGNORECASE)
"""Tags that the policy makes useless. Browsers may still connect in advance to where they point."""


def sandboxed(html: str) -> HttpResponse:
    """Return the page for a frame. It is as harmless when opened by itself: the policy has a sandbox of its own."""
    return HttpResponse(
        CONNECTING.sub(r"<\1x-\2", html),
        headers={
            "Content-Security-Policy": POLICY,
            "X-Frame-Options": "SAMEORIGIN",
            "X-Content-Type-Options": "nosniff",
            "X-DNS-Prefetch-Control": "off",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        },
    )
