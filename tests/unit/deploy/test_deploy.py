"""What deploy/ and the Dockerfile say, checked as far as no engine is needed."""

from __future__ import annotations

import ast
import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose
from django.core.management import get_commands

from config.probe import TIMEOUT
from config.urls import urlpatterns
from emailqueue.conf import Settings
from emailqueue.jobs.priority import QUEUES
from emailqueue.management.commands.emailqueue import VERBS
from emailqueue.worker.heartbeat import EVERY
from emailqueue.worker.loop import GRACE

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
LONGEST = Settings().job_timeout + GRACE
"""Seconds that a worker may take to end in good order."""
OLDEST_KUBERNETES, NEWEST_KUBERNETES = "1.29", "1.35"


def known_variables() -> set[str]:
    """Return the variables of the environment that the project reads."""
    sources = "".join((ROOT / path).read_text() for path in ("config/settings.py", "emailqueue/redis/connection.py"))
    readers = r'\b(?:text|words|switch|number|choice|database|_read|_read_number)\((?:environ, )?"([A-Z_]+)"'
    listed = re.findall(r'"([A-Z][A-Z_]+)": "([A-Z_]+)"', sources)
    upstash = {"UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"}
    return {*re.findall(readers, sources), *(variable for _key, variable in listed), *upstash}


def dockerfile() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, the continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", "")
    lines = [line.partition(" ") for line in text.splitlines() if line.strip()]
    return [(name, arguments.strip()) for name, _blank, arguments in lines]


def manifests() -> list[dict[str, Any]]:
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    return [manifest for file in files for manifest in yaml.safe_load_all(file.read_text())]


