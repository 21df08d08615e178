"""Rules: what they are set to, now and before, and setting them to something else."""

from typing import Any

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from database import alerts
from routes.http.answers import json_answer
from routes.http.etags import changed, must_match, tagged
from routes.http.hooks import service
from routes.http.json_body import read_model
from routes.http.operation import Operation, describe
from routes.http.paging import BAD_QUERY, cut, place, read_query
from routes.http.problems import DATABASE_AWAY, NOT_JSON, TOO_LARGE, Problem
from routes.schemas.fields import rfc3339
from routes.schemas.rules import (
    CHANGES,
    RuleAnswer,
    RuleRequest,
    RulesAnswer,
    RuleVersionsAnswer,
    VersionsQuery,
)
from rules.parameters import Parameter, written_values
from rules.payload import FieldProblem
from rules.registry import REGISTRY
from rules.versions import RuleChange

blueprint = Blueprint("rules", __name__)

CODE = {"code": {"schema": {"type": "integer", "enum": list(REGISTRY)}, "example": 1100}}  # the rules there are
BAD_PARAMETER = Problem(
    400,
    "The request has missing or bad fields.",
    errors=[FieldProblem("/parameters/threshold", 'must be money such as "42.00", 0.00 to 999999999999.99')],
)

# The figures look at so many alerts at most: some tens of milliseconds.
COUNTED = 100_000


def unknown_rule(code: int) -> Problem:
    """The answer where there is no such rule."""
    return Problem(404, f"There is no rule {code}.", kind="unknown-rule")


@blueprint.get("/rules")
@describe(Operation(answers={200: RulesAnswer}, problems=(DATABASE_AWAY,)))
def list_rules() -> Response:
    """List all rules as they are set now.

    They stand in the order in which an answer to an event lists their codes. `figures` counts the alerts that stand,
    among the newest 100,000 of all rules; those of a rule in shadow count apart.
    """
    present, figures = service().run(lambda session: (service().rules(session), _figures(session)))
    return json_answer({"rules": [_rule(change, figures) for change in present.values()]})


@blueprint.get("/rules/<id:code>")
@describe(Operation(path=CODE, answers={200: RuleAnswer}, problems=(unknown_rule(7), DATABASE_AWAY), tagged=True))
def get_rule(code: int) -> Response:
    """Read a rule as it is set now."""
    _must_exist(code)
    present, figures = service().run(lambda session: (service().rules(session)[code], _figures(session)))
    return tagged(_rule(present, figures), present.setting.version)


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

    # One more than the page shows whether there is a next one.
    found = service().run(
        lambda session: service().page_of_rule_versions(session, code, query.limit + 1, before[0] if before else None)
    )
    page, following = cut(found, query, lambda row: (row.version,))
    versions = [_version(row, row.parameters, row.by_risk, row) for row in page]
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
    wanted = read_model(CHANGES[code])
    figures = service().run(_figures)
    changed = service().set_rule(code, wanted.setting(), must_match)
    return tagged(_rule(changed, figures), changed.setting.version)


def _figures(session: Session) -> dict[int, Any]:
    return {row.code: row for row in alerts.count_alerts(session, COUNTED)}


def _must_exist(code: int) -> None:
    if code not in REGISTRY:
        raise unknown_rule(code)


def _rule(change: RuleChange, figures: dict[int, Any]) -> dict[str, object]:
    setting, counted = change.setting, figures.get(change.setting.code)
    parameters = written_values(setting.parameters)
    by_risk = {risk: written_values(values) for risk, values in setting.by_risk.items()}
    return {
        "code": setting.code,
        "title": setting.rule.title.format_map(parameters),
        **_version(setting, parameters, by_risk, change),
        "fires_on": setting.rule.fires_on,
        "declared": [_declared(parameter) for parameter in setting.rule.declared],
        "figures": {
            "alerts": counted.alerts if counted else 0,
            "shadow_alerts": counted.shadow_alerts if counted else 0,
            "among": COUNTED,
        },
    }


def _version(setting: Any, parameters: Any, by_risk: Any, who: Any) -> dict[str, object]:
    return {
        "status": setting.status,
        "version": setting.version,
        "parameters": parameters,
        "by_risk": by_risk,
        "author": who.author,
        "note": who.note,
        "created_at": rfc3339(who.created_at),
    }


def _declared(parameter: Parameter) -> dict[str, object]:
    values = {"default": parameter.default, "least": parameter.least, "most": parameter.most}
    return {
        "name": parameter.name,
        "unit": parameter.unit,
        **written_values(values),
        "scaled": parameter.scaled,
        "why": parameter.why,
    }
