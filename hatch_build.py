"""Compile the translations into the wheel, and beside their sources when the project is installed to be worked on."""

from pathlib import Path
from typing import Any

import polib
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompileTranslations(BuildHookInterface[Any]):
    """Write a .mo file for each .po file. Git ignores them, so that pyproject.toml names them as artifacts."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the files are gathered."""
        for source in Path(self.root).glob("*/locale/*/LC_MESSAGES/*.po"):
            content = polib.pofile(str(source)).to_binary()
            compiled = source.with_suffix(".mo")
            # An equal file stays untouched: uv builds again when one of those that it watches changes.
            if not compiled.exists() or compiled.read_bytes() != content:
                compiled.write_bytes(content)
