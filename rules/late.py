"""Late arrivals: judging again the later actions that an event out of order can change.

A rule that looks back over 30 seconds reaches 30 seconds ahead of a late event, one that counts 3 actions reaches 2
actions ahead. Each action in reach is judged once more, by what it was first judged with, on the timeline as it now is:
a code that now fires becomes a late alert, one that no longer holds is superseded.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from rules.base import Last, Rule, RuleInForce
from rules.ledger import Account, AlertState
from rules.model import LAST_TIME, RISKS, Action, Finding, Risk

InForce = Callable[[Rule, Risk], RuleInForce]
Evidence = Callable[[RuleInForce, Finding], str]


class Surroundings:
    """How far any of `rules` looks back or ahead: `count` actions, `seconds`."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.count = 0
        self.seconds = 0
        for rule in rules:
            for look in rule.look_back:
                if isinstance(look, Last):
                    self.count = max(self.count, _most(rule, look.count))
                else:
                    self.seconds = max(self.seconds, _most(rule, look.seconds))


def repair(account: Account, rules: Iterable[Rule], in_force: InForce, evidence: Evidence) -> None:
    """Judge again what the late actions of `account` can change, and note the difference in its alerts.

    The timeline must hold the surroundings of every late action, as far as `Surroundings` goes to both sides.
    """
    for rule in rules:
        for action in _in_reach(account, rule):
            judged = account.judged[action.seq]
            if rule.code not in judged.codes or not rule.judges(action.type):
                continue
            now = in_force(rule, judged.risk)
            finding = rule.check(account.timeline.at(action), now.parameters)
            state = account.alerts.get((action.seq, rule.code))
            if state is None:
                if finding is not None:
                    new = AlertState(stands=True, late=True, evidence=evidence(now, finding))
                    account.alerts[action.seq, rule.code] = new
            elif state.stands != (finding is not None):
                state.stands, state.changed = not state.stands, True


def _in_reach(account: Account, rule: Rule) -> Iterator[Action]:
    # Each action once, however many late ones reach it.
    for look in rule.look_back:
        late = sorted((a for a in account.late if look.of in (None, a.type)), key=lambda action: action.place)
        if isinstance(look, Last):
            ahead = _most(rule, look.count) - 1
            found = chain.from_iterable(account.timeline.following(action, ahead, look.of) for action in late)
            yield from {action.seq: action for action in found}.values()
        else:
            seconds, after = _most(rule, look.seconds), (-1, 0)
            for action in late:
                reached = account.timeline.between(
                    max(after, action.place), min(LAST_TIME, action.time + seconds), rule.fires_on
                )
                yield from reached
                if reached:
                    after = reached[-1].place


def _most(rule: Rule, parameter: str) -> int:
    return max(RuleInForce.for_risk(rule, risk).parameters.number(parameter) for risk in RISKS)
