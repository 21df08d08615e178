"""GET /metrics: what is counted, under which labels, and that it counts right over all workers."""

import platform
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

import metrics
from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions, an_event
from tests.postgres import transaction
from tests.service import ROOT, Service
from tests.waiting import PATIENCE, kill, wait_until
from version import VERSION


def samples(text: Any) -> Any:
    """Every sample in the text format, by its name and the values of its labels in the order of the labels' names."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def counted(client: FlaskClient) -> Any:
    """Gives what has been added to a sample since the test began: metrics belong to the process, not to a test.

    It is named without the beginning that all names share.
    """
    before = samples(client.get("/metrics").text)

    def read(name: str, *labels: str) -> Any:
        key = (f"{metrics.NAMESPACE}_{name}", *labels)
        return samples(client.get("/metrics").text).get(key, 0) - before.get(key, 0)

    return read


def test_the_text_format(client: FlaskClient) -> None:
    """The answer is in Prometheus' text format."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type == "text/plain; version=1.0.0; charset=utf-8"
    assert samples(answer.text)


def test_names_and_build_info(client: FlaskClient) -> None:
    """Every name begins with that of the service; one metric says which version runs."""
    client.get("/healthz")
    families = list(text_string_to_metric_families(client.get("/metrics").text))
    names = {family.name for family in families}
    assert {name for name in names if not name.startswith("transaction_alerts_")} == set()
    assert len(names) == len(families) == 17
    [info] = [family.samples for family in families if family.name == "transaction_alerts_build_info"]
    python = platform.python_version()
    assert [(one.labels, one.value) for one in info] == [({"version": VERSION, "python": python}, 1)]


def test_every_metric_is_documented(client: FlaskClient) -> None:
    """The table in docs/operations.md has each by its name, and no other."""
    page = (ROOT / "docs/operations.md").read_text()
    families = text_string_to_metric_families(client.get("/metrics").text)
    names = {family.name + "_total" * (family.type == "counter") for family in families}
    assert set(re.findall(r"^\| `(transaction_alerts_\w+)` ", page, re.MULTILINE)) == names


def test_requests_by_route_method_and_status(client: FlaskClient, counted: Any) -> None:
    """Requests are counted under the rule of their route, never the path, with their times."""
    for user_id in (1, 2, 3):
        client.get(f"/users/{user_id}")
    client.post("/users", json={"user_id": 1})
    client.get("/users/1")
    assert counted("http_requests_total", "GET", "/users/{user_id}", "404") == 3
    assert counted("http_requests_total", "GET", "/users/{user_id}", "200") == 1
    assert counted("http_requests_total", "POST", "/users", "201") == 1
    assert counted("http_request_duration_seconds_count", "GET", "/users/{user_id}") == 4


def test_callers_cannot_make_labels(client: FlaskClient, counted: Any) -> None:
    """Unknown paths and methods share one label, so that a scan of the service does not fill the memory."""
    client.get("/no/such/path")
    client.get("/nor/this")
    client.open("/healthz", method="BREW")
    assert counted("http_requests_total", "GET", "none", "404") == 2
    assert counted("http_requests_total", "other", "none", "405") == 1
    assert "BREW" not in client.get("/metrics").text


def test_stages_batches_and_alerts(client: FlaskClient, counted: Any) -> None:
    """An event that is stored is one in each stage, one batch, and its alerts by code."""
    for second in (1, 2, 3):
        client.post("/event", json=an_event(type="withdraw", amount="150.00", time=second))
    stages = ("wait", "lock_and_read", "judge", "write_and_commit")
    assert {stage: counted("event_stage_duration_seconds_count", stage) for stage in stages} == dict.fromkeys(stages, 3)
    assert (counted("batch_events_count"), counted("batch_events_sum")) == (3, 3)
    assert (counted("alerts_total", "1100"), counted("alerts_total", "30")) == (3, 1)


def test_what_is_not_stored_raises_no_alert(make_client: ClientMaker, counted: Any) -> None:
    """Repeats and refused events count as requests, but their alerts are not counted again."""
    client = make_client(overdraft="reject")
    client.post("/users", json={"user_id": 1, "total": "200.00"})
    for _ in range(2):
        client.post("/event", json=an_event(type="withdraw", amount="150.00", event_id="a"))
    client.post("/event", json=an_event(type="withdraw", amount="150.00"))
    assert counted("http_requests_total", "POST", "/event", "200") == 2
    assert counted("http_requests_total", "POST", "/event", "409") == 1
    assert counted("alerts_total", "1100") == 1


def test_a_late_alert_counts_too(client: FlaskClient, counted: Any) -> None:
    """An alert that a late event raises on a later action is counted when it is stored."""
    client.post("/event", json=an_event(amount="150.00", time=20))
    client.post("/event", json=an_event(amount="100.00", time=10))
    assert counted("alerts_total", "123") == 1


def test_gauges_return_to_nothing(client: FlaskClient) -> None:
    """When all is answered nothing waits in line and no connection is in use."""
    client.post("/event", json=an_event())
    found = samples(client.get("/metrics").text)
    assert found[("transaction_alerts_queued_events",)] == found[("transaction_alerts_db_connections_in_use",)] == 0


