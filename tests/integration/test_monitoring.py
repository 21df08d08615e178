"""monitoring/: the dashboard and the alert rules ask for what the service really exposes, and Prometheus takes them."""

import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

import metrics
from database.webhook_figures import WebhookFigures
from tests.service import PATIENT_ENVIRONMENT, ROOT, Service, free_port
from tests.waiting import PATIENCE, wait_until

FOLDER = ROOT / "monitoring"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
# What Prometheus adds to every series, and what its own series is called.
ADDED, OWN = {"job", "instance"}, "up"

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None, reason="Prometheus is not installed"
)


def panels() -> list[dict[str, Any]]:
    """The panels that show something."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    """Every query of the dashboard."""
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def labels_of_metrics(text: str) -> dict[str, set[str]]:
    """The labels of each sample's name, with those that Prometheus adds."""
    found: dict[str, set[str]] = defaultdict(lambda: set(ADDED))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] |= set(sample.labels)
    return found


def unknown(query: str, known: dict[str, set[str]]) -> set[str]:
    """The names of metrics and labels in a query that are not there."""
    named = re.findall(r"\b(transaction_alerts_\w+|up)\b(?:\{([^}]*)\})?", query)
    wrong = {name for name, _ in named if name not in known}
    for name, selected in named:
        wrong |= {f"{name}.{label}" for label in re.findall(r"(\w+)\s*(?:=|!)", selected)} - {
            f"{name}.{label}" for label in known.get(name, ())
        }
    together = set().union(*(known.get(name, set()) for name, _ in named))
    for labels in re.findall(r"\bby \(([^)]*)\)", query):
        wrong |= {label.strip() for label in labels.split(",")} - together
    return wrong


def test_everything_asked_for_is_there(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each metric and label in a query of the dashboard or in a rule exists in what the service exposes."""
    for amount in ("150.00", "0"):
        client.post("/event", json={"type": "withdraw", "amount": amount, "user_id": 1, "time": 1})
    figures = WebhookFigures(waiting=0, oldest=0.0, held=False, disabled=0, counts={1: (0, 0, 0)})
    monkeypatch.setattr(metrics, "_of_webhooks", figures)  # as if they had been read
    known = labels_of_metrics(client.get("/metrics").text) | {OWN: ADDED}
    asked = [*queries(), *(rule["expr"] for rule in RULES)]
    assert {query: unknown(query, known) for query in asked if unknown(query, known)} == {}
    for rule in RULES:
        shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert shown <= set(re.findall(r"\w+", rule["expr"])) | ADDED
    # And the dashboard leaves none out.
    families = {family.name for family in text_string_to_metric_families(client.get("/metrics").text)}
    assert {name for name in families if not any(name in query for query in queries())} == set()


def test_a_wrong_name_is_found() -> None:
    """However it is written."""
    known = {"transaction_alerts_alerts_total": {"code", *ADDED}, OWN: ADDED}
    for query in (
        "transaction_alerts_alerts",
        'transaction_alerts_alerts_total{status="1"}',
        "sum by (code, status) (transaction_alerts_alerts_total)",
        'up{code="1"}',
    ):
        assert unknown(query, known)
    assert unknown('sum by (code) (rate(transaction_alerts_alerts_total{code!="1", job="a"}[5m]))', known) == set()


def test_the_dashboard_is_whole() -> None:
    """Grafana can place each panel, asks the source of data that its reader has chosen, and knows each variable."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert cells & taken == set()
        assert max(x for x, _ in cells) < 24
        taken |= cells
    for panel in panels():
        assert panel["title"]
        assert panel["targets"]
        assert {one["datasource"]["uid"] for one in (panel, *panel["targets"])} == {"${datasource}"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert used == set(variables)


def test_every_alert_has_its_part_of_the_runbook() -> None:
    """And the runbook has no other; each says what one sees, where to look and what to do."""
    page = (ROOT / "docs/runbook.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE))
    assert list(sections) == [rule["alert"] for rule in RULES]
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert re.findall(r"^\*\*(.+?)\*\*", sections[rule["alert"]], re.MULTILINE) == ["Symptom.", "Look.", "Do."]


@needs_prometheus
def test_the_rules_fire_when_they_should() -> None:
    """Promtool takes them, and runs their own tests, in which each of them fires."""
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]):
        ended = subprocess.run(["promtool", *command], cwd=FOLDER, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    tests = (FOLDER / "alerts.test.yml").read_text()
    assert [rule["alert"] for rule in RULES if not re.search(rf"alertname(=\"|: ){rule['alert']}\b", tests)] == []


class Prometheus:
    """Debian's Prometheus, which reads the metrics at `target` and has the rules."""

    def __init__(self, target: str, folder: Path) -> None:
        self.port = free_port()
        config = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [str(FOLDER / "alerts.yml")],
            "scrape_configs": [{"job_name": "transaction-alerts", "static_configs": [{"targets": [target]}]}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def ask(self, path: str, **parameters: str) -> Any:
        """What its API answers; None until it answers at all."""
        with suppress(requests.ConnectionError):
            answer = requests.get(f"http://127.0.0.1:{self.port}/api/v1/{path}", params=parameters, timeout=PATIENCE)
            if answer.status_code != 503:  # it is starting
                assert answer.status_code == 200, answer.text
                return answer.json()["data"]
        assert self._process.poll() is None
        return None

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._log.close()


@pytest.fixture
def watched(database_url: str, tmp_path: Path) -> Iterator[tuple[Service, Prometheus]]:
    """The real service, and the Prometheus that reads its metrics on their own port."""
    port = str(free_port())
    with Service(PATIENT_ENVIRONMENT | {"DATABASE_URL": database_url, "METRICS_PORT": port}) as service:
        prometheus = Prometheus(f"127.0.0.1:{port}", tmp_path)
        try:
            yield service, prometheus
        finally:
            prometheus.stop()


@needs_prometheus
def test_prometheus_reads_the_service_and_takes_the_rules(watched: tuple[Service, Prometheus]) -> None:
    """The target is up, every rule is healthy, and each panel of the dashboard shows something.

    But for those of webhooks, of which this service has none: those are only asked.
    """
    service, prometheus = watched

    def healths() -> list[str]:
        found = prometheus.ask("rules") or {"groups": []}
        return [rule["health"] for group in found["groups"] for rule in group["rules"]]

    wait_until(lambda: healths() == ["ok"] * len(RULES))
    wait_until(lambda: [one["health"] for one in prometheus.ask("targets")["activeTargets"]] == ["up"])
    left = {
        query.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*") for query in queries()
    }

    def shows_everything() -> bool:
        event: Any = {"type": "withdraw", "amount": "150.00", "user_id": 1, "time": 1}
        assert requests.post(f"{service.url}/event", json=event, timeout=PATIENCE).status_code == 200
        for query in list(left):
            found = prometheus.ask("query", query=query)["result"]
            if "_webhook_" in query or [one for one in found if one["value"][1] != "NaN"]:
                left.remove(query)
        return not left

    wait_until(shows_everything)
