"""The units of systemd."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from emailqueue.worker.heartbeat import EVERY
from tests.support.deployment import DEPLOY, LONGEST, UNITS, manifest, unit

RUN_ON = ["emailqueue-web.service", "emailqueue-worker@.service"]


# systemd and Procfile


@pytest.mark.parametrize("name", RUN_ON)
def test_a_unit_stops_its_service_in_good_order_and_starts_it_again(name: str) -> None:
    service = unit(name)["Service"]

    assert (service["KillMode"], service["Restart"]) == ("mixed", "always")


def test_the_units_begin_when_the_migrations_are_done_however_long_that_takes() -> None:
    migrate = unit("emailqueue-migrate.service")["Service"]

    assert (migrate["Type"], migrate["RemainAfterExit"], migrate["TimeoutStartSec"]) == ("oneshot", "yes", "infinity")
    assert migrate["ExecStart"].endswith("manage.py migrate --noinput")
    assert migrate["Restart"] == "on-failure"
    assert "activeDeadlineSeconds" not in manifest("Job", "emailqueue-migrate")["spec"]
    for name in RUN_ON:
        assert "emailqueue-migrate.service" in unit(name)["Unit"]["Wants"].split()
        assert "emailqueue-migrate.service" in unit(name)["Unit"]["After"].split()


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_may_do_as_little_as_possible(name: str) -> None:
    service = unit(name)["Service"]

    assert service["User"] != "root"
    assert (service["NoNewPrivileges"], service["ProtectSystem"]) == ("yes", "strict")
    assert (service["CapabilityBoundingSet"], service["PrivateDevices"]) == ("", "yes")
    assert unit(name)["Install"]["WantedBy"] == "multi-user.target"
    assert Path(service["ExecStart"].split()[0]).is_absolute()


def test_the_unit_of_a_worker_waits_for_what_is_being_sent_and_watches_the_main_loop() -> None:
    service = unit("emailqueue-worker@.service")["Service"]

    assert int(service["TimeoutStopSec"]) > LONGEST
    assert (service["NotifyAccess"], int(service["WatchdogSec"]) > 5 * EVERY) == ("main", True)
    assert service["Environment"] == f"EMAIL_HEARTBEAT_FILE=/run/{service['RuntimeDirectory']}/alive"


def test_systemd_itself_finds_nothing_wrong_where_it_is_installed(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not here")
    for name in UNITS:
        text = (DEPLOY / "systemd" / name).read_text()
        # The programs stand where a server has them, and not here.
        (tmp_path / name).write_text(re.sub(r"(ExecStart\w*=)/opt/\S+", r"\1/bin/true", text))

    said = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / name.replace("@", "@1") for name in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.stderr == ""
