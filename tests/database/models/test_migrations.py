"""What the migrations are made of."""

from __future__ import annotations

import ast

from tests.conftest import ROOT


def test_no_migration_imports_what_may_change() -> None:
    files = list((ROOT / "emailqueue" / "migrations").glob("0*.py"))

    trees = [ast.parse(file.read_text()) for file in files]

    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    imported += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    assert files
    assert [name for name in imported if name.startswith(("emailqueue", "events"))] == []
