"""Late arrivals: judging again the later actions that an event out of order can change.

A rule that looks back over 30 seconds reaches 30 seconds ahead of a late event, one that counts 3 actions reaches 2
actions ahead, one that sums up all there is reaches all that come later. Each action in reach is judged once more, by
what it was first judged with, on the timeline as it now is: a code that now fires becomes a late alert, one that no
longer holds is superseded.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from rules.base import First, Last, RuleInForce, SumsSoFar, SumsWithin, Within
from rules.ledger import Account, AlertState
from rules.model import Action, ActionType, Finding, History

Evidence = Callable[[RuleInForce, Finding], str]


@dataclass(frozen=True)
class Ahead:
    """How far ahead of a late action any of some rules can reach, at most.

    That is `count` actions of each type and `seconds`, or everything (`endless`); for a late action of one type, all up
    to the so-manieth of that type behind it (`until`); and where it becomes the user's first action, `after_first`
    seconds behind the one that was the first before (None: no rule cares).
    """

    count: int = 0
    seconds: int = 0
    endless: bool = False
    until: Mapping[ActionType, int] = field(default_factory=dict)
    after_first: int | None = None

    def is_passed(self, seconds: int, count: int) -> bool:
        """Whether nothing that is so many seconds, and more than so many actions of each type, behind is reached."""
        bounded = not self.endless and not self.until and self.after_first is None
        return bounded and seconds > self.seconds and count > self.count


def ahead(rules: Iterable[RuleInForce]) -> Ahead:
    """How far ahead of a late action `rules` can reach."""
    count = seconds = 0
    endless, after_first = False, None
    until: dict[ActionType, int] = {}
    for rule in rules:
        for look in rule.rule.look_back:
            if isinstance(look, Last):
                if look.of in (None, rule.rule.fires_on):
                    count = max(count, rule.number(look.count) - 1)
                else:  # any number of actions that it judges may stand between those that it counts
                    until[look.of] = max(until.get(look.of, 0), rule.number(look.count))
            elif isinstance(look, Within | SumsWithin):
                seconds = max(seconds, rule.number(look.seconds))
            elif isinstance(look, SumsSoFar):
                endless = True
            else:
                after_first = max(after_first or 0, rule.number(look.seconds))
    return Ahead(count, seconds, endless, until, after_first)


def repair(account: Account, evidence: Evidence, ahead: Ahead) -> None:
    """Judge again what the late actions of `account` can change, and note the difference in its alerts.

    The timeline must hold every action that they reach with what judging it reads, and `account.judged` its judges.
    `ahead` is how far any of these judges can reach.
    """
    late = _Late(account)
    last = max(action.time for action in account.late)
    behind = {"deposit": 0, "withdraw": 0}  # the last late action
    for action in account.timeline.following(min(account.late, key=lambda one: one.place)):
        if action.time > last:
            behind[action.type] += 1
            if ahead.is_passed(action.time - last, min(behind.values())):
                break
        judges = account.judged.get(action.seq)
        if judges is None:
            continue
        history = account.timeline.at(action)
        for rule in judges.by_type[action.type]:
            if late.reaches(history, rule):
                _judge_again(account, history, rule, evidence)


def _judge_again(account: Account, history: History, rule: RuleInForce, evidence: Evidence) -> None:
    key = history.now.seq, rule.code
    finding = rule.check(history, rule.parameters)
    state = account.alerts.get(key)
    if state is None:
        if finding is not None:
            new = AlertState(stands=True, late=True, evidence=evidence(rule, finding), shadow=rule.shadow)
            account.alerts[key] = new
    elif state.stands != (finding is not None):
        state.stands, state.changed = not state.stands, True


class _Late:
    """The late actions of a user by type and place."""

    def __init__(self, account: Account) -> None:
        places: dict[ActionType | None, list[tuple[int, int]]] = {None: [], "deposit": [], "withdraw": []}
        for action in sorted(account.late, key=lambda one: one.place):
            places[None].append(action.place)
            places[action.type].append(action.place)
        self._places = places
        self._first_new = account.first_new

    def reaches(self, history: History, rule: RuleInForce) -> bool:
        """Whether a late action stands where `rule` looks back to from the action that `history` judges."""
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
                found = history.first.seq >= self._first_new  # not all that counted from the first one before
            if found:
                return True
        return False

    def _any(self, of: ActionType | None, start: tuple[int, int], now: Action) -> bool:
        places = self._places[of]
        at = bisect_left(places, start)
        return at < len(places) and places[at] < now.place