def test_connections_in_use_are_seen(client: FlaskClient, make_client: ClientMaker) -> None:
    """A connection that is checked out of the pool counts until it is back."""
    engine = client.application.extensions["transaction-alerts"].database
    with engine.connect():
        assert samples(client.get("/metrics").text)[("transaction_alerts_db_connections_in_use",)] == 1
    assert samples(client.get("/metrics").text)[("transaction_alerts_db_connections_in_use",)] == 0


def test_no_values_of_users(client: FlaskClient) -> None:
    """Nobody's ids, amounts or names are in the metrics."""
    client.post("/event", json=an_event(user_id=424242, amount="151.37", event_id="kzqx", type="withdraw"))
    text = client.get("/metrics").text
    assert [word for word in ("424242", "151.37", "kzqx") if word in text] == []


def post(service: Service, first: Any, last: Any) -> None:
    """Post withdrawals, one after the other, each of which raises one alert, over a new connection for each."""
    for number in range(first, last):
        event = an_event(type="withdraw", amount="150.00", user_id=number)
        assert requests.post(f"{service.url}/event", json=event, timeout=PATIENCE).status_code == 200


def totals(service: Service) -> Any:
    """What the service has counted of posts, stored alerts, batched events and judged events, and its gauges."""
    found = samples(requests.get(f"{service.url}/metrics", timeout=PATIENCE).text)
    names = [
        ("transaction_alerts_http_requests_total", "POST", "/event", "200"),
        ("transaction_alerts_alerts_total", "1100"),
        ("transaction_alerts_batch_events_sum",),
        ("transaction_alerts_event_stage_duration_seconds_count", "wait"),
    ]
    gauges = (found[("transaction_alerts_queued_events",)], found[("transaction_alerts_db_connections_in_use",)])
    return [found[name] for name in names], gauges


def test_all_workers_count_together(start_service: Callable[..., Service]) -> None:
    """The sums are right whichever worker is asked, even after one was killed with -9 and replaced."""
    service = start_service(WORKERS="2")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda part: post(service, part * 25 + 1, part * 25 + 26), range(8)))
    wait_until(lambda: totals(service) == ([200] * 4, (0, 0)))  # an answer may come before it is counted
    assert [totals(service) for _ in range(10)] == [([200] * 4, (0, 0))] * 10

    before = service.workers()
    kill(before[0])
    wait_until(lambda: set(service.workers()) - set(before))
    post(service, 201, 251)
    wait_until(lambda: totals(service) == ([250] * 4, (0, 0)))
    assert [totals(service) for _ in range(10)] == [([250] * 4, (0, 0))] * 10


def test_a_killed_worker_leaves_no_gauge(start_service: Callable[..., Service], sessions: Sessions) -> None:
    """What a worker had in use and in line when it was killed is no longer counted."""
    service = start_service(WORKERS="1")
    (worker,) = service.workers()
    with transaction(sessions) as session, ThreadPoolExecutor(4) as threads:
        session.connection().exec_driver_sql("INSERT INTO users (user_id) VALUES (1)")

        def blocked(_: Any) -> None:
            try:
                requests.post(f"{service.url}/event", json=an_event(), timeout=PATIENCE)
            except requests.ConnectionError:
                return

        posts = [threads.submit(blocked, 0)]
        wait_until(lambda: totals_of_gauges(service) == (0, 1))
        posts += [threads.submit(blocked, number) for number in (1, 2, 3)]
        wait_until(lambda: totals_of_gauges(service) == (3, 1))
        kill(worker)
        for each in posts:
            each.result()
    service.wait_until_ready()
    wait_until(lambda: totals_of_gauges(service) == (0, 0))


def totals_of_gauges(service: Service) -> Any:
    """Events in line, and connections in use."""
    found = samples(requests.get(f"{service.url}/metrics", timeout=PATIENCE).text)
    return found[("transaction_alerts_queued_events",)], found[("transaction_alerts_db_connections_in_use",)]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_folder_of_the_metrics_goes_with_the_service(start_service: Callable[..., Service], how: Any) -> None:
    """The numbers of the workers are in a private folder that is removed at the end, even when the server is killed."""
    service = start_service()
    environment = Path(f"/proc/{service.workers()[0]}/maps").read_text()
    (folder,) = {Path(line.split()[-1]).parent for line in environment.splitlines() if line.endswith(".db")}
    assert folder.stat().st_mode & 0o777 == 0o700
    service.stop(how)
    assert not folder.exists()


def test_the_server_does_not_load_the_metrics_before_their_folder_is_named() -> None:
    """The library chooses where to count when it is first imported, which nothing that runs before the fork does.

    That is importing the application and making its service.
    """
    code = (
        "import sys, app, config_loader as c;"
        "settings = c.load_settings(None, database_url='postgresql://nobody@127.0.0.1:1/none');"
        "app.make_service(settings, settings.database);"
        "sys.exit('prometheus_client' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
