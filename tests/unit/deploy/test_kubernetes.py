"""The manifests of Kubernetes."""

from __future__ import annotations

import re
from pathlib import Path

import kubernetes_validate
import pytest

from config.probe import TIMEOUT
from config.urls import urlpatterns
from tests.support.deployment import LONGEST, dockerfile, manifest, manifests, pods

OLDEST_KUBERNETES, NEWEST_KUBERNETES = "1.29", "1.35"


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
