"""docs/checks.md, held against the checks in the source."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

from django.core.checks.registry import registry

from tests.support.tables import ROOT, code, page, table

PAGE = page("checks")
ROWS = {code(row[0])[0]: row for row in table(PAGE, "id", "says", "cause", "hint")}


def sources() -> dict[str, str]:
    """Return by id what the calls that make its messages say, as one text: in the call, or in `text` just before it."""
    texts: defaultdict[str, str] = defaultdict(str)
    for file in [*(ROOT / "emailqueue").rglob("*.py"), *(ROOT / "events").rglob("*.py")]:
        text = ""
        for node in _in_order(ast.parse(file.read_text())):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "text":
                text = ast.unparse(node.value)
            elif isinstance(node, ast.Call):
                before = text if node.args and ast.unparse(node.args[0]) == "text" else ""
                for keyword in node.keywords:
                    if keyword.arg == "id" and isinstance(keyword.value, ast.Constant):
                        texts[str(keyword.value.value)] += " ".join((before + ast.unparse(node)).split())
    return {name: text for name, text in texts.items() if re.fullmatch(r"\w+\.[EWI]\d{3}", name)}


def _in_order(tree: ast.AST) -> list[ast.AST]:
    return sorted(ast.walk(tree), key=lambda node: getattr(node, "lineno", 0))


def test_each_id_of_the_source_has_a_row_and_each_row_is_an_id() -> None:
    assert sources().keys() == ROWS.keys()


def test_each_row_says_what_the_check_says() -> None:
    told = {name: row[1] for name, row in ROWS.items()}
    # What these two say comes from elsewhere: the report, and ImproperlyConfigured.
    del told["emailqueue.I001"], told["emailqueue.E031"]

    said = sources()

    assert {name: words for name, words in told.items() if words not in said[name]} == {}


def test_every_error_and_warning_has_a_hint() -> None:
    assert [name for name, row in ROWS.items() if not row[3] and name != "emailqueue.I001"] == []


def test_no_check_of_ours_goes_without_an_id_on_the_page() -> None:
    ours = [check for check in registry.get_checks() if check.__module__.startswith(("emailqueue", "events"))]

    modules = {check.__module__ for check in ours}

    # A check elsewhere would be read above, too, but is to be known here.
    names = ("links", "redis", "rq_queues", "settings", "templates")
    assert modules == {f"emailqueue.checks.{name}" for name in names}
    assert len(ours) == 10
