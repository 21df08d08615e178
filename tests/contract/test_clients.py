"""A client that a generator makes from the OpenAPI document works as people would use it."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from flask import Flask

from tests.conftest import ClientMaker
from tests.keys import app_without_database

NAME = "generated_alerts"
# It says so of the second form of a body, which it leaves out.
KNOWN = "Unsupported content type application/x-ndjson"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a generated client, which can be imported as NAME."""
    folder = tmp_path_factory.mktemp("clients")
    document = folder / "openapi.json"
    app = app_without_database()
    document.write_bytes(app.test_client().get("/openapi.json").data)
    made = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"),
            *("--path", str(document), "--output-path", str(folder / NAME)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    assert made.stdout.count("WARNING parsing") == made.stdout.count(KNOWN) == 1, made.stdout
    sys.path.insert(0, str(folder))
    try:
        yield folder / NAME
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
            del sys.modules[name]


def module(path: str) -> ModuleType:
    """A module of the generated client."""
    return importlib.import_module(f"{NAME}.{path}")


def client_of(app: Flask) -> Any:
    """The generated client, which talks to an application in this process."""
    client = module("client").Client(base_url="http://127.0.0.1", raise_on_unexpected_status=True)
    transport = httpx.WSGITransport(app=app)
    return client.set_httpx_client(httpx.Client(base_url="http://127.0.0.1", transport=transport))


def test_it_warns_of_nothing(generated: Path) -> None:
    """Every file of it is compiled without a warning: no text of the document breaks a string."""
    # Tests run with warnings as errors, and these would be warnings of the compiler.
    for file in generated.rglob("*.py"):
        compile(file.read_text(), str(file), "exec")


def test_its_types_are_few_and_have_names_for_people(generated: Path) -> None:
    """One type for each request and each list of words, whatever number of rules there is."""
    models = {file.stem for file in (generated / "models").glob("*.py")}
    assert {"event_request", "user_request", "rule_request", "action_type", "risk", "parameter_values"} <= models
    assert [name for name in models if any(letter.isdigit() for letter in name)] == []
    assert len(models) < 150


def test_it_posts_and_reads(generated: Path, make_client: ClientMaker) -> None:
    """It posts an event, lists its alerts, changes a rule and a user, and reads a 404 as a problem."""
    client = client_of(make_client().application)
    models = module("models")

    event = models.EventRequest(type_=models.ActionType.WITHDRAW, amount="150.00", user_id=7, time=10)
    decision = module("api.events.post_event").sync(client=client, body=event)
    assert (decision.alert, decision.alert_codes, decision.user_id) == (True, [1100], 7)

    page = module("api.alerts.list_alerts").sync(client=client, user_id=7, risk=models.Risk.NORMAL)
    assert [(alert.id, alert.amount, alert.evidence.measured) for alert in page.alerts] == [
        ("7-1-1100", "150.00", "150.00")
    ]
    assert page.next_ is None

    user = module("api.users.create_user").sync(client=client, body=models.UserRequest(name="Ada"))
    assert (user.name, user.total, user.risk) == ("Ada", "0.00", models.Risk.NORMAL)

    threshold = models.ParameterValues.from_dict({"threshold": "50.00"})
    change = models.UserChangeRequest(overrides=models.Overrides.from_dict({"1100": {"threshold": "50.00"}}))
    changed = module("api.users.change_user").sync(user_id=7, client=client, body=change)
    assert changed.overrides["1100"]["threshold"] == "50.00"
    rule = module("api.rules.set_rule").sync(1100, client=client, body=models.RuleRequest(parameters=threshold))
    assert rule.parameters["threshold"] == "50.00"

    many = module("api.events.post_events").sync(client=client, body=[event, event])
    assert [result.alert_codes for result in many.results] == [[1100], [1100, 30]]

    missing = module("api.alerts.get_alert").sync_detailed("7-9-1100", client=client)
    assert isinstance(missing.parsed, models.ProblemAnswer)
    assert (missing.status_code, missing.parsed.type_) == (404, "urn:problem:unknown-alert")
    assert missing.parsed.detail == "There is no alert 7-9-1100."
    refused = module("api.events.post_event").sync(
        client=client,
        body=models.EventRequest.from_dict(
            {
                "type": "deposit",
                "amount": "0",
                "user_id": 7,
                "time": 10,
            }
        ),
    )
    assert [error.pointer for error in refused.errors] == ["/amount"]
