"""What the page of a rule shows: what is stored of it, and what was entered into its form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest
from typing import Any, NamedTuple

from flask import Response
from sqlalchemy.orm import Session

from database.alert_filters import AlertFilter
from database.alert_lists import page_of_alerts
from database.figures import RuleFigures, as_of, rule_figures
from database.records import RuleVersionRow
from routes.desk.alert_rows import AlertLine
from routes.desk.charts import sparkline
from routes.desk.rule_form import (
    BUDGET,
    END,
    NOTE,
    SEEN,
    START,
    STATUS,
    SWEEP,
    SWEEP_FROM,
    SWEEP_STEP,
    SWEEP_TO,
    Choice,
    Draft,
    SettingDifference,
    choices,
    differences,
    fields_of,
    in_force,
    propose_sweep,
    read_draft,
)
from routes.desk.rule_try import Try, place_of, read_try, recent_tries
from routes.desk.shell import page
from routes.http.hooks import service
from routes.http.unknown import unknown_rule
from rules.base import RuleSetting
from rules.hindsight.start import AnotherRuns
from rules.parameters import written_values
from rules.registry import REGISTRY
from rules.versions import RuleChange

VERSIONS = 10  # on a page
EXAMPLES = 5  # of alerts in shadow
_LABELS = {
    NOTE: "The note",
    SWEEP: "The sweep",
    SWEEP_FROM: "The first value of the sweep",
    SWEEP_TO: "The last value of the sweep",
    SWEEP_STEP: "The step of the sweep",
    BUDGET: "The budget",
    START: "The beginning of the period",
    END: "The end of the period",
}


class Version(NamedTuple):
    """A version of the rule, and in what it differs from the one before; None: there is none before."""

    change: RuleChange
    differences: list[SettingDifference] | None


@dataclass(frozen=True, kw_only=True)
class Entered:
    """What a page is shown with, besides what is stored: the texts of the form, what is wrong, and what happened."""

    texts: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    backtest_id: int | None = None
    before: int | None = None
    in_the_way: AnotherRuns | None = None
    moved_from: int | None = None
    said: str = ""
    status: int = 200


def rule_page(code: int, entered: Entered) -> Response:
    """The page of a rule. Raises Problem 404 if there is none, or no such try."""
    return page("desk/rule.html", status=entered.status, **shown(code, entered))


class RuleAsStored(NamedTuple):
    """What is read for the page of a rule."""

    present: RuleChange
    shown_try: Try | None
    tries: Sequence[Any]
    versions: list[Version]
    older: int | None
    figures: RuleFigures | None
    as_of: datetime | None
    in_shadow: list[AlertLine]
    other: tuple[str | None, str | None]
    moved_from: RuleChange | None


def shown(code: int, entered: Entered) -> dict[str, Any]:
    """What the templates of the page and of its parts need. Raises Problem 404."""
    must_exist(code)
    read = service().read(lambda session: _read(session, code, entered))
    present = read.present.setting
    shown_try = read.shown_try
    draft = read_draft(present, entered.texts, shown_try and shown_try.setting)
    differ = differences(present, draft.setting)
    is_of_try = shown_try is not None and shown_try.is_done and not draft.differs_from(shown_try.setting)
    return {
        "rule": present.rule,
        "present": read.present,
        "title": _title(present),
        "new_title": _title(draft.setting),
        "draft": draft,
        "names": {STATUS: "status", **_LABELS, **{one.name: one.label for one in fields_of(present.rule)}},
        "in_force": in_force(draft.setting),
        "faults": {**draft.faults, **entered.faults},
        "texts": {**entered.texts, **draft.texts},
        "differences": differ,
        "shown_try": shown_try,
        "tries": read.tries,
        "is_of_try": is_of_try,
        "has_changed": shown_try is not None and draft.differs_from(shown_try.setting),
        "proposals": {
            one.name: propose_sweep(one, draft.setting.parameters[one.name]) for one in present.rule.declared
        },
        "versions": read.versions,
        "older": read.older,
        "figures": read.figures,
        "as_of": read.as_of,
        "in_shadow": read.in_shadow,
        "in_the_way": entered.in_the_way,
        "other": read.other,
        "moved_from": read.moved_from,
        "choices": _choices(read, draft),
        "said": entered.said,
        "sparkline": sparkline,
        "version_seen": entered.texts.get(SEEN, present.version),
    }


def _read(session: Session, code: int, entered: Entered) -> RuleAsStored:
    present = service().rules(session)[code]
    epoch = service().policy.time_is_epoch
    found = service().page_of_rule_versions(session, code, VERSIONS + 1, entered.before)
    settings = [_stored(row) for row in found]
    versions = [
        Version(one, differences(earlier.setting, one.setting) if earlier else None)
        for one, earlier in zip_longest(settings, settings[1:])
    ][:VERSIONS]
    shadow = present.setting.status == "shadow"
    lines = page_of_alerts(session, AlertFilter(code=code, shadow=True), EXAMPLES, None).rows if shadow else ()
    return RuleAsStored(
        present=present,
        shown_try=read_try(session, code, entered.backtest_id, epoch) if entered.backtest_id else None,
        tries=recent_tries(session, code),
        versions=versions,
        older=versions[-1].change.setting.version if len(found) > VERSIONS else None,
        figures=rule_figures(session).get(code),
        as_of=as_of(session),
        in_shadow=[AlertLine.of(row) for row in lines],
        other=place_of(session, entered.in_the_way.backtest_id) if entered.in_the_way else (None, None),
        moved_from=(version_of(session, code, entered.moved_from) or present) if entered.moved_from else None,
    )


def _choices(read: RuleAsStored, draft: Draft) -> list[Choice]:
    if read.moved_from is None:
        return []
    return choices(read.moved_from.setting, read.present.setting, draft.texts)


def version_of(session: Session, code: int, version: int) -> RuleChange | None:
    """What a rule was set to at one of its versions, if there is such a version."""
    found = service().page_of_rule_versions(session, code, 1, version + 1)
    return _stored(found[0]) if found and found[0].version == version else None


def _stored(row: Any) -> RuleChange:
    return RuleChange.stored(RuleVersionRow(**{name: getattr(row, name) for name in RuleVersionRow._fields}))


def _title(setting: RuleSetting) -> str:
    return setting.rule.titled(written_values(setting.parameters))


def must_exist(code: int) -> None:
    """Raise Problem 404 if there is no such rule."""
    if code not in REGISTRY:
        raise unknown_rule(code)
