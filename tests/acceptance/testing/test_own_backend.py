"""Django's own mail in the tests of a project whose settings name the queue's backend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import django
import pytest

from tests.support.host_project import DJANGO, PYTEST, SETTINGS, run_tests

QUEUE = "emailqueue.backends.QueuedEmailBackend"
SMTP = "django.core.mail.backends.smtp.EmailBackend"
NAMED = (
    f"""
EMAIL_QUEUE["MAILER"] = "smtp"
MAILERS = {{
    "default": {{"BACKEND": "{QUEUE}", "OPTIONS": {{"priority": "high"}}}},
    "smtp": {{"BACKEND": "{SMTP}", "OPTIONS": {{"host": "127.0.0.1", "port": 1}}}},
}}
"""
    if django.VERSION >= (6, 1)
    else f"""
EMAIL_QUEUE |= {{"MAILER": "{SMTP}", "BACKEND_PRIORITY": "high"}}
EMAIL_BACKEND = "{QUEUE}"
EMAIL_HOST, EMAIL_PORT = "127.0.0.1", 1
"""
)
DUMMY = "django.core.mail.backends.dummy.EmailBackend"
ANOTHER = f'MAILERS={{"default": {{"BACKEND": "{DUMMY}"}}}}' if django.VERSION >= (6, 1) else f'EMAIL_BACKEND="{DUMMY}"'
UNNAMED = f'MAILERS = {{"default": {{"BACKEND": "{SMTP}"}}}}' if django.VERSION >= (6, 1) else ""
TESTS = """
from django.conf import settings
from django.core import mail
from django.core.mail import EmailMessage, send_mail
from django.test import SimpleTestCase, TestCase, override_settings

from emailqueue.testing import EmailQueue, EmailQueueMixin


class Queued(EmailQueueMixin, TestCase):
    def test_mail_is_queued_and_drained(self):
        send_mail("Hello", "text", None, ["ada@example.com"])

        self.assertEmailQueued("message", to="ada@example.com", subject="Hello", priority="high", count=1)
        self.assertEqual(mail.outbox, [])
        self.assertEqual(self.drain().sent, 1)
        self.assertEqual([message.subject for message in mail.outbox], ["Hello"])

    def test_several_recipients_are_a_mail_each(self):
        EmailMessage("Hello", "text", None, ["ada@example.com"], cc=["mary@example.com"]).send()

        self.assertEqual({email.to for email in self.email_queue.emails}, {"ada@example.com", "mary@example.com"})
        self.assertEqual(self.drain().sent, 2)

    def test_a_mail_server_that_answers(self):
        server = self.email_queue.mail_server("451", "250")
        send_mail("Hello", "text", None, ["ada@example.com"])

        self.assertEqual(self.drain().sent, 1)
        self.assertEqual(len(server.messages), 1)


class Beside(SimpleTestCase):
    def test_without_the_kit_all_is_as_django_has_it(self):
        with EmailQueue() as email_queue:
            pass

        send_mail("Hello", "text", None, ["ada@example.com"])

        self.assertEqual([message.subject for message in mail.outbox], ["Hello"])

    @override_settings(ANOTHER)
    def test_what_a_test_sets_itself_stays(self):
        with EmailQueue() as email_queue:
            send_mail("Hello", "text", None, ["ada@example.com"])

        self.assertEqual((email_queue.emails, mail.outbox), ([], []))
"""


@pytest.mark.parametrize("runner", [PYTEST, DJANGO], ids=["pytest", "django"])
def test_the_kit_puts_the_queue_of_the_settings_back(tmp_path: Path, runner: Sequence[str]) -> None:
    files = {"test_mail.py": TESTS.replace("ANOTHER", ANOTHER)}

    told = run_tests(tmp_path, files, settings=SETTINGS + NAMED, runner=runner)

    assert "5 passed" in told if runner is PYTEST else "Ran 5 tests" in told


@pytest.mark.parametrize("runner", [PYTEST, DJANGO], ids=["pytest", "django"])
def test_a_project_without_the_queue_as_its_backend_keeps_what_django_gives_it(
    tmp_path: Path, runner: Sequence[str]
) -> None:
    tests = TESTS[: TESTS.index("class Queued")] + TESTS[TESTS.index("class Beside") :]
    files = {"test_mail.py": tests.replace("ANOTHER", ANOTHER)}

    told = run_tests(tmp_path, files, settings=SETTINGS + UNNAMED, runner=runner)

    assert "2 passed" in told if runner is PYTEST else "Ran 2 tests" in told
