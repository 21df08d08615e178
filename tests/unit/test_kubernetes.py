"""kubernetes/: the manifests are valid, and agree with each other and with the service."""

import re
from functools import cache
from typing import Any

import kubernetes_validate
import pytest
import yaml

from commands import serve
from commands.upgrade import upgrade
from config_loader import Settings
from tests.service import ROOT
from version import VERSION

FOLDER = ROOT / "kubernetes"
LISTED, SECRETS = "kustomization.yaml", "secrets.example.yaml"
SETTINGS = {name.upper() for name in Settings.model_fields}
ENDING = 2 * serve.STOP_SECONDS  # seconds: what docs/operations.md promises


@cache
def files() -> dict[str, list[dict[str, Any]]]:
    """The resources in each file."""
    return {path.name: list(yaml.safe_load_all(path.read_text())) for path in FOLDER.iterdir()}


def resources(kind: str = "") -> list[dict[str, Any]]:
    """All resources, or those of one kind."""
    found = [one for name, every in files().items() if name != LISTED for one in every]
    return [one for one in found if kind in ("", one["kind"])]


def pods() -> dict[str, dict[str, Any]]:
    """The templates of pods, by what makes them."""
    made = [*resources("Deployment"), *resources("Job")]
    return {one["metadata"]["name"]: one["spec"]["template"] for one in made}


def containers() -> dict[str, dict[str, Any]]:
    """The one container of each pod, by what makes the pod."""
    found = {}
    for name, pod in pods().items():
        (found[name],) = pod["spec"]["containers"]
    return found


@pytest.mark.parametrize("version", ["1.28", "1.37"])
def test_every_resource_is_valid(version: str) -> None:
    """By Kubernetes' own schemas, without a member that these do not know."""
    for one in resources():
        kubernetes_validate.validate(one, version, strict=True)


def test_a_mistyped_member_is_found() -> None:
    """The schemas are strict."""
    wrong = {**resources("ServiceAccount")[0], "automountServiceAccountTokens": False}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.37", strict=True)


def test_the_list_has_every_file() -> None:
    """All but the examples of secrets, which have none."""
    (listed,) = files()[LISTED]
    assert set(listed["resources"]) == files().keys() - {LISTED, SECRETS}
    for one in files()[SECRETS]:
        assert (one["kind"], one["metadata"]["namespace"]) == ("Secret", listed["namespace"])
        assert [value for value in one["stringData"].values() if "change-me" not in value] == []
    (image,) = listed["images"]
    assert {one["image"] for one in containers().values()} == {f"{image['name']}:{image['newTag']}"}
    assert image["newTag"] == VERSION


def test_what_every_container_may_and_has() -> None:
    """Each has limits, no rights, no token, and a file system that it cannot write to but for /tmp."""
    user = re.search(r"--uid (\d+)", (ROOT / "Dockerfile").read_text())
    assert user is not None
    for name, pod in pods().items():
        spec, one = pod["spec"], containers()[name]
        assert (spec["automountServiceAccountToken"], spec["serviceAccountName"]) == (False, "transaction-alerts")
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["runAsUser"] == int(user[1])
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(one["resources"]["limits"]) == set(one["resources"]["requests"]) == {"cpu", "memory"}
        assert "/tmp" in [mount["mountPath"] for mount in one["volumeMounts"]]
        assert {mount["name"] for mount in one["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
    assert [one["automountServiceAccountToken"] for one in resources("ServiceAccount")] == [False]


def test_the_migration_is_a_command_of_the_service() -> None:
    """It has the role that owns the tables, and nothing else has."""
    one = containers()["transaction-alerts-migrate"]
    (command,) = re.findall(r"^flask --app app (\w+)$", " ".join(one["command"]), re.MULTILINE)
    assert command == upgrade.name
    owner = [name for name, own in containers().items() if "transaction-alerts-owner" in str(own)]
    assert owner == ["transaction-alerts-migrate"]


def test_probes_and_the_end() -> None:
    """The service says itself whether it lives and is ready, and has the time that it needs to end."""
    one, spec = containers()["transaction-alerts"], pods()["transaction-alerts"]["spec"]
    asked = {name: one[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: get["path"] for name, get in asked.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    assert {get["port"] for get in asked.values()} == {"http"}
    pause = int(one["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] > pause + ENDING


def test_selectors_find_what_they_mean() -> None:
    """Each finds the pods of one Deployment or Job, and each of these has its own policy of the network."""
    labels = {name: pod["metadata"]["labels"] for name, pod in pods().items()}

    def found(selector: dict[str, str]) -> list[str]:
        return [name for name, own in labels.items() if selector.items() <= own.items()]

    for one in resources("Deployment"):
        assert found(one["spec"]["selector"]["matchLabels"]) == [one["metadata"]["name"]]
        for spread in one["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
            assert found(spread["labelSelector"]["matchLabels"]) == [one["metadata"]["name"]]
    (service,), (budget,) = resources("Service"), resources("PodDisruptionBudget")
    assert found(service["spec"]["selector"]) == ["transaction-alerts"]
    assert found(budget["spec"]["selector"]["matchLabels"]) == ["transaction-alerts"]
    (deployment,) = [one for one in resources("Deployment") if one["metadata"]["name"] == "transaction-alerts"]
    assert deployment["spec"]["replicas"] > budget["spec"]["minAvailable"]
    policies = [found(one["spec"]["podSelector"]["matchLabels"]) for one in resources("NetworkPolicy")]
    assert sorted(policies) == sorted([name] for name in pods())
    for one in resources("NetworkPolicy"):
        assert one["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_settings_and_ports_are_those_of_the_service() -> None:
    """Every name that is handed in is a setting; ports and the place of the keys are those that it then uses."""
    (settings,) = resources("ConfigMap")
    secrets = {one["metadata"]["name"]: one["stringData"] for one in resources("Secret")}
    assert set(settings["data"]) <= SETTINGS
    assert set(secrets["transaction-alerts"]) <= SETTINGS
    for one in containers().values():
        for source in one.get("envFrom", []):
            assert source in (
                {"configMapRef": {"name": settings["metadata"]["name"]}},
                {"secretRef": {"name": "transaction-alerts"}},
            )
        for variable in one.get("env", []):
            reference = variable["valueFrom"]["secretKeyRef"]
            assert variable["name"] in SETTINGS
            assert reference["key"] in secrets[reference["name"]]
    ports = {port["name"]: port["containerPort"] for port in containers()["transaction-alerts"]["ports"]}
    expected = {"http": Settings.model_fields["backend_port"].default, "metrics": int(settings["data"]["METRICS_PORT"])}
    assert ports == expected
    pod = pods()["transaction-alerts"]
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == settings["data"]["METRICS_PORT"]
    (mount,) = [one for one in containers()["transaction-alerts"]["volumeMounts"] if one["name"] == "keys"]
    (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == "keys"]
    (key,) = secrets[volume["secret"]["secretName"]]
    assert settings["data"]["KEYS_FILE"] == f"{mount['mountPath']}/{key}"
    named = {
        entry["port"]
        for policy in resources("NetworkPolicy")
        for rule in policy["spec"].get("ingress", [])
        for entry in rule["ports"]
    }
    assert named == ports.keys()
