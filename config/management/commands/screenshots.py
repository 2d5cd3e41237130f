"""Which command takes the pictures in docs/."""

import argparse
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError
from django.urls import reverse

from config.management.commands.quickstart import RUN, start_again_with
from config.quickstart.report import Progress
from config.quickstart.run import Parts, deliver_sample, running, start_web, wait_for_web
from config.quickstart.workspace import Workspace
from emailqueue.models import DeadLetter

CHROMIUM = "/usr/bin/chromium"
SIZE = {"width": 1500, "height": 900}


class Command(BaseCommand):
    """Run a quickstart and photograph its admin, light and dark."""

    help = "Write docs/*.png: the list, a dead letter and the statistics, in both themes. Needs Debian's chromium."
    requires_system_checks = []  # they would speak of the user's settings

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--to", type=Path, default=settings.BASE_DIR / "docs", metavar="DIR", help="Default: docs")

    def handle(self, *, to: Path, **options: Any) -> None:
        if RUN not in os.environ:
            start_again_with(Workspace(folder=Path(tempfile.mkdtemp(prefix="screenshots-"))))
        logging.disable(logging.INFO)
        folder = Path(settings.DATABASES["default"]["NAME"]).parent
        with running(Workspace(folder=folder, run=os.environ[RUN])) as parts:
            address = start_web(parts)
            shown = Progress()
            deliver_sample(parts, shown)
            shown.end()
            wait_for_web(parts, address)
            to.mkdir(exist_ok=True)
            _take(parts, address, to)
        for picture in sorted(to.glob("*.png")):
            self.stdout.write(f"{picture} {picture.stat().st_size // 1024} KiB")


def _take(parts: Parts, address: str, to: Path) -> None:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise CommandError("Playwright is missing: pip install playwright.") from error

    dead_letter = DeadLetter.objects.filter(email_type="vote-confirmation").order_by("pk")[0].pk
    pages = {
        "dead-letters": reverse("admin:emailqueue_deadletter_changelist"),
        "dead-letter": reverse("admin:emailqueue_deadletter_change", args=[dead_letter]),
        "statistics": reverse("admin:emailqueue_stats"),
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport=SIZE, color_scheme=scheme)  # type: ignore[arg-type]  # a literal
            page = context.new_page()
            page.goto(f"{address}/admin/login/")
            page.fill("[name=username]", "admin")
            page.fill("[name=password]", parts.password)
            page.press("[name=password]", "Enter")
            page.wait_for_url("**/admin/")
            for name, path in pages.items():
                page.goto(address + path, wait_until="networkidle" if name != "statistics" else "load")
                page.screenshot(path=to / f"{name}-{scheme}.png")
            context.close()
        browser.close()
