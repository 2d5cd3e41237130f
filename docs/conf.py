"""How Sphinx builds the pages of this folder: `sphinx-build -W -n docs docs/_build`."""

from importlib.metadata import version as installed_version

project = "django-emailqueue"
version = release = installed_version(project)
author = "the django-emailqueue authors"
copyright = author  # noqa: A001 - Sphinx calls it so

extensions = ["myst_parser"]
# A link such as events.md#settings leads to a heading, as it does on GitHub.
myst_heading_anchors = 4
exclude_patterns = ["_build"]
nitpicky = True

html_theme = "furo"
html_title = project
html_copy_source = False
html_show_sphinx = False
