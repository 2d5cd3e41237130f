"""What docs/testing.md says is so: its files, word for word, are the tests of a project that has no Redis."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "testing.md").read_text()
SETTINGS = """
from emailqueue.redis import rq_queues

SECRET_KEY = "secret"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_rq", "emailqueue", "events"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
RQ_QUEUES = rq_queues("redis://127.0.0.1:1/0")
EMAIL_QUEUE = {"FRONTEND_URL": "https://example.com"}
"""


def test_the_examples_pass_in_a_project_without_redis(tmp_path: Path) -> None:
    files = re.findall(r"^```python\n# (\S+)\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    for name, content in files:
        (tmp_path / name).write_text(content)
    (tmp_path / "project_settings.py").write_text(SETTINGS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nDJANGO_SETTINGS_MODULE = project_settings\npythonpath = .\n")

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "project_settings"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{PAGE.count('def test_')} passed" in run.stdout
    assert len(files) == PAGE.count("```python")
