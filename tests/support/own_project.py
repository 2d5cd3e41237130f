"""Projects of somebody else's that install the wheel."""

from __future__ import annotations

import os
import re

import django

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "install.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
DJANGO_5, DJANGO_6, APPLICATION, CALLS, OWN_QUEUES, SAME_NAMES, _SQLITE = BLOCKS


def six_lines(*, port: int) -> list[str]:
    """Return the lines of the page, towards the mail server at `port`."""
    if django.VERSION < (6, 1):
        return [f"EMAIL_PORT = {port}", DJANGO_5]
    return [DJANGO_6.replace('"port": 25', f'"port": {port}')]


def own_lines(*, port: int) -> list[str]:
    """Return the lines of the page as a project writes them that has a backend and queues of its own."""
    lines = [line for line in "\n".join(six_lines(port=port)).splitlines() if not line.startswith("RQ =")]
    own = "\n".join(lines).replace("django.core.mail.backends.smtp.EmailBackend", "members.backend.StampingBackend")
    queues = OWN_QUEUES.replace("redis://localhost:6379/0", os.environ["REDIS_URL"])
    return [own, queues]


SETTINGS = [
    'INSTALLED_APPS += ["members", "events", "voting"]',
    'AUTH_USER_MODEL = "members.Member"',
    'DEFAULT_AUTO_FIELD = "django.db.models.AutoField"',
    'ALLOWED_HOSTS = ["testserver"]',
    'MEDIA_ROOT = BASE_DIR / "media"',
    'LANGUAGE_CODE = "de-at"',
]
FILES = {
    "events/__init__.py": "",
    "events/models.py": """
        from django.db import models


        class Concert(models.Model):
            title = models.CharField(max_length=100)
    """,
    "members/__init__.py": "",
    "members/models.py": """
        from uuid import uuid4

        from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
        from django.db import models


        class Members(BaseUserManager):
            def create_superuser(self, address, password):
                member = self.model(address=address, is_staff=True, is_superuser=True)
                member.set_password(password)
                member.save()
                return member


        class Member(AbstractBaseUser, PermissionsMixin):
            key = models.UUIDField(primary_key=True, default=uuid4)
            address = models.EmailField(unique=True)
            is_staff = models.BooleanField(default=False)
            is_active = models.BooleanField(default=True)

            USERNAME_FIELD = EMAIL_FIELD = "address"
            objects = Members()
    """,
    "members/backend.py": """
        from django.core.mail.backends.smtp import EmailBackend


        class StampingBackend(EmailBackend):
            def send_messages(self, messages):
                for message in messages:
                    message.extra_headers["X-Stamp"] = "paid"
                return super().send_messages(messages)
    """,
    "members/reports.py": """
        from pathlib import Path


        def write(path):
            Path(path).write_text("written")
    """,
    "members/visit.py": """
        import time

        import django_rq
        from django.conf import settings
        from django.contrib.auth.forms import PasswordResetForm
        from django.core.mail import EmailMessage
        from django.test import Client
        from django.urls import reverse

        from emailqueue.models import DeadLetter
        from members.models import Member
        from members.reports import write
        from voting import queue_vote_confirmation


        def join():
            Member.objects.create_superuser("ada@example.com", "secret")
            form = PasswordResetForm({"email": "ada@example.com"})
            assert form.is_valid()
            form.save(domain_override="shop.example")
            film = EmailMessage("Film", "See the file.", "shop@example.com", ["archive@example.com"])
            film.attach("film.bin", bytes(200_000), "application/octet-stream")
            film.send()
            queue_vote_confirmation("voter@example.com", {"model_name": "Aurora", "profile_url": "https://shop.example/7"})
            queue_vote_confirmation("away@example.com", {"model_name": "Aurora", "profile_url": "https://shop.example/7"})
            django_rq.get_queue("reports").enqueue(write, str(settings.BASE_DIR / "report.txt"))


        def retry_what_died():
            # As staff do: all that match, so that the worker does it in the name of the member.
            until = time.monotonic() + 60
            while not DeadLetter.objects.exists():
                assert time.monotonic() < until
                time.sleep(0.05)
            client = Client()
            client.force_login(Member.objects.get())
            letters = reverse("admin:emailqueue_deadletter_changelist")
            chosen = {"_selected_action": DeadLetter.objects.get().pk, "select_across": "1", "index": "0"}
            for page in (letters, reverse("admin:emailqueue_stats")):
                assert client.get(page).status_code == 200
            assert "Ausgewählte unzustellbare Mails erneut versuchen" in client.get(letters).content.decode()
            answer = client.post(letters, {**chosen, "action": "retry", "confirmed": "1"})
            assert answer.status_code == 302, answer.content
    """,
    "site1/urls.py": """
        from django.contrib import admin
        from django.urls import include, path

        urlpatterns = [path("admin/", admin.site.urls), path("", include("django.contrib.auth.urls"))]
    """,
}
