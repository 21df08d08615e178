"""Rules: read what they are and were set to, and change it."""

from collections.abc import Mapping

from flask import Blueprint, Response, current_app
from sqlalchemy.orm import Session

from database import alerts
from routes.http.access import caller, must_be_author
from routes.http.answers import json_answer
from routes.http.bodies import TOO_LARGE
from routes.http.etags import changed, must_match, tagged
from routes.http.hooks import service
from routes.http.json_body import read_model
from routes.http.kept import Kept
from routes.http.operation import Operation, describe
from routes.http.paging import BAD_QUERY, cut, place, read_query
from routes.http.problems import DATABASE_AWAY, EXHAUSTED, NOT_JSON, OVERLOADED, Problem
from routes.http.unknown import unknown_rule
from routes.schemas.rule_answers import FiguresAnswer, RuleAnswer, RulesAnswer, RuleVersionAnswer, RuleVersionsAnswer
from routes.schemas.rules import CHANGES, RuleRequest, VersionsQuery
from rules.payload import FieldProblem
from rules.registry import REGISTRY

blueprint = Blueprint("rules", __name__)

CODE = {"code": {"description": f"The code of a rule: {', '.join(map(str, REGISTRY))}.", "example": 1100}}
BAD_PARAMETER = Problem(
    400,
    "The request has missing or bad fields.",
    errors=[FieldProblem("/parameters/threshold", 'must be money such as "42.00", 0.00 to 999999999999.99')],
)

# How many alerts the figures count at most, and how many seconds they are kept: counting takes some tens of
# milliseconds, and must not take them from events each time that somebody reads the rules.
COUNTED, FIGURES_SECONDS = 100_000, 5.0
_FIGURES = "figures-of-rules"

Figures = Mapping[int, FiguresAnswer]

blueprint.record_once(lambda state: state.app.extensions.setdefault(_FIGURES, Kept(FIGURES_SECONDS)))


@blueprint.get("/rules")
@describe(Operation(needs="read", answers={200: RulesAnswer}, problems=(DATABASE_AWAY,)))
def list_rules() -> Response:
    """List all rules as they are set now.

    They are in the order in which an answer to an event lists their codes. `figures` counts each rule's alerts that
    still stand among the newest 100,000 of all rules, as it was at most 5 seconds ago; alerts raised in shadow are
    counted separately.
    """
    present, figures = service().read(lambda session: (service().rules(session), _figures(session)))
    return json_answer(RulesAnswer(rules=[RuleAnswer.now(one, figures[code]) for code, one in present.items()]))


@blueprint.get("/rules/<id:code>")
@describe(
    Operation(
        needs="read", path=CODE, answers={200: RuleAnswer}, problems=(unknown_rule(7), DATABASE_AWAY), tagged=True
    )
)
def get_rule(code: int) -> Response:
    """Read a rule as it is set now."""
    _must_exist(code)
    present, figures = service().read(lambda session: (service().rules(session)[code], _figures(session)))
    return tagged(RuleAnswer.now(present, figures[code]), present.setting.version)


@blueprint.get("/rules/<id:code>/versions")
@describe(
    Operation(
        needs="read",
        path=CODE,
        query=VersionsQuery,
        answers={200: RuleVersionsAnswer},
        problems=(BAD_QUERY, unknown_rule(7), DATABASE_AWAY),
    )
)
def list_rule_versions(code: int) -> Response:
    """List everything a rule has been set to, newest first.

    `next` is the cursor of the next page.
    """
    _must_exist(code)
    query = read_query(VersionsQuery)
    before = place(query)
    found = service().read(
        lambda session: service().page_of_rule_versions(session, code, query.to_read, before[0] if before else None)
    )
    page, following = cut(found, query, lambda row: (row.version,))
    return json_answer(RuleVersionsAnswer(versions=[RuleVersionAnswer.of(row) for row in page], next=following))


@blueprint.put("/rules/<id:code>")
@describe(
    Operation(
        needs="tune",
        path=CODE,
        body=RuleRequest,
        answers={200: RuleAnswer},
        problems=(
            BAD_PARAMETER,
            unknown_rule(7),
            EXHAUSTED,
            changed(),
            TOO_LARGE,
            NOT_JSON,
            DATABASE_AWAY,
            OVERLOADED,
        ),
        tagged=True,
    )
)
def set_rule(code: int) -> Response:
    """Change what a rule is set to.

    Makes a new version, which is in force for every event judged after the answer. What is left out stays as it is,
    single parameters included; `by_risk` is replaced as a whole. With `If-Match`, the answer is a 412 if somebody else
    has changed the rule in the meantime; without it, the last change wins, and the versions show both.
    """
    _must_exist(code)
    wanted = read_model(CHANGES[code])
    must_be_author(wanted.author)
    figures = service().read(_figures)
    new = service().set_rule(code, wanted.setting(caller().name), must_match)
    return tagged(RuleAnswer.now(new, figures[code]), new.setting.version)


def _figures(session: Session) -> Figures:
    kept: Kept[Figures] = current_app.extensions[_FIGURES]
    return kept.get(lambda: _count(session))


def _count(session: Session) -> Figures:
    counted = {row.code: row for row in alerts.count_alerts(session, COUNTED)}
    none = FiguresAnswer(alerts=0, shadow_alerts=0, among=COUNTED)
    return {
        code: FiguresAnswer(alerts=counted[code].alerts, shadow_alerts=counted[code].shadow_alerts, among=COUNTED)
        if code in counted
        else none
        for code in REGISTRY
    }


def _must_exist(code: int) -> None:
    if code not in REGISTRY:
        raise unknown_rule(code)
