"""How a template and a context become one message, ready to send."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parseaddr
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template import Context, Engine
from django.template.base import Node, NodeList
from django.template.loader_tags import BLOCK_CONTEXT_KEY, BlockContext, BlockNode, ExtendsNode
from django.utils import translation
from django.utils.html import escape
from django.utils.safestring import SafeString
from templated_mail.mail import BaseEmailMessage

from emailqueue.conf import get_settings
from emailqueue.email_types import EmailType
from emailqueue.errors import EmptyMessage
from emailqueue.mail.unfolded import unfold

PARTS = ("subject", "text_body", "html_body")
"""The blocks of a template that make up a message."""


def render(
    email_type: EmailType,
    to: str,
    context: Mapping[str, Any],
    *,
    message_id: str,
    language: str | None = None,
    unsubscribe_url: str = "",
    now: datetime | None = None,
) -> EmailMultiAlternatives:
    """
    Render one mail of `email_type` to the one recipient `to`.

    `message_id` is the header's value with its angle brackets; `language` is that of the call;
    `unsubscribe_url` ends the recipient's subscription; `now` is an aware datetime. Beside `context`
    the template sees frontend_url, brand, email_type (the name), recipient and unsubscribe_url. Raises
    EmptyMessage, InvalidContext for values that do not fit the type, and whatever Django raises for a template that
    is missing or wrong.
    """
    context = email_type.schema.decode(email_type.schema.given(context))
    # Whatever is active here: the worker's language, or that of the staff who look at a preview.
    with translation.override(language_of(email_type, to, context, called=language)):
        message = TemplatedEmail(
            template_name=email_type.template,
            context={"email_type": email_type.name, "recipient": to, "unsubscribe_url": unsubscribe_url, **context},
            to=[to],
            from_email=email_type.from_email or None,
            reply_to=list(email_type.reply_to),
            headers={
                "Message-ID": message_id,
                "Date": format_datetime(now or datetime.now(UTC)),
                "Auto-Submitted": "auto-generated",  # RFC 3834 section 5: nobody's holiday notice answers it
                **_unsubscribe_headers(unsubscribe_url),
            },
        )
        message.render()
        for attachment in email_type.attachments(context) if email_type.attachments else ():
            message.attach(*attachment)
    return message


def language_of(email_type: EmailType, to: str, context: Mapping[str, Any], *, called: str | None) -> str:
    """Return the language of a mail: that of the call, of its type's function, or LANGUAGE_CODE."""
    language = called or (email_type.language(to, context) if email_type.language else None)
    try:
        return translation.get_supported_language_variant(language or "")
    except LookupError:  # also one that the project has given up since
        return settings.LANGUAGE_CODE


def message_id(job_id: str) -> str:
    """Return the Message-ID of a job: always the same, so that receivers recognize a mail that was sent twice."""
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    return f"<{job_id}@{domain}>"


def _unsubscribe_headers(url: str) -> dict[str, str]:
    one_click = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"} if url.startswith("https:") else {}
    return {"List-Unsubscribe": f"<{url}>", **one_click} if url else {}  # RFC 8058, section 3.1


class TemplatedEmail(BaseEmailMessage):  # type: ignore[misc]  # django-templated-mail ships no types
    """
    A message of django-templated-mail whose blocks are found as Django finds them.

    They may stand in a parent, in an override or inside another tag. Subject and text are not
    HTML-escaped. Rendering again replaces what was rendered, and sending renders nothing.
    """

    template_name: str
    context: Mapping[str, Any]

    # The base's send() takes the recipient, renders and then drops cc and from_email.
    send = EmailMultiAlternatives.send

    def message(self, *args: Any, **kwargs: Any) -> Any:
        """Return the MIME message, with the link to unsubscribe in one piece."""
        message = super().message(*args, **kwargs)
        unfold(message, "List-Unsubscribe")
        return message

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Return what the template sees: no request, no site and no guessed protocol."""
        frontend_url = get_settings().frontend_url
        brand = parseaddr(self.from_email)[0] or urlsplit(frontend_url).netloc
        return {"frontend_url": frontend_url, "brand": brand, **self.context, **kwargs}

    def render(self) -> None:
        """Fill subject, text and HTML. Raises EmptyMessage when one of them is empty."""
        parts = _render_parts(self.template_name, self.get_context_data())
        self.subject = " ".join(parts["subject"].split())
        self.body = parts["text_body"]
        self.html = parts["html_body"]
        self.alternatives.clear()
        self.attach_alternative(self.html, "text/html")


def _render_parts(template_name: str, values: dict[str, Any]) -> dict[str, str]:
    template = Engine.get_default().get_template(template_name)
    blocks = _RecordingBlocks()
    # The extends tag adds the blocks of a template that has a parent; twice would break block.super.
    if not template.nodelist.get_nodes_by_type(ExtendsNode):
        nodes = template.nodelist.get_nodes_by_type(BlockNode)
        blocks.add_blocks({node.name: node for node in nodes if isinstance(node, BlockNode)})
    context = Context(values)
    with context.render_context.push_state(template), context.bind_template(template):
        context.render_context[BLOCK_CONTEXT_KEY] = blocks
        template.nodelist.render(context)
    for part in PARTS:
        if not blocks.rendered.get(part):
            raise EmptyMessage(
                f"The template {template_name!r} renders nothing in its block {part!r}. "
                f"Give it {{% block {part} %}}…{{% endblock %}} with content for every context."
            )
    return blocks.rendered


class _RecordingBlocks(BlockContext):
    """Django's record of which block overrides which, for one rendering; keeps what the parts rendered."""

    def __init__(self) -> None:
        super().__init__()
        self.rendered: dict[str, str] = {}

    def add_blocks(self, blocks: Mapping[str, BlockNode]) -> None:
        # Templates are cached and shared by threads, so their nodes are wrapped, never changed.
        parts = {name: _RecordingNodes(blocks[name].nodelist, name, self.rendered) for name in PARTS if name in blocks}
        super().add_blocks({**blocks, **{name: BlockNode(name, nodes) for name, nodes in parts.items()}})


class _RecordingNodes(NodeList):
    """The content of a part: rendered as plain text unless it is the HTML, and kept."""

    def __init__(self, nodes: Iterable[Node], part: str, rendered: dict[str, str]) -> None:
        super().__init__(nodes)
        self.part, self.rendered = part, rendered

    def render(self, context: Context) -> SafeString:
        autoescape = context.autoescape
        context.autoescape = self.part == "html_body"
        try:
            content = super().render(context)
        finally:
            context.autoescape = autoescape
        # Last one wins: with block.super the parent's block renders inside and before its child's.
        self.rendered[self.part] = content.strip()
        # A subject that stands inside the HTML, as its title, is plain in the header and escaped there.
        return escape(content) if autoescape and self.part != "html_body" else content
