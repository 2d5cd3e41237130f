"""Templates with three parts, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from django.core.mail import EmailMultiAlternatives

PARTS = """
{% block subject %}Hello {{ name }}{% endblock %}
{% block text_body %}Dear {{ name }}{% endblock %}
{% block html_body %}<p>Dear {{ name }}</p>{% endblock %}
"""
NOON = datetime(2031, 5, 4, 12, 0, 0, tzinfo=UTC)
Render = Callable[..., EmailMultiAlternatives]


def html_of(message: EmailMultiAlternatives) -> str:
    [(html, _)] = message.alternatives
    return str(html)
