"""docs/install.md, held against the package and the noxfile."""

from __future__ import annotations

import ast
import re
import tomllib

from tests.support.tables import ROOT, page, table

PAGE = page("install")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOXFILE = ast.parse((ROOT / "noxfile.py").read_text())
ROWS = {row[0]: row[1] for row in table(PAGE, "", "")}


def versions(name: str) -> list[str]:
    return re.findall(r"\d\.\d+", ROWS[name])


def classified(framework: str) -> list[str]:
    found = [re.fullmatch(rf"{framework} :: (\d\.\d+)", line) for line in PROJECT["classifiers"]]
    return [match[1] for match in found if match]


def test_the_page_names_the_versions_that_the_package_and_the_noxfile_name() -> None:
    (djangos,) = [
        ast.literal_eval(node.value)
        for node in NOXFILE.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DJANGOS"
    ]

    assert versions("Python") == classified("Programming Language :: Python") == list(djangos)
    assert (
        versions("Django")
        == classified("Framework :: Django")
        == sorted({one for row in djangos.values() for one in row})
    )


def test_the_page_names_the_lowest_versions_that_the_package_takes() -> None:
    lowest = dict(line.split(">=") for line in PROJECT["dependencies"])

    assert f"django-rq {lowest['django-rq']}, RQ {lowest['rq']}, redis-py {lowest['redis']}" in ROWS["comes along"]


def test_each_session_of_nox_has_its_line_and_each_line_is_a_session() -> None:
    functions = [node for node in NOXFILE.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]

    told = re.findall(r"^    nox --session (\w+) +#", PAGE.path.read_text(), re.MULTILINE)

    assert told == [function.name for function in functions]