def manifest(kind: str, name: str = "emailqueue") -> dict[str, Any]:
    [found] = [each for each in manifests() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pods() -> dict[str, dict[str, Any]]:
    """Return the specification of each pod by the name of its container."""
    specs = [each["spec"]["template"]["spec"] for each in manifests() if each["kind"] in ("Deployment", "Job")]
    return {spec["containers"][0]["name"]: spec for spec in specs}


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def unit(name: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(strict=False, interpolation=None, delimiters=["="])
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read(DEPLOY / "systemd" / name)
    return parsed


RUN_ON = ["emailqueue-web.service", "emailqueue-worker@.service"]
UNITS = sorted(path.name for path in (DEPLOY / "systemd").iterdir())


def commands() -> Iterator[Sequence[str]]:
    """Yield every command line in deploy/ and the Dockerfile, as words."""
    for name, arguments in dockerfile():
        if name == "CMD":
            yield json.loads(arguments)
        elif name == "HEALTHCHECK":
            yield json.loads(arguments.partition("CMD ")[2])
    for service in compose()["services"].values():
        yield from ([service["command"]] if "command" in service else [])
        yield from ([service["healthcheck"]["test"][1:]] if "test" in service.get("healthcheck", {}) else [])
    for spec in pods().values():
        yield from _of_container(spec["containers"][0])
    for name in UNITS:
        yield shlex.split(unit(name)["Service"]["ExecStart"])
    for line in (DEPLOY / "Procfile").read_text().splitlines():
        yield shlex.split(line.partition(":")[2])


def _of_container(container: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    if "command" in container:
        yield container["command"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if "exec" in container.get(probe, {}):
            yield container[probe]["exec"]["command"]


# Everything that is deployed


def test_each_command_exists() -> None:
    ours = [list(words) for words in commands()]

    verbs = [words[words.index("manage.py") + 1 :] for words in ours if "manage.py" in words]
    modules = [words[words.index("-m") + 1] for words in ours if "-m" in words]
    assert len(verbs) >= 8
    assert {verb[0] for verb in verbs} <= get_commands().keys()
    assert {verb[1] for verb in verbs if verb[0] == "emailqueue"} <= VERBS.keys()
    assert {tuple(verb[1:]) for verb in verbs if verb[0] == "rqworker"} == {QUEUES}
    assert set(modules) == {"config.probe", "emailqueue.worker.heartbeat"}
    assert all((ROOT / f"{module.replace('.', '/')}.py").is_file() for module in modules)


def test_each_command_of_gunicorn_is_one_that_it_takes() -> None:
    servers = {tuple(words) for words in commands() if Path(words[0]).name == "gunicorn"}

    for _program, *arguments in servers:
        checked = [argument.replace("$PORT", "8000") for argument in arguments]
        subprocess.run([sys.executable, "-m", "gunicorn", "--check-config", *checked], cwd=ROOT, check=True, timeout=60)

    assert len(servers) == 3


def test_each_variable_is_one_that_the_project_reads() -> None:
    known = known_variables()
    services = compose()["services"]
    named = {name for service in ("migrate", "web", "worker") for name in services[service]["environment"]}
    named |= manifest("ConfigMap")["data"].keys() | manifest("Secret")["stringData"].keys()
    named |= {entry["name"] for spec in pods().values() for entry in spec["containers"][0].get("env", [])}
    named |= {unit(name)["Service"].get("Environment", "").partition("=")[0] for name in UNITS} - {""}

    assert {"REDIS_URL", "DATABASE_URL", "LOG_FORMAT", "EMAIL_HEARTBEAT_FILE", "SECRET_KEY"} <= named
    assert named - known == set()


def test_no_part_of_a_deployment_goes_without_what_it_cannot_start_without() -> None:
    needed = {"SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL", "EMAIL_HOST", "FRONTEND_URL"}
    kubernetes = manifest("ConfigMap")["data"].keys() | manifest("Secret")["stringData"].keys()

    assert needed - kubernetes == set()
    assert needed - compose()["services"]["web"]["environment"].keys() == set()


# Dockerfile


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if hadolint is None:
        pytest.skip("hadolint is installed on x86-64 Linux only")

    command = [hadolint, "--failure-threshold", "style", str(ROOT / "Dockerfile")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (said.returncode, said.stdout) == (0, "")


def test_the_image_is_built_in_two_stages_from_a_slim_base_with_a_version() -> None:
    stages = [arguments for name, arguments in dockerfile() if name == "FROM"]

    assert len(stages) == 2
    assert all(re.match(r"python:3\.\d+-slim-[a-z]+( AS build)?$", stage) for stage in stages)
    assert not [name for name, _arguments in dockerfile() if name in ("ADD", "SHELL", "ONBUILD")]


def test_the_image_runs_as_a_numbered_user_without_a_shell_and_tells_its_health() -> None:
    last_stage = dockerfile()[[name for name, _ in dockerfile()].index("FROM", 1) :]
    last = dict(last_stage)

    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", last["USER"])
    assert isinstance(json.loads(last["CMD"]), list)
    assert "ENTRYPOINT" not in last
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(last["HEALTHCHECK"].partition("CMD ")[2])[:3] == ["python", "-m", "config.probe"]
    names = [name for name, _ in last_stage]
    assert names.index("USER") > max(index for index, name in enumerate(names) if name in ("RUN", "COPY"))


def test_the_image_holds_no_secret_and_everything_that_it_copies_is_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        arguments.split()[:-1] for name, arguments in dockerfile() if name == "COPY" and "--from" not in arguments
    ]

    assert {source for sources in copied for source in sources} <= let_in
    assert all((ROOT / source).exists() for source in let_in)
    variables = [word.partition("=")[0] for name, words in dockerfile() if name == "ENV" for word in words.split()]
    assert not [variable for variable in variables if re.search("KEY|TOKEN|PASSWORD|URL", variable)]


def test_a_change_of_the_code_installs_no_dependency_anew() -> None:
    build = dockerfile()[: [name for name, _ in dockerfile()].index("FROM", 1)]
    code = build.index(("COPY", "emailqueue emailqueue"))

    installs = [(index > code, words) for index, (_name, words) in enumerate(build) if "pip install" in words]

    assert [late for late, words in installs if "--constraint" in words] == [False]
    assert [words for late, words in installs if late and "--no-deps" not in words] == []


# Compose


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


# Kubernetes


@pytest.mark.parametrize("version", [OLDEST_KUBERNETES, NEWEST_KUBERNETES])
def test_each_manifest_is_one_by_the_schema_of_kubernetes(version: str) -> None:
    for each in manifests():
        kubernetes_validate.validate(each, version, strict=True)

    assert len(manifests()) == 7


def test_labels_match_what_selects_by_them() -> None:
    templates = {each["metadata"]["name"]: each["spec"] for each in manifests() if each["kind"] == "Deployment"}
    labels = {name: spec["template"]["metadata"]["labels"] for name, spec in templates.items()}

    assert all(spec["selector"]["matchLabels"] == labels[name] for name, spec in templates.items())
    assert manifest("Service", "emailqueue-web")["spec"]["selector"] == labels["emailqueue-web"]
    budget = manifest("PodDisruptionBudget", "emailqueue-web")["spec"]["selector"]["matchLabels"]
    assert budget == labels["emailqueue-web"] != labels["emailqueue-worker"]


@pytest.mark.parametrize("name", ["web", "worker", "migrate"])
def test_each_pod_may_do_as_little_as_possible(name: str) -> None:
    spec = pods()[name]
    [container] = spec["containers"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert (
        f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}" == dict(dockerfile())["USER"]
    )
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["enableServiceLinks"] is spec["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]
    assert {volume["name"] for volume in spec["volumes"]} == {mount["name"] for mount in container["volumeMounts"]}
    assert container["envFrom"] == [{"configMapRef": {"name": "emailqueue"}}, {"secretRef": {"name": "emailqueue"}}]
    assert re.search(r":\d", container["image"])


@pytest.mark.parametrize("name", ["web", "worker"])
def test_each_pod_that_runs_on_has_its_probes_and_replicas(name: str) -> None:
    container = pods()[name]["containers"][0]
    deployment = manifest("Deployment", f"emailqueue-{name}")["spec"]

    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()
    assert deployment["replicas"] >= 2
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_the_web_is_asked_where_its_names_are_known_at_addresses_that_there_are() -> None:
    container = pods()["web"]["containers"][0]
    probes = [container[f"{probe}Probe"] for probe in ("startup", "liveness", "readiness")]

    asked = [probe["exec"]["command"] for probe in probes]

    assert [words[:-1] for words in asked] == [["python", "-m", "config.probe"]] * 3
    assert [words[-1] for words in asked] == ["/alive/", "/alive/", "/health/"]
    assert {words[-1].lstrip("/") for words in asked} <= {str(getattr(route, "pattern", "")) for route in urlpatterns}
    assert all(probe["timeoutSeconds"] > TIMEOUT for probe in probes)


def test_a_worker_pod_has_time_to_end_and_is_alive_by_the_file_that_it_touches() -> None:
    spec = pods()["worker"]
    container = spec["containers"][0]

    assert spec["terminationGracePeriodSeconds"] > LONGEST
    [file] = [entry["value"] for entry in container["env"] if entry["name"] == "EMAIL_HEARTBEAT_FILE"]
    assert container["livenessProbe"]["exec"]["command"][:4] == ["python", "-m", "emailqueue.worker.heartbeat", file]
    assert Path(file).parent == Path(container["volumeMounts"][0]["mountPath"])
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["exec"]["command"][-3:] == ["emailqueue", "alive", "--ready"]


def test_the_secret_holds_no_value_that_anyone_could_use() -> None:
    values = manifest("Secret")["stringData"].values()

    assert all("change-me" in value for value in values)
    exposed = [key for key in manifest("ConfigMap")["data"] if re.search("KEY|PASSWORD|TOKEN|_URL$", key)]
    assert exposed == ["FRONTEND_URL"]


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


def test_the_procfile_names_the_web_the_worker_and_what_comes_before() -> None:
    lines = dict(line.split(": ", 1) for line in (DEPLOY / "Procfile").read_text().splitlines())

    assert lines.keys() == {"release", "web", "worker"}
    assert "$PORT" in lines["web"]


def test_python_in_commands_is_python() -> None:
    snippets = [words[words.index("-c") + 1] for words in _lifecycles() if "-c" in words]

    assert snippets
    assert all(ast.parse(snippet) for snippet in snippets)


def _lifecycles() -> Iterator[Sequence[str]]:
    for spec in pods().values():
        for hook in spec["containers"][0].get("lifecycle", {}).values():
            yield hook["exec"]["command"]
