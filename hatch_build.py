"""Compile the translations, also for an editable install, and pack the starter into the wheel."""

from pathlib import Path
from typing import Any

import polib
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BuildHook(BuildHookInterface[Any]):
    """
    Write a .mo file beside each .po file, and put the application of the example where `emailqueue starter` looks.

    Git ignores the compiled files, so pyproject.toml names them as artifacts.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Act before the files are gathered."""
        for source in Path(self.root).glob("*/locale/*/LC_MESSAGES/*.po"):
            compile_translations(source)
        if version != "editable":
            build_data["force_include"] |= starter(Path(self.root))


def compile_translations(source: Path) -> None:
    """Write the .mo file. An equal one stays untouched: uv builds again when a file that it watches changes."""
    content = polib.pofile(str(source)).to_binary()
    compiled = source.with_suffix(".mo")
    if not compiled.exists() or compiled.read_bytes() != content:
        compiled.write_bytes(content)


def starter(root: Path) -> dict[str, str]:
    """Return where each file of the application goes. Its modules get a suffix, since nobody may import them there."""
    modules = {str(path): f"emailqueue/starter/events/{path.name}-tpl" for path in (root / "events").glob("*.py")}
    folders = {str(root / folder): f"emailqueue/starter/{folder}" for folder in ("events/locale", "templates/events")}
    return modules | folders
