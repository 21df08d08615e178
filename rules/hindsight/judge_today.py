"""Judging one stored action again, by what a rule is set to now and by its user's present rating and overrides."""

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

from sqlalchemy.orm import Session

from database.alert_evidence import PlacedAction, actions_after, actions_before
from database.checkpoints import read_checkpoints
from database.models import User
from rules.base import RuleInForce, reading
from rules.judging.evidence import evidence_of
from rules.model import LISTED_ACTIONS, Action, ActionType, NumberedAction, Risk
from rules.parameters import read_values
from rules.pruned import is_complete, pruned_by_user
from rules.timeline import Timeline
from rules.versions import RuleChange


class JudgedToday(NamedTuple):
    """What a rule, as it is set now, finds on an action.

    `rule` has the parameters in force for the user, and `evidence` is what it would raise the alert with; None if it
    would not. If it `is_unknown`, nobody can say: what the rule looks back at has been removed.
    """

    change: RuleChange
    rule: RuleInForce
    evidence: dict[str, Any] | None
    is_unknown: bool = False


def judge_today(session: Session, change: RuleChange, user: User, action: PlacedAction) -> JudgedToday:
    """Judge an action of `user` by the rule as `change` has set it, even if that is off.

    The history is what is stored now, up to the place of the action in order of time: events that came late are in it.
    No more of it is read than the rule looks back at.
    """
    risk = cast(Risk, user.risk)
    own = read_values(change.setting.rule.declared, user.overrides.get(str(change.setting.code), {}))
    rule = RuleInForce(change.setting, risk=risk, overrides=own)
    now = _numbered(action)
    finding = None
    if rule.rule.judges(now.action.type):
        timeline = Timeline()
        timeline.load(_look_back(session, user.user_id, action, rule))
        history = timeline.at(now.action)
        if user.pruned_before is not None:
            pruned = pruned_by_user(read_checkpoints(session.connection(), [user.user_id]))[user.user_id]
            timeline.go_on_from(pruned.first, pruned.numbers)
            if not is_complete(rule, history, pruned):
                return JudgedToday(change, rule, None, is_unknown=True)
        finding = rule.check(history, rule.parameters)
    return JudgedToday(change, rule, None if finding is None else evidence_of(rule, finding))


def _look_back(session: Session, user_id: int, action: PlacedAction, rule: RuleInForce) -> Iterable[NumberedAction]:
    """What `rule` looks back at from `action`, that included."""
    wanted = reading(cast(ActionType, action.type), [rule])
    found = {action.seq: action}
    for kind, needs in wanted.needs.items():
        limit = max(needs.count, LISTED_ACTIONS if needs.listed else 1)
        some = actions_before(session, user_id, action.place, limit=limit, kinds=(kind,))
        # A sum over a window follows from its oldest action and its newest.
        for seconds in needs.listed | needs.windows:
            start = (max(0, action.time - seconds), 0)
            some += actions_after(session, user_id, start, limit=1, until=action.time, kinds=(kind,))
        found |= {one.seq: one for one in some}
    if wanted.first:
        found |= {one.seq: one for one in actions_after(session, user_id, (0, 0), limit=1)}
    return [_numbered(one) for one in found.values() if one.place <= action.place]


def _numbered(one: PlacedAction) -> NumberedAction:
    action = Action(one.seq, cast(ActionType, one.type), one.amount, one.time)
    return NumberedAction(action, one.ordinal, one.running_total)
