"""Actions in compact notation: `d 100 @10, w 5.50 @12` is a deposit of 100.00 at 10 and a withdrawal of 5.50 at 12.

They are in the order of arrival. `#key` after an action is its `event_id`.
"""

import re
from collections.abc import Iterable
from decimal import Decimal

from rules.base import Rule, RuleInForce, RuleSetting
from rules.model import Action, ActionType, Event, Finding, NumberedAction, Risk
from rules.timeline import Timeline

TYPES: dict[str, ActionType] = {"d": "deposit", "w": "withdraw"}
NOTATION = re.compile(r"(?P<type>[dw]) (?P<amount>[\d.]+) @(?P<time>\d+)(?: #(?P<key>\S+))?")


def events(user_id: int, notation: str) -> list[Event]:
    """The noted actions as events of one user."""
    found = []
    for word in notation.split(","):
        match = NOTATION.fullmatch(word.strip())
        assert match, f"{word!r} is not an action"
        amount = Decimal(match["amount"]).quantize(Decimal("0.01"))
        found.append(Event(user_id, TYPES[match["type"]], amount, int(match["time"]), match["key"]))
    return found


def actions(notation: str) -> list[Action]:
    """The noted actions with `seq` 1, 2, 3, …"""
    return [Action(seq, e.type, e.amount, e.time) for seq, e in enumerate(events(1, notation), start=1)]


def timeline(notation: str) -> Timeline:
    """A timeline that holds the noted actions."""
    line = Timeline()
    for action in actions(notation):
        line.add(action)
    return line


def numbered(past: Iterable[Action]) -> list[NumberedAction]:
    """`past` as it is stored: in order of (time, arrival), each with its number and the running sum of its type."""
    numbers: dict[ActionType, tuple[int, Decimal]] = {"deposit": (0, Decimal(0)), "withdraw": (0, Decimal(0))}
    found = []
    for action in sorted(past, key=lambda one: one.place):
        count, total = numbers[action.type]
        numbers[action.type] = count + 1, total + action.amount
        found.append(NumberedAction(action, *numbers[action.type]))
    return found


def findings(rule: Rule, notation: str, risk: Risk = "normal", **overrides: str | int) -> dict[int, Finding]:
    """What `rule` finds as the noted actions arrive one by one, by the `seq` of the action it fires on.

    `overrides` are parameters of the user's own, as they are written in JSON.
    """
    in_force = ruled(rule, risk, **overrides)
    line, found = Timeline(), {}
    for action in actions(notation):
        line.add(action)
        if rule.judges(action.type) and (finding := rule.check(line.at(action), in_force.parameters)):
            found[action.seq] = finding
    return found


def fired(rule: Rule, notation: str, risk: Risk = "normal", **overrides: str | int) -> list[int]:
    """The `seq` of the noted actions that `rule` fires on as they arrive one by one."""
    return list(findings(rule, notation, risk, **overrides))


def ruled(rule: Rule, risk: Risk = "normal", **overrides: str | int) -> RuleInForce:
    """The rule as declared, in force for a user of this rating with these overrides."""
    declared = {parameter.name: parameter for parameter in rule.declared}
    own = {name: declared[name].read(raw) for name, raw in overrides.items()}
    return RuleInForce(RuleSetting.initial(rule), risk=risk, overrides=own)
