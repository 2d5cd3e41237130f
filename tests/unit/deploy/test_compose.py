"""The compose file and its example environment."""

from __future__ import annotations

import json
import re

from compose_spec import PyCompose

from tests.support.deployment import DEPLOY, LONGEST, compose


def test_the_compose_file_is_one_by_the_specification() -> None:
    parsed = PyCompose.from_json(json.dumps(compose()))  # PyYAML resolves what is merged by <<

    parsed.validate()

    assert set(parsed.service_names()) == {"migrate", "web", "worker", "valkey", "postgres", "mailpit"}


def test_each_service_of_the_compose_file_is_pinned_and_tells_its_health() -> None:
    services = compose()["services"]

    images = {name: service["image"] for name, service in services.items()}
    assert all(re.search(r":(v?\d[\w.-]*|latest)$", image) for image in images.values())
    built = {name for name, image in images.items() if image.endswith(":latest")}
    assert built == {"migrate", "web", "worker"}
    assert all(service["healthcheck"]["test"][0] == "CMD" for name, service in services.items() if name != "migrate")


def test_each_service_waits_for_those_that_it_needs() -> None:
    services = compose()["services"]
    waits = {name: service.get("depends_on", {}) for name, service in services.items()}

    for name, conditions in waits.items():
        assert conditions.keys() <= services.keys(), name
        for needed, how in conditions.items():
            ends = services[needed]["healthcheck"].get("disable")
            expected = "service_completed_successfully" if ends else "service_healthy"
            assert how == {"condition": expected}, (name, needed)
    assert waits["web"].keys() >= {"migrate", "valkey"}
    assert waits["worker"].keys() >= {"migrate", "valkey", "mailpit"}
    assert waits["migrate"].keys() == {"postgres"}


def test_no_process_of_ours_is_the_first_of_its_container() -> None:
    services = compose()["services"]

    assert [services[name].get("init") for name in ("migrate", "web", "worker")] == [True] * 3


def test_the_redis_of_the_compose_file_keeps_mail_on_disk_and_throws_none_away() -> None:
    valkey = compose()["services"]["valkey"]
    options = dict(zip(valkey["command"][1::2], valkey["command"][2::2], strict=True))

    assert (options["--appendonly"], options["--maxmemory-policy"]) == ("yes", "noeviction")
    assert valkey["volumes"] == ["valkey:/data"]
    assert "ports" not in valkey


def test_a_stopped_worker_of_the_compose_file_has_time_to_end() -> None:
    worker = compose()["services"]["worker"]

    assert int(worker["stop_grace_period"].removesuffix("s")) > LONGEST
    assert worker["environment"]["EMAIL_HEARTBEAT_FILE"] == worker["healthcheck"]["test"][-1]


def test_the_example_environment_names_what_the_compose_file_asks_for() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+)[:}]", (DEPLOY / "compose.yaml").read_text()))
    offered = set(re.findall(r"(?m)^([A-Z_]+)=", (DEPLOY / "env.example").read_text()))

    assert asked == offered
