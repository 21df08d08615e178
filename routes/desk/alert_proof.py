"""The proof page of an alert: everything that proves it, to be printed and put aside."""

import json
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from database.alert_work import page_of_history
from database.models import AlertChange
from database.records import AlertKey
from routes.desk.alert_context import AlertContext, read_context
from routes.desk.forms import MAX_FORM
from routes.desk.shell import page
from routes.http.hooks import service
from routes.http.operation import needs
from routes.http.unknown import unknown_alert
from routes.http.verifying import Verified, verified
from work.alerts import HISTORY_SHOWN, UnknownAlert

blueprint = Blueprint("desk_alert_proof", __name__, template_folder="../templates")

MOST_LINES = 5_000  # of a history; what is beyond is named by its number


@blueprint.get("/desk/alerts/<alert:alert_id>/proof")
@needs("read")
def get_proof_page(alert_id: tuple[int, int, int]) -> Response:
    """Everything that proves an alert: its evidence, actions, rule, settings and history.

    A script asks for the verification as soon as the page is there: it may take a minute, and reads must not.
    """
    return _page(alert_id, None)


@blueprint.post("/desk/alerts/<alert:alert_id>/proof")
@needs("read", max_body=MAX_FORM)
def get_verified_proof_page(alert_id: tuple[int, int, int]) -> Response:
    """The same with the verification, which is made before."""
    return _page(alert_id, verified(*alert_id))


def _page(alert_id: tuple[int, int, int], verification: Verified | None) -> Response:
    key, has_dates = AlertKey._make(alert_id), service().policy.time_is_epoch

    def read(session: Session) -> tuple[AlertContext, list[AlertChange]]:
        found = read_context(session, key, has_dates=has_dates)
        return found, _history(session, key, found.history)

    try:
        found, history = service().read(read)
    except UnknownAlert:
        raise unknown_alert(*key) from None
    rule = found.version
    shown: dict[str, Any] = {
        "line": found.line,
        "found": found,
        "history": history,
        "answered": found.action.alert_codes,
        "rule_json": None if rule is None else {"parameters": _json(rule.parameters), "by_risk": _json(rule.by_risk)},
        "overrides": None if found.settings is None else _json(found.settings.overrides),
        "evidence_json": _members(found.evidence),
        "verified": verification,
        "host": request.host_url.rstrip("/"),
    }
    return page("desk/alert_proof.html", **shown)


def _history(session: Session, key: AlertKey, newest: Any) -> list[AlertChange]:
    """All lines of an alert's history, oldest first; the newest MOST_LINES if there are more."""
    lines = list(newest)
    while lines and lines[0].n > 1 and len(lines) < MOST_LINES:
        lines = [*page_of_history(session, key, HISTORY_SHOWN, lines[0].n)[::-1], *lines]
    return lines[-MOST_LINES:]


def _members(value: Mapping[str, Any]) -> str:
    """JSON with one member a line: lists of a hundred numbers stay short."""
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(one, ensure_ascii=False)}" for name, one in value.items())
    return f"{{\n{lines}\n}}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
