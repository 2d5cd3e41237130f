"""What docs/unsubscribe.md says is so: its files, word for word, let people leave a project's newsletter."""

from __future__ import annotations

from pathlib import Path

from tests.support.host_project import files_of, run_tests

TEMPLATE = """
{% block subject %}News{% endblock %}
{% block text_body %}{{ headline }} {{ unsubscribe_url }}{% endblock %}
{% block html_body %}<p>{{ headline }}</p>{% endblock %}
"""
TESTS = """
from urllib.parse import urlsplit
import pytest
import settings as shown
from django.core import mail
from django.test import Client
from emailqueue import queue_email
from emailqueue.checks.links import check_unsubscribe
from shop.emails import Newsletter

@pytest.mark.django_db
def test_people_can_leave(email_queue, settings):
    settings.ROOT_URLCONF = "urls"
    settings.EMAIL_QUEUE = {**settings.EMAIL_QUEUE, **shown.EMAIL_QUEUE}
    assert check_unsubscribe() == []
    queue_email("newsletter", "ada@example.com", Newsletter(headline="Lamps"))
    assert email_queue.drain().sent == 1
    headers = mail.outbox[0].message()
    link = str(headers["List-Unsubscribe"]).strip("<>")
    assert link.startswith("https://example.com/email/")
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    path = urlsplit(link).path
    assert Client().post(path, {"List-Unsubscribe": "One-Click"}, secure=True).status_code == 200
    queue_email("newsletter", "ada@example.com", Newsletter(headline="Chairs"))
    drained = email_queue.drain()
    assert (drained.sent, drained.skipped) == (0, 1)
"""


def test_the_example_lets_people_leave(tmp_path: Path) -> None:
    files = files_of("unsubscribe.md")
    plugin = 'pytest_plugins = ["emailqueue.testing.pytest_plugin"]\n'
    others = {"shop/__init__.py": "", "shop/templates/shop/newsletter.html": TEMPLATE, "conftest.py": plugin}

    told = run_tests(tmp_path, {**files, **others, "test_shop.py": TESTS})

    assert sorted(files) == ["settings.py", "shop/emails.py", "urls.py"]
    assert "1 passed" in told
