"""What docs/testing.md says is so: its files, word for word, are the tests of a project that has no Redis."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import ROOT
from tests.support.host_project import files_of, run_tests


def test_the_examples_pass_in_a_project_without_redis(tmp_path: Path) -> None:
    page, files = (ROOT / "docs" / "testing.md").read_text(), files_of("testing.md")

    told = run_tests(tmp_path, files)

    assert len(files) == page.count("```python") == 6
    assert f"{page.count('def test_')} passed" in told
