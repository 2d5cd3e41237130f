"""Write the mails of e-mail types, with their samples, as HTML and text files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.core.management.base import CommandError
from django.template import TemplateDoesNotExist

from emailqueue.dead_letters.preview import Preview, render_sample
from emailqueue.email_types import EmailType, email_types, get_email_type
from emailqueue.enqueue.call import valid_language
from emailqueue.errors import EmailQueueError

ARGUMENTS = {
    "types": {"nargs": "*", "metavar": "TYPE", "help": "left out: all types that have a sample"},
    "--language": {"help": "one of LANGUAGES; left out: that of the type"},
    "--output": {"type": Path, "default": Path("preview"), "metavar": "DIR", "help": "default: preview"},
}


def run(*, types: Sequence[str], language: str | None, output: Path, **options: Any) -> str:
    language = language and valid_language(language)
    with_sample = [email_type for email_type in email_types().values() if email_type.sample is not None]
    chosen = [get_email_type(name) for name in types] or with_sample
    if not chosen:
        return "No e-mail type has a sample. Give it one: EmailType(..., sample={...})."
    mails = {email_type.name: _rendered(email_type, language) for email_type in chosen}
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for name, mail in mails.items():
        base = f"{quote(name, safe='')}{f'.{language}' if language else ''}"
        for suffix, content in (("html", mail.html), ("txt", _as_text(mail))):
            path = output / f"{base}.{suffix}"
            path.write_text(content, encoding="utf-8")
            written.append(str(path))
    return "\n".join(written)


def _rendered(email_type: EmailType, language: str | None) -> Preview:
    try:
        return render_sample(email_type, language=language)
    except EmailQueueError:
        raise
    except Exception as error:  # templates raise anything
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        if isinstance(error, TemplateDoesNotExist):
            reason = f"the template {str(error)!r} does not exist"
        raise CommandError(f"The e-mail type {email_type.name!r} cannot be shown: {reason}.") from error


def _as_text(mail: Preview) -> str:
    head = {"From": mail.sender, "To": mail.to, "Reply-To": mail.reply_to, "Subject": mail.subject}
    lines = [f"{name}: {value}" for name, value in head.items() if value]
    lines += [f"Attachment: {attachment}" for attachment in mail.attachments]
    return "\n".join([*lines, "", mail.text, ""])
