"""Rules: what they are set to, now and before, and setting them to something else."""

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from flask import Blueprint, Response
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from database import alerts, rule_versions
from database.session import begin, commit, sqlstate
from routes.http.answers import json_answer
from routes.http.etags import changed, must_match, tagged
from routes.http.hooks import service
from routes.http.json_body import parse_object, read_json, validate
from routes.http.operation import Operation, describe
from routes.http.paging import BAD_QUERY, cut, place, read_query
from routes.http.problems import DATABASE_AWAY, NOT_JSON, TOO_LARGE, FieldProblem, Problem
from routes.schemas.answer_fields import rfc3339
from routes.schemas.rules import (
    CHANGES,
    RuleAnswer,
    RuleRequest,
    RulesAnswer,
    RuleSettingRequest,
    RuleVersionsAnswer,
    VersionsQuery,
)
from rules.base import RuleSetting
from rules.parameters import Parameter
from rules.registry import REGISTRY
from rules.versions import RuleChange, RuleVersions, written_values

T = TypeVar("T")

blueprint = Blueprint("rules", __name__)

CODE = {"code": {"schema": {"type": "integer", "enum": list(REGISTRY)}, "example": 1100}}  # the rules there are
BAD_PARAMETER = Problem(
    400,
    "The request has missing or bad fields.",
    errors=[FieldProblem("/parameters/threshold", 'must be money such as "42.00", 0.00 to 999999999999.99')],
)

# The figures look at so many alerts at most: some tens of milliseconds.
COUNTED = 100_000
# Whoever wants to judge waits behind a change that waits for those who judge already. So it does not wait for long,
# and lets all of them pass before it tries again.
LOCK_MILLISECONDS, PAUSES = 1000, (0.1, 0.2, 0.4)
LOCK_NOT_AVAILABLE = "55P03"
# No author would mean that nobody has set the rule.
UNKNOWN_AUTHOR = "unknown"


def unknown_rule(code: int) -> Problem:
    """The answer where there is no such rule."""
    return Problem(404, f"There is no rule {code}.", kind="unknown-rule")


class Present(NamedTuple):
    """What a rule is set to now, by whom, why and when."""

    version: RuleSetting
    author: str | None
    note: str | None
    created_at: datetime


@blueprint.get("/rules")
@describe(Operation(answers={200: RulesAnswer}, problems=(DATABASE_AWAY,)))
def list_rules() -> Response:
    """List all rules as they are set now.

    They stand in the order in which an answer to an event lists their codes. `figures` counts the alerts that stand,
    among the newest 100,000 of all rules; those of a rule in shadow count apart.
    """
    present, figures = service().run(lambda session: (present_rules(session), _figures(session)))
    return json_answer({"rules": [_rule(code, one, figures) for code, one in present.items()]})


@blueprint.get("/rules/<id:code>")
@describe(Operation(path=CODE, answers={200: RuleAnswer}, problems=(unknown_rule(7), DATABASE_AWAY), tagged=True))
def get_rule(code: int) -> Response:
    """Read a rule as it is set now."""
    _must_exist(code)
    present, figures = service().run(lambda session: (present_rules(session)[code], _figures(session)))
    return tagged(_rule(code, present, figures), present.version.version)


@blueprint.get("/rules/<id:code>/versions")
@describe(
    Operation(
        path=CODE,
        query=VersionsQuery,
        answers={200: RuleVersionsAnswer},
        problems=(BAD_QUERY, unknown_rule(7), DATABASE_AWAY),
    )
)
def list_rule_versions(code: int) -> Response:
    """List what a rule was ever set to, newest first.

    `next` is the cursor of the next page.
    """
    _must_exist(code)
    query = read_query(VersionsQuery)
    before = place(query)

    def read(session: Session) -> Any:
        service().rules(session)
        # One more than the page shows whether there is a next one.
        return rule_versions.page_of_rule_versions(session, code, query.limit + 1, before[0] if before else None)

    page, following = cut(service().run(read), query, lambda row: (row.version,))
    versions = [_setting(row, row.parameters, row.by_risk, row) for row in page]
    return json_answer({"versions": versions, "next": following})


