"""Whether the template of each registered e-mail type is there, and can be rendered."""

from collections.abc import Mapping
from typing import Any

from django.core.checks import CheckMessage, Error, Info, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.template import Engine, TemplateDoesNotExist, TemplateSyntaxError
from django.template.loader import get_template

from emailqueue.conf import Settings
from emailqueue.email_types import EmailType, email_types
from emailqueue.mail.rendering import render


# Without the tag "emailqueue", by which the doctor runs the others: it renders the templates.
@register("templates")
def check_templates(**kwargs: Any) -> list[CheckMessage]:
    """Find the template of each registered e-mail type, without rendering it."""
    hint = 'Write it into a folder "templates" of an app, or into one of DIRS in TEMPLATES, under that name.'
    return [
        Error(
            f"The template {email_type.template!r} of the e-mail type {email_type.name!r} does not exist.",
            hint=hint,
            id="emailqueue.E019",
        )
        for email_type in email_types().values()
        if not _exists(email_type.template)
    ]


def templates(types: Mapping[str, EmailType], settings: Settings) -> list[CheckMessage]:
    """Render every type with its sample context; where there is none, load the template."""
    problems = [problem for email_type in types.values() if (problem := _problem(email_type, settings))]
    text = f"{len(types) - len(problems)} of {len(types)} e-mail types render with their sample context."
    sound = [Info(text, id="templates.render")] if len(problems) < len(types) else []
    return [*problems, *sound]


def _exists(template: str) -> bool:
    try:
        Engine.get_default().get_template(template)
    except (TemplateDoesNotExist, ImproperlyConfigured):
        return False
    except TemplateSyntaxError:  # the doctor's concern
        pass
    return True


def _problem(email_type: EmailType, settings: Settings) -> CheckMessage | None:
    name = email_type.name
    try:
        if email_type.sample is None:
            get_template(email_type.template)
            text = f"{name!r} has no sample context, so its template was loaded and not rendered."
            hint = f"Give it one: EmailType(name={name!r}, …, sample={{…}})."
            return Warning(text, hint=hint, id="templates.no-sample")
        context = email_type.complete(email_type.sample, frontend_url=settings.frontend_url)
        render(email_type, "nobody@example.com", context, message_id="<doctor@emailqueue>")
    except Exception as failure:  # noqa: BLE001  templates raise anything
        text = f"{name!r} does not render: {type(failure).__name__}: {failure}"
        hint = f"Correct the template {email_type.template!r}, or the type's sample; its mails become dead letters."
        return Error(text, hint=hint, id="templates.broken")
    return None
