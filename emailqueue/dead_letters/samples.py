"""E-mail types as they look with their samples."""

from __future__ import annotations

from emailqueue.conf import get_settings
from emailqueue.dead_letters.preview import Rendition, rendition
from emailqueue.email_types import EmailType
from emailqueue.errors import MissingSample

RECIPIENT = "ada@example.com"


def render_sample(email_type: EmailType, *, language: str | None = None) -> Rendition:
    """
    Render the mail of a type with its sample, in its own language unless one is given.

    Raises MissingSample, InvalidContext for a sample that does not fit, and whatever the template raises.
    """
    if email_type.sample is None:
        raise MissingSample(f"The e-mail type {email_type.name!r} has no sample. Give EmailType(sample=...) a context.")
    context = email_type.complete(email_type.sample, frontend_url=get_settings().frontend_url)
    return rendition(email_type, RECIPIENT, context, language=language)
