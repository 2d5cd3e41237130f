"""The three blocks of a template: inheritance, escaping, empty parts."""

from __future__ import annotations

from typing import Any

import pytest
from django.template import TemplateDoesNotExist

from emailqueue.errors import EmptyMessage
from tests.support.rendering import PARTS, Render, html_of


def test_the_three_blocks_become_subject_text_and_html(write: Any, rendered: Render) -> None:
    write(letter=PARTS)

    message = rendered(name="Ada")

    assert message.subject == "Hello Ada"
    assert message.body == "Dear Ada"
    assert html_of(message) == "<p>Dear Ada</p>"


def test_blocks_of_a_parent_and_of_its_parent_are_found(write: Any, rendered: Render) -> None:
    write(
        root=PARTS,
        middle='{% extends "root.html" %}{% block text_body %}Middle says: {{ block.super }}{% endblock %}',
        letter='{% extends "middle.html" %}{% block text_body %}Letter says: {{ block.super }}{% endblock %}',
    )

    message = rendered(name="Ada & Co")

    assert message.subject == "Hello Ada & Co"
    assert message.body == "Letter says: Middle says: Dear Ada & Co"
    assert html_of(message) == "<p>Dear Ada &amp; Co</p>"


def test_a_block_inside_a_part_is_overridden_like_everywhere(write: Any, rendered: Render) -> None:
    write(
        root=PARTS.replace("<p>Dear", "<p>{% block greeting %}Dear{% endblock %}"),
        letter='{% extends "root.html" %}{% block greeting %}Good morning{% endblock %}',
    )

    message = rendered(name="Ada")

    assert html_of(message) == "<p>Good morning Ada</p>"


def test_the_parent_may_be_named_by_the_context(write: Any, rendered: Render) -> None:
    write(root=PARTS, letter="{% extends layout %}{% block subject %}Mine{% endblock %}")

    message = rendered(name="Ada", layout="root.html")

    assert (message.subject, message.body) == ("Mine", "Dear Ada")


def test_blocks_inside_another_tag_are_found_and_the_tag_works(write: Any, rendered: Render) -> None:
    write(letter='{% load l10n %}{% localize on %}{% with name="Grace" %}' + PARTS + "{% endwith %}{% endlocalize %}")

    message = rendered(name="Ada")

    assert message.subject == "Hello Grace"
    assert message.body == "Dear Grace"
    assert html_of(message) == "<p>Dear Grace</p>"


def test_a_block_in_a_branch_that_is_not_taken_counts_as_empty(write: Any, rendered: Render) -> None:
    write(letter="{% if name %}" + PARTS + "{% endif %}")

    with pytest.raises(EmptyMessage, match="subject"):
        rendered(name="")


def test_context_is_escaped_in_the_html_and_nowhere_else(write: Any, rendered: Render) -> None:
    write(letter=PARTS)

    message = rendered(name="<b>Ada & Co's</b>")

    assert message.subject == "Hello <b>Ada & Co's</b>"
    assert message.body == "Dear <b>Ada & Co's</b>"
    assert html_of(message) == "<p>Dear &lt;b&gt;Ada &amp; Co&#x27;s&lt;/b&gt;</p>"


def test_a_subject_inside_the_html_is_plain_in_the_header_and_escaped_in_the_html(write: Any, rendered: Render) -> None:
    subject = "{% block subject %}{{ name }}{% endblock %}"
    html = f"{{% block html_body %}}<title>{subject}</title><p>{{{{ name }}}}</p>{{% endblock %}}"
    write(letter=html + "{% block text_body %}{{ name }}{% endblock %}")

    message = rendered(name="<b>")

    assert (message.subject, message.body) == ("<b>", "<b>")
    assert html_of(message) == "<title>&lt;b&gt;</title><p>&lt;b&gt;</p>"


def test_an_included_file_is_escaped_as_the_part_that_includes_it(write: Any, rendered: Render) -> None:
    include = '{% include "name.html" %}'
    write(letter=PARTS.replace("{{ name }}", include), name="{{ name }}")

    message = rendered(name="A&B")

    assert (message.subject, message.body) == ("Hello A&B", "Dear A&B")
    assert html_of(message) == "<p>Dear A&amp;B</p>"


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", "\u2028", "\n Bcc: mallory@example.com\n"])
def test_a_line_break_cannot_leave_the_subject(write: Any, rendered: Render, line_break: str) -> None:
    write(letter=PARTS)

    message = rendered(name=f"Ada{line_break}Lovelace")

    assert len(message.subject.splitlines()) == 1
    assert message.subject == " ".join(f"Hello Ada{line_break}Lovelace".split())
    assert message.message()["Bcc"] is None


@pytest.mark.parametrize("part", ["subject", "text_body", "html_body"])
def test_an_empty_part_is_refused_by_template_and_block(write: Any, rendered: Render, part: str) -> None:
    write(root=PARTS, letter=f'{{% extends "root.html" %}}{{% block {part} %}} \n {{% endblock %}}')

    with pytest.raises(EmptyMessage) as caught:
        rendered(name="Ada")

    assert "'letter.html'" in str(caught.value)
    assert repr(part) in str(caught.value)


def test_a_template_without_blocks_is_refused(write: Any, rendered: Render) -> None:
    write(letter="Hello!")

    with pytest.raises(EmptyMessage, match="subject"):
        rendered()


def test_a_template_that_is_missing_is_django_s_own_error(rendered: Render) -> None:
    with pytest.raises(TemplateDoesNotExist, match=r"letter\.html"):
        rendered()
