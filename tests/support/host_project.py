"""A project of somebody else's, made of the files that a page of the docs shows, and its tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import ROOT

SETTINGS = f"""
from emailqueue.redis import rq_queues

SECRET_KEY = "secret"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_rq", "emailqueue", "events"]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}}
BACKEND = "django.template.backends.django.DjangoTemplates"
TEMPLATES = [{{"BACKEND": BACKEND, "APP_DIRS": True, "DIRS": ["shop/templates", "{ROOT}/templates"]}}]
RQ_QUEUES = rq_queues("redis://127.0.0.1:1/0")
RQ = {{"WORKER_CLASS": "emailqueue.worker.EmailWorker"}}
EMAIL_QUEUE = {{"FRONTEND_URL": "https://example.com"}}
"""
PYTEST = ("pytest", "-q", "-p", "no:cacheprovider", "-W", "error")
DJANGO = ("django", "test")
FILE = re.compile(r"^```(?:python|html)\n(?:# |<!-- )(\S+)(?: -->)?\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


def files_of(page: str) -> dict[str, str]:
    """Return the files that docs/PAGE shows, by their paths."""
    return dict(FILE.findall((ROOT / "docs" / page).read_text()))


def run_tests(folder: Path, files: dict[str, str], *, settings: str = SETTINGS, runner: Sequence[str] = PYTEST) -> str:
    """Write a project without Redis, run its tests, which must pass, and return what pytest, or the runner, says."""
    pytest_ini = "[pytest]\nDJANGO_SETTINGS_MODULE = project_settings\npythonpath = .\n"
    for name, content in {**files, "project_settings.py": settings, "pytest.ini": pytest_ini}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", *runner],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "project_settings"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr
