"""Whether an alert would be raised today: by what its rule is set to now, and its user's rating and overrides."""

from typing import NamedTuple

from sqlalchemy.orm import Session

from routes.desk import alert_facts
from routes.desk.alert_context import AlertContext
from rules.hindsight.judge_today import judge_today
from rules.parameters import written_values
from rules.versions import RuleChange
from rules.wording import shown_sentence


class ChangedParameter(NamedTuple):
    """A parameter that is in force with another value now; None where there was or is none."""

    name: str
    before: str | None
    after: str | None
    origin: str | None


class Today(NamedTuple):
    """What would come of the action today. `sentence` is what the alert would say; None: it would not be raised.

    `status` is that of the rule, which raises nothing while it is off. If it `is_unknown`, what the rule looks back at
    has been removed.
    """

    version: int
    status: str
    sentence: str | None
    changed: list[ChangedParameter]
    is_unknown: bool


def today_of(session: Session, found: AlertContext, change: RuleChange | None, *, has_dates: bool) -> Today | None:
    """What would come of an alert's action today, if `change` has set its rule; None without: the rule is gone."""
    code = found.line.code
    if change is None:
        return None
    again = judge_today(session, change, found.user, found.action)
    before, after = found.evidence.get("parameters", {}), written_values(again.rule.values)
    changed = [
        ChangedParameter(
            name,
            alert_facts.written(code, name, before[name]) if name in before else None,
            alert_facts.written(code, name, after[name]) if name in after else None,
            alert_facts.origin(again.rule.origin[name], found.user.risk) if name in after else None,
        )
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    ]
    sentence = None
    if again.evidence is not None:
        many = len(again.evidence["actions"]) + again.evidence.get("actions_unlisted", 0)
        sentence = shown_sentence(again.evidence["sentence"], many, has_dates)
    return Today(change.setting.version, change.setting.status, sentence, changed, again.is_unknown)
