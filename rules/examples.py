"""Events that make a rule fire, as it is set now: what its example does, by any user and at any time."""

from collections.abc import Sequence
from decimal import Decimal

from rules.base import RuleInForce, RuleSetting
from rules.model import Event
from rules.values import CENT, LAST_TIME, MOST_MONEY

MOST_STEPS = 100  # of an example that is worth sending


def example_events(setting: RuleSetting, *, user_id: int, time: int, may_overdraw: bool) -> Sequence[Event]:
    """What a new user of this id does to make the rule fire, up to `time` (in seconds); nothing if there is no way.

    There is none if the rule declares no example, or is set so that one would take too many or too large events. Unless
    users may overdraw, the user pays in first what is taken out.
    """
    in_force = RuleInForce(setting, risk="normal", overrides={})
    steps = () if setting.rule.example is None else setting.rule.example(in_force.parameters)
    if not 0 < len(steps) <= MOST_STEPS:
        return ()
    at = max(time - sum(step.after for step in steps), 0)
    events = []
    balance = lowest = Decimal(0)
    for step in steps:
        at += step.after
        events.append(Event(user_id, step.type, step.amount, at))
        balance += step.amount if step.type == "deposit" else -step.amount
        lowest = min(lowest, balance)
    if lowest < 0 and not may_overdraw:
        events.insert(0, Event(user_id, "deposit", -lowest, events[0].time))
    is_possible = all(CENT <= event.amount <= MOST_MONEY for event in events) and at <= LAST_TIME
    return events if is_possible else ()
