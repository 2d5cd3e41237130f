"""Write an application of topics, e-mails and receivers into the project, as files of its own."""

import keyword
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError

PACKAGE = Path(__file__).parents[2]
OWN_NAME = re.compile(r"(?<![\w.])events(?=[./]\w| import|\")")
"""The name of the application in its modules, and not that of emailqueue.events."""

PATTERNS = ("*.py", "*.py-tpl", "*.html", "*.po", "*.mo")

NEXT = """
These files are yours. Add the application to your settings:

    INSTALLED_APPS += ["{name}"]

Write its mails into the folder preview, to look at them:

    python manage.py emailqueue preview

If you change a translation, run manage.py compilemessages."""

ARGUMENTS = {"name": {"nargs": "?", "default": "events", "metavar": "NAME", "help": "default: events"}}


def run(*, name: str, **options: Any) -> str:
    """Write the files into a new folder, and return their names and what to do next."""
    if reason := _obstacle(name):
        raise CommandError(f"{reason} Choose another name: manage.py emailqueue starter NAME.")
    written = dict(_files(name))
    try:
        for path, content in written.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as error:
        raise CommandError(f"The application cannot be written: {error}.") from error
    return "\n".join([*map(str, written), NEXT.format(name=name)])


def _obstacle(name: str) -> str:
    """Return why the application cannot have this name; empty if it can."""
    if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name):
        return f"{name!r} cannot name an application: it is no name of a Python module."
    if Path(name).exists():
        return f"{name!r} exists in this folder already."
    if name in apps.app_configs:
        return f"{name!r} is the label of an installed application."
    if name in sys.modules or find_spec(name):
        return f"{name!r} is a module that Python finds already."
    return ""


def _files(name: str) -> Iterator[tuple[Path, bytes]]:
    """Yield the path of each file, and its content."""
    packed = PACKAGE / "starter"  # by hatch_build.py; a checkout has the application beside the package
    root = packed if packed.is_dir() else PACKAGE.parent
    for folder, target in (("events", Path(name)), ("templates/events", Path(name, "templates", name))):
        for source in sorted(file for pattern in PATTERNS for file in (root / folder).rglob(pattern)):
            path = target / source.relative_to(root / folder).with_name(source.name.removesuffix("-tpl"))
            content = source.read_bytes()
            yield path, _renamed(content.decode(), name).encode() if path.suffix == ".py" else content


def _renamed(module: str, name: str) -> str:
    config = "".join(word.capitalize() for word in name.split("_")) + "Config"
    return OWN_NAME.sub(name, module).replace("EventsConfig", config)
