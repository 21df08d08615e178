"""Judging again the later actions that an event out of order can change."""

from bisect import bisect_left

from rules.base import First, Last, RuleInForce, SumsSoFar, SumsWithin, Within
from rules.judging.batch import AlertState, BatchUser
from rules.judging.evidence import written_evidence
from rules.judging.late import Reach, reach_of
from rules.model import ACTION_TYPES, Action, ActionType
from rules.pruned import is_complete
from rules.timeline import History
from rules.versions import RuleSet


def repair(user: BatchUser, reach: Reach) -> None:
    """Judge again what the late actions of `user` can change, and note the difference in its alerts.

    The timeline must hold every action in reach and what is read to judge it, and `user.rule_sets` what judged each of
    them. `reach` is how far any of those rules can reach. What cannot be judged without removed actions stays as it is.
    """
    late = _Late(user)
    last = max(action.time for action in user.late)
    far: dict[RuleSet, tuple[Reach, dict[ActionType, tuple[RuleInForce, ...]]]] = {}
    after = {"deposit": 0, "withdraw": 0}  # how many follow the last late action
    for action in user.timeline.following(min(user.late, key=lambda one: one.place)):
        if action.time > last:
            after[action.type] += 1
            if reach.is_passed(action.time - last, min(after.values())):
                break
        rule_set = user.rule_sets.get(action.seq)
        if rule_set is None:
            continue
        history = user.timeline.at(action)
        if rule_set not in far:
            far[rule_set] = _far(rule_set)
        pruned = user.pruned if user.pruned is not None and action.seq <= user.pruned.until_seq else None
        others, endless = far[rule_set]
        is_far = others.is_passed(action.time - last, min(after.values()))
        for rule in endless[action.type] if is_far else rule_set.by_type[action.type]:
            if late.reaches(history, rule):
                if pruned is None or is_complete(rule, history, pruned):
                    _judge_again(user, history, rule)
                else:
                    user.unproved.add((action.seq, rule.code))


def _far(rule_set: RuleSet) -> tuple[Reach, dict[ActionType, tuple[RuleInForce, ...]]]:
    """How far the other rules reach, and those of endless reach, by the type that they judge."""
    endless = [one for one in rule_set.all if any(isinstance(look, SumsSoFar) for look in one.rule.look_back)]
    others = reach_of(one for one in rule_set.all if one not in endless)
    return others, {kind: tuple(one for one in endless if one.rule.judges(kind)) for kind in ACTION_TYPES}


def _judge_again(user: BatchUser, history: History, rule: RuleInForce) -> None:
    key = history.now.seq, rule.code
    finding = rule.check(history, rule.parameters)
    state = user.alerts.get(key)
    if state is None:
        if finding is not None:
            new = AlertState(stands=True, late=True, evidence=written_evidence(rule, finding), shadow=rule.shadow)
            user.alerts[key] = new
    elif state.stands != (finding is not None):
        state.stands, state.changed, state.shadow = not state.stands, True, rule.shadow


class _Late:
    """The late actions of a user by type and place."""

    def __init__(self, user: BatchUser) -> None:
        places: dict[ActionType | None, list[tuple[int, int]]] = {None: [], "deposit": [], "withdraw": []}
        for action in sorted(user.late, key=lambda one: one.place):
            places[None].append(action.place)
            places[action.type].append(action.place)
        self._places = places
        self._first_new = user.first_new

    def reaches(self, history: History, rule: RuleInForce) -> bool:
        """Whether `rule` looks back at a late action from the one at which `history` ends."""
        now = history.now
        for look in rule.rule.look_back:
            if isinstance(look, Last):
                last = history.last(rule.number(look.count), look.of)
                found = bool(last) and self._any(look.of, last[0].place, now)
            elif isinstance(look, Within | SumsWithin):
                found = self._any(look.of, (now.time - rule.number(look.seconds), 0), now)
            elif isinstance(look, SumsSoFar):
                found = self._any(look.of, (0, 0), now)
            else:
                assert isinstance(look, First)
                found = history.first.seq >= self._first_new  # before, the rule counted from another one
            if found:
                return True
        return False

    def _any(self, of: ActionType | None, start: tuple[int, int], now: Action) -> bool:
        places = self._places[of]
        at = bisect_left(places, start)
        return at < len(places) and places[at] < now.place
