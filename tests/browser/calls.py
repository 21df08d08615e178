"""All calls of the service, as a page would send them, and what is stored before and after."""

import json
from collections import Counter
from typing import Any, NamedTuple

import requests
from playwright.sync_api import Page
from sqlalchemy import text
from sqlalchemy.orm import Session

from database.backtests import in_the_way
from database.models import Base
from routes.http.pages import DESK
from tests.keys import app_without_database
from tests.postgres import engine_on
from tests.service import Service
from tests.waiting import PATIENCE, wait_until

EVENT: dict[str, Any] = {"type": "withdraw", "amount": "150.00", "user_id": 1, "time": 10}
# What is there to be changed: of this event, and of the rules.
THERE = {"{user_id}": "1", "{code}": "1100", "{alert_id}": "1-1-1100"}
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
# What stands in the paths of the desk's forms, by its converter's argument, and fields that make each of them do
# something: others than its own are passed over.
IN_A_PATH = {"user_id": 1, "code": 1100, "alert_id": "1-1-1100", "view_id": 1, "backtest_id": 1, "webhook_id": 1}
FIELDS = {
    "do": "mine",
    "confirm": "1",
    "etag": "0",
    "all": "yes",
    "list": "",
    "name": "Ours",
    "code": "1100",
    "days": "7",
    "note": "x",
    "version": "0",
    "risk": "high",
    "new-note": "x",
    "threshold": "90.00",
}
OF_FORM = {
    f"{DESK}/send": {"as": "form", "do": "send", "type": "deposit", "amount": "1.00", "user_id": "1", "time": "99"},
    f"{DESK}/webhooks": {"newest": "0", "url": "https://example.com", "events": "alert.created"},
    f"{DESK}/rules/1100/restore": {"version": "1", "new-note": "x"},
}
# Counts of requests, refused ones too; and what a job counts, whoever asks for something.
COUNTS = {"key_uses", "daily_figures", "daily_users", "minute_figures", "figures_progress"}


class Call(NamedTuple):
    """A call: `url` is where it is sent. A form has `fields` besides, which is what pages send of it."""

    method: str
    url: str
    body: str
    fields: dict[str, str] | None = None


def document_of(service: Service, **headers: str) -> dict[str, Any]:
    """The OpenAPI document of the service."""
    answer = requests.get(f"{service.url}/openapi.json", headers=headers, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def changing_calls(document: dict[str, Any], url: str) -> list[Call]:
    """Every call of the document that is no read, with its own example as the body, to be sent to `url`."""
    return [
        Call(method.upper(), url + _filled(path), json.dumps(_example(operation)))
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method.upper() in UNSAFE
    ]


def forms(url: str) -> list[Call]:
    """Every form of the desk's pages, filled in, to be sent to `url`."""
    found = []
    for rule in app_without_database().url_map.iter_rules():
        if rule.rule.startswith(f"{DESK}/") and "POST" in (rule.methods or ()):
            built = rule.build({name: IN_A_PATH[name] for name in rule.arguments})
            assert built is not None
            fields = OF_FORM.get(built[1], FIELDS)
            found.append(Call("POST", url + built[1], json.dumps(fields), fields))
    return found


def read_urls(document: dict[str, Any], url: str) -> dict[str, list[str]]:
    """Where everything can be read that the document describes: what browsers show, and what they save as a file."""
    found: dict[str, list[str]] = {"shown": [], "saved": []}
    for path, item in document["paths"].items():
        if "get" in item:
            kinds = item["get"]["responses"].get("200", {}).get("content", {})
            is_saved = path.endswith("/export") or any(kind.startswith("text/csv") for kind in kinds)
            found["saved" if is_saved else "shown"].append(url + _filled(path))
    return found


def _filled(path: str) -> str:
    for name, value in THERE.items():
        path = path.replace(name, value)
    return path.replace("{", "").replace("}", "")


def _example(operation: dict[str, Any]) -> Any:
    content = operation.get("requestBody", {}).get("content", {})
    return content.get("application/json", {}).get("example", {})


def stored(database_url: str) -> dict[str, str]:
    """All that is stored, as one text for each table."""
    with engine_on(database_url) as engine, engine.connect() as connection:
        return {
            table: str(
                connection.execute(
                    text(f"SELECT string_agg(row::text, ' ' ORDER BY row::text) FROM {table} AS row")
                ).scalar_one()
            )
            for table in Base.metadata.tables
            if table not in COUNTS
        }


def is_backtest_under_way(database_url: str) -> bool:
    """Whether a backtest runs, or has processes left: what is stored of it changes by itself."""
    with engine_on(database_url) as engine, Session(engine) as session:
        return in_the_way(session) is not None


def answered(service: Service) -> Counter[tuple[str, int]]:
    """How many requests that are no reads the service has answered so far, by method and status; it logs each."""
    lines = [json.loads(line) for line in service.output().splitlines() if '"event":"request"' in line]
    return Counter((one["method"], one["status"]) for one in lines if one["method"] in (*UNSAFE, "OPTIONS"))


def attack(page: Page, calls: list[Call]) -> None:
    """Have a page of somebody else try each call in every way."""
    page.evaluate("attack", [call._asdict() for call in calls])


def arrived(counts: Counter[tuple[str, int]]) -> Counter[str]:
    """The same by method."""
    found: Counter[str] = Counter()
    for (method, _), count in counts.items():
        found[method] += count
    return found


def attack_until_all_arrived(
    page: Page, calls: list[Call], service: Service, expected: Counter[str]
) -> Counter[tuple[str, int]]:
    """Attack the service, and wait until as much has arrived as is expected. Returns how it was answered."""
    before = answered(service)
    attack(page, calls)
    wait_until(lambda: arrived(answered(service) - before) == expected)
    return answered(service) - before