@blueprint.put("/rules/<id:code>")
@describe(
    Operation(
        path=CODE,
        body=RuleRequest,
        answers={200: RuleAnswer},
        problems=(BAD_PARAMETER, unknown_rule(7), changed(), TOO_LARGE, NOT_JSON, DATABASE_AWAY),
        tagged=True,
    )
)
def put_rule(code: int) -> Response:
    """Set a rule to something else.

    Makes a new version, which holds for every event that is judged after the answer. What is left out stays as it is,
    a parameter too; `by_risk` replaces all that there was. With `If-Match` it is a 412 where somebody else has set the
    rule meanwhile; without it the later one wins, and the versions show both.
    """
    _must_exist(code)
    wanted = validate(CHANGES[code], parse_object(read_json()))
    figures = service().run(_figures)
    changed = _patiently(lambda session: _change(session, code, wanted))
    return tagged(_rule(code, changed, figures), changed.version.version)


def present_rules(session: Session) -> dict[int, Present]:
    """What each rule is set to now, by code in the registry's order. Not for use within a transaction."""
    service().rules(session)  # so that what the declarations and RULES say is stored
    return _present(session)


def _present(session: Session) -> dict[int, Present]:
    rows = {row.code: row for row in rule_versions.newest_rule_versions(session)}
    book = RuleVersions(RuleChange._make(row[: len(RuleChange._fields)]) for row in rows.values()).newest
    return {
        code: Present(version, rows[code].author, rows[code].note, rows[code].created_at)
        for code, version in book.versions.items()
    }


def _figures(session: Session) -> dict[int, Any]:
    service().rules(session)
    return {row.code: row for row in alerts.count_alerts(session, COUNTED)}


def _change(session: Session, code: int, wanted: RuleSettingRequest) -> Present:
    begin(session)
    rule_versions.lock_rules(session, LOCK_MILLISECONDS)
    before = _present(session)[code].version
    must_match(before.version)
    status = wanted.status if "status" in wanted.model_fields_set else before.status
    parameters = written_values(before.parameters) | (wanted.parameters.given() if wanted.parameters else {})
    by_risk = _by_risk(before) if wanted.by_risk is None else wanted.by_risk.given()
    author, note = wanted.author or UNKNOWN_AUTHOR, wanted.note or None
    rule_versions.change_rule(session, code, status, json.dumps(parameters), json.dumps(by_risk), author, note)
    changed = _present(session)[code]
    commit(session)
    return changed


def _patiently(work: Callable[[Session], T]) -> T:
    for pause in PAUSES:
        try:
            return service().run(work)
        except OperationalError as error:
            if sqlstate(error) != LOCK_NOT_AVAILABLE:
                raise
        time.sleep(pause)
    return service().run(work)


def _must_exist(code: int) -> None:
    if code not in REGISTRY:
        raise unknown_rule(code)


def _rule(code: int, present: Present, figures: dict[int, Any]) -> dict[str, object]:
    version, counted = present.version, figures.get(code)
    parameters = written_values(version.parameters)
    return {
        "code": code,
        "title": version.rule.title.format_map(parameters),
        **_setting(version, parameters, _by_risk(version), present),
        "fires_on": version.rule.fires_on,
        "declared": [_declared(parameter) for parameter in version.rule.declared],
        "figures": {
            "alerts": counted.alerts if counted else 0,
            "shadow_alerts": counted.shadow_alerts if counted else 0,
            "among": COUNTED,
        },
    }


def _setting(version: Any, parameters: Any, by_risk: Any, who: Any) -> dict[str, object]:
    return {
        "status": version.status,
        "version": version.version,
        "parameters": parameters,
        "by_risk": by_risk,
        "author": who.author,
        "note": who.note,
        "created_at": rfc3339(who.created_at),
    }


def _by_risk(version: RuleSetting) -> dict[str, dict[str, str | int]]:
    return {risk: written_values(values) for risk, values in version.by_risk.items()}


def _declared(parameter: Parameter) -> dict[str, object]:
    values = {"default": parameter.default, "least": parameter.least, "most": parameter.most}
    return {
        "name": parameter.name,
        "unit": parameter.unit,
        **written_values(values),
        "scaled": parameter.scaled,
        "why": parameter.why,
    }
