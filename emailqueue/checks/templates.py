"""Whether each registered e-mail type can be rendered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.template.loader import get_template

from emailqueue.checks.finding import Finding, error, ok, warning
from emailqueue.conf import Settings
from emailqueue.email_types import EmailType
from emailqueue.mail.rendering import render

NOBODY = "nobody@example.com"


def templates(types: Mapping[str, EmailType], settings: Settings) -> Iterator[Finding]:
    """Render every type with its sample context; where there is none, load the template."""
    findings = [_examine(email_type, settings) for email_type in types.values()]
    wrong = [finding for finding in findings if finding is not None]
    yield from wrong
    if sound := len(findings) - len(wrong):
        yield ok("templates", "render", f"{sound} of {len(findings)} e-mail types render with their sample context.")


def _examine(email_type: EmailType, settings: Settings) -> Finding | None:
    name = email_type.name
    try:
        if email_type.sample is None:
            get_template(email_type.template)
            return warning(
                "templates",
                "no-sample",
                f"{name!r} has no sample context, so its template was loaded and not rendered.",
                f"Give it one: EmailType(name={name!r}, …, sample={{…}}).",
            )
        context = email_type.complete(email_type.sample, frontend_url=settings.frontend_url)
        render(email_type, NOBODY, context, message_id="<doctor@emailqueue>")
    except Exception as failure:  # noqa: BLE001  templates raise anything
        return error(
            "templates",
            "broken",
            f"{name!r} does not render: {type(failure).__name__}: {failure}",
            f"Mend the template {email_type.template!r}, or the sample of the type; its mails become dead letters.",
        )
    return None
