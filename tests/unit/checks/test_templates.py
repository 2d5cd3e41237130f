"""What the doctor says of templates."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import ERROR, INFO, WARNING

from emailqueue import EmailType
from emailqueue.checks import templates
from emailqueue.email_types import email_types
from tests.support.doctor import OFF

pytestmark = pytest.mark.usefixtures("only_built_in_types")


def test_every_built_in_type_renders_with_its_sample() -> None:
    [finding] = templates.templates(email_types(), OFF)

    assert finding.level is INFO
    assert finding.msg.startswith(f"{len(email_types())} of {len(email_types())} e-mail types render")


@pytest.mark.parametrize(
    ("changes", "level", "text"),
    [
        ({}, WARNING, "no sample context"),
        ({"template": "gone.html"}, ERROR, "TemplateDoesNotExist"),
        ({"sample": {"model_name": "Aurora"}}, ERROR, "MissingContext"),
        ({"sample": {"model_name": "Aurora", "model_id": 7}, "template": "admin/base.html"}, ERROR, "render"),
    ],
)
def test_a_type_that_does_not_render_is_told(changes: dict[str, Any], level: int, text: str) -> None:
    vote = email_types()["vote-confirmation"]
    parts = {"template": vote.template, "needed": vote.needed, "optional": vote.optional, "defaults": vote.defaults}
    odd = EmailType(name="odd", **{**parts, **changes})

    [finding] = templates.templates({"odd": odd}, OFF)

    assert (finding.level, finding.msg.startswith("'odd' ")) == (level, True)
    assert text in finding.msg
