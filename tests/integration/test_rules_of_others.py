"""A start with other RULES: what it changes for a service that runs, and that this is asked first."""

import os
import signal
import subprocess
import sys
import tempfile
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests
from sqlalchemy import make_url

from app import make_service
from commands import start_rules
from config_loader import load_settings
from database import presence
from tests.service import ROOT, Service, free_port
from tests.waiting import wait_until

OTHERS = "1100,500"
CHANGES = [
    "  rule 30: from active to off",
    "  rule 300: from active to off",
    "  rule 123: from active to off",
    "  rule 500: from off to active",
]


def enter(url: str, **settings: Any) -> None:
    """The rules as at a start with these settings."""
    chosen = load_settings(None, database_url=url, **settings)
    start_rules.enter(make_service(chosen, url), may_change_others=chosen.rules_apply)


def active(service: Service) -> list[int]:
    """The codes of the rules that are active, as `service` says."""
    found = requests.get(f"{service.url}/rules", timeout=60).json()["rules"]
    return [rule["code"] for rule in found if rule["status"] == "active"]


def test_a_start_does_not_change_a_living_service_unasked(
    start_service: Any, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with 2 and names each rule; with RULES_APPLY=true, or when nobody is alive any more, it says so."""
    service = start_service()
    wait_until(lambda: presence.is_anybody_serving(database_url))
    environment = os.environ | {"DATABASE_URL": database_url, "RULES": OTHERS, "BACKEND_PORT": str(free_port())}
    ended = subprocess.run(
        [sys.executable, ROOT / "app.py"], env=environment, cwd=tempfile.gettempdir(), capture_output=True, text=True
    )
    assert ended.returncode == 2
    lines = ended.stderr.splitlines()
    assert [line for line in lines if line in CHANGES] == CHANGES
    assert "RULES_APPLY=true changes them for both; RULES=1100,30,300,123 leaves" in lines[-1]
    assert active(service) == [1100, 30, 300, 123]

    other_schema = make_url(database_url).update_query_dict({"options": "-csearch_path=pg_catalog"})
    assert not presence.is_anybody_serving(other_schema.render_as_string(hide_password=False))

    enter(database_url)  # by the same rules
    assert capsys.readouterr().err == ""
    enter(database_url, rules=OTHERS, rules_apply=True)
    assert [line for line in capsys.readouterr().err.splitlines() if line in CHANGES] == CHANGES
    assert active(service) == [1100, 500]
    with pytest.raises(start_rules.RulesOfOthers, match="rule 30: from off to active"):
        enter(database_url)

    service.stop(signal.SIGKILL)
    wait_until(lambda: not presence.is_anybody_serving(database_url))
    enter(database_url)
    assert "  rule 30: from off to active" in capsys.readouterr().err


def test_no_advice_that_would_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no rule is active, RULES cannot say so: empty, it means the default."""
    monkeypatch.setattr(presence, "is_anybody_serving", lambda _: True)
    asking = SimpleNamespace(url="", enter_rules=lambda approve: approve([], []), dispose=lambda: None)
    with pytest.raises(start_rules.RulesOfOthers, match=r"RULES_APPLY=true changes them for both\.$"):
        start_rules.enter(cast(Any, asking), may_change_others=False)


def test_the_first_start_changes_nothing(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is new in the database is not announced as a change."""
    enter(database_url, rules=OTHERS)
    assert capsys.readouterr().err == ""
