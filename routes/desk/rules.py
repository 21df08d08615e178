"""All rules: what each is set to, and what it has raised lately."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from flask import Blueprint, Response

from database.alerts import codes_that_fired
from database.figures import FEWEST_DECIDED, RuleFigures, as_of, rule_figures
from routes.desk.charts import sparkline
from routes.desk.shell import page
from routes.http.hooks import service
from routes.http.operation import needs
from rules.base import Status
from rules.parameters import written_values
from rules.registry import REGISTRY
from rules.versions import RuleChange

blueprint = Blueprint("desk_rules", __name__, template_folder="../templates")

STATUSES: tuple[Status, ...] = ("active", "shadow", "off")
DAYS = 14


class ListedRule(NamedTuple):
    """A rule as a line of the list; without `figures` it raised nothing in these days."""

    code: int
    title: str
    status: Status
    version: int
    figures: RuleFigures | None
    has_fired: bool


@blueprint.get("/desk/rules")
@needs("read")
def list_rules() -> Response:
    """The rules, active ones first."""
    present, figures, counted, fired = service().read(
        lambda session: (
            service().rules(session),
            rule_figures(session, DAYS),
            as_of(session),
            codes_that_fired(session, list(REGISTRY)),
        )
    )
    groups = groups_of(present, figures, fired)
    return page("desk/rules.html", groups=groups, as_of=counted, days=DAYS, fewest=FEWEST_DECIDED, sparkline=sparkline)


def groups_of(
    present: Mapping[int, RuleChange], figures: Mapping[int, RuleFigures], fired: frozenset[int]
) -> list[tuple[Status, Sequence[ListedRule]]]:
    """The rules by status, in the order in which answers list their codes."""
    lines = [
        ListedRule(
            code=code,
            title=change.setting.rule.titled(written_values(change.setting.parameters)),
            status=change.setting.status,
            version=change.setting.version,
            figures=figures.get(code),
            has_fired=code in fired,
        )
        for code, change in present.items()
    ]
    lines.sort(key=lambda line: STATUSES.index(line.status))
    return [(status, list(group)) for status, group in groupby(lines, key=lambda line: line.status)]
