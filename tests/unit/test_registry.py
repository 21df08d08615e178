"""The rules as a whole: their order, that each declares itself completely, and that each reads what it declares."""

import random
import re
import sys
from dataclasses import is_dataclass
from decimal import Decimal
from string import Formatter

import pytest

from rules.base import First, Last, Needs, Rule, RuleInForce, SumsSoFar, SumsWithin, Within, reading
from rules.model import ACTION_TYPES, LISTED_ACTIONS, RISKS, Action, ActionType, Finding, NumberedAction
from rules.registry import DEFAULT_CODES, REGISTRY
from rules.timeline import History, Sums, Timeline
from rules.window import Window
from tests.unit.rules.timeline import numbered, ruled

each_rule = pytest.mark.parametrize("rule", REGISTRY.values(), ids=[str(code) for code in REGISTRY])

YEAR = 366 * 86_400
# Those whose details are listed here; a rule of your own need not be added.
SHIPPED = (1100, 30, 300, 123, 500, 600, 610, 620, 630, 640, 650, 660, 670, 680, 690)


def test_answer_order() -> None:
    """Codes are answered in the contract's order, and later rules after them."""
    contract, later = list(REGISTRY)[:5], list(REGISTRY)[5:]
    assert contract == [1100, 30, 300, 123, 500]
    assert later == sorted(later)
    assert set(SHIPPED) <= set(REGISTRY)


def test_default_codes() -> None:
    """The contract's four are active; all others ship switched off."""
    assert DEFAULT_CODES == (1100, 30, 300, 123)


def test_defaults_of_the_contract() -> None:
    """Every parameter of the first five has the contract's default."""
    assert {code: REGISTRY[code].defaults() for code in (1100, 30, 300, 123, 500)} == {
        1100: {"threshold": Decimal("100.00")},
        30: {"count": 3},
        300: {"count": 3},
        123: {"threshold": Decimal("200.00"), "window": 30},
        500: {"count": 5, "window": 60},
    }


def test_fires_on() -> None:
    """Each rule judges the type of action that it is about."""
    types = {code: rule.fires_on for code, rule in REGISTRY.items() if code in SHIPPED}
    assert [code for code, of in types.items() if of == "deposit"] == [300, 123, 600, 680, 690]
    assert [code for code, of in types.items() if of == "withdraw"] == [1100, 30, 610, 650, 660]
    assert [code for code, of in types.items() if of is None] == [500, 620, 630, 640, 670]


def test_codes_are_unique() -> None:
    """No two rules share a code, and each is registered under its own."""
    assert [rule.code for rule in REGISTRY.values()] == list(REGISTRY)
    assert len({id(rule) for rule in REGISTRY.values()}) == len(REGISTRY)


@each_rule
def test_parameters_are_declared(rule: Rule) -> None:
    """Parameters have a default that fits the unit and the bounds, and a sentence that says why."""
    assert is_dataclass(rule.parameters)
    assert rule.parameters() == rule.parameters(**rule.defaults())
    for parameter in rule.declared:
        values = (parameter.default, parameter.least, parameter.most)
        assert {type(value) for value in values} == {Decimal if parameter.is_decimal else int}
        assert 0 <= parameter.least <= parameter.default <= parameter.most
        assert parameter.default > 0
        raw = str(parameter.default) if parameter.is_decimal else parameter.default
        assert parameter.read(raw) == parameter.default
        assert parameter.why[0].isupper()
        assert parameter.why.endswith(".")
        assert not parameter.scaled or parameter.unit == "money"


@each_rule
def test_title_formats_from_the_parameters(rule: Rule) -> None:
    """The title names the rule's own parameters alone, so that it can be filled in for any user."""
    named = {name for _, name, _, _ in Formatter().parse(rule.title) if name is not None}
    assert named <= set(rule.defaults())
    assert "{" not in rule.title.format(**rule.defaults())


@each_rule
def test_look_back_names_parameters(rule: Rule) -> None:
    """A look-back names an existing parameter of the right unit, and no setting makes it read without bounds."""
    declared = {parameter.name: parameter for parameter in rule.declared}
    for look in rule.look_back:
        if isinstance(look, Last):
            parameter, unit, most = declared[look.count], "actions", 100
        elif isinstance(look, Within):
            parameter, unit, most = declared[look.seconds], "seconds", 3600
        elif isinstance(look, SumsWithin | First):
            parameter, unit, most = declared[look.seconds], "seconds", YEAR
        else:
            continue
        assert parameter.unit == unit
        assert parameter.most <= most


@each_rule
def test_rule_is_described(rule: Rule) -> None:
    """The file begins with the code and what it is, and the check says in a sentence when it fires."""
    described = sys.modules[rule.check.__module__].__doc__ or ""
    assert re.match(rf"{rule.code}: [a-z].*\.\n?", described)
    assert (rule.check.__doc__ or "").startswith("Fires when ")
    # What goes beyond the contract names where it comes from.
    assert rule.code in (1100, 30, 300, 123, 500) or described.count("\n") >= 3


class Watched(History):
    """A history that answers only what the rule has declared, and notes what was asked."""

    def __init__(self, line: Timeline, now: Action, in_force: RuleInForce, asked: set[str]) -> None:
        super().__init__(line, now)
        self._looks = in_force.rule.look_back
        self._number = in_force.number
        self._asked = asked

    def last(self, count: int, of: ActionType | None = None) -> list[Action]:
        self._asked.add("last")
        assert any(isinstance(one, Last) and (self._number(one.count), one.of) == (count, of) for one in self._looks)
        return super().last(count, of)

    def window(self, seconds: int, of: ActionType | None = None) -> Window:
        self._asked.add("window")
        assert any(
            isinstance(one, Within) and (self._number(one.seconds), one.of) == (seconds, of) for one in self._looks
        )
        return super().window(seconds, of)

    def sums(self, seconds: int, of: ActionType) -> Sums:
        self._asked.add(f"sums {of}")
        assert any(
            isinstance(one, SumsWithin) and (self._number(one.seconds), one.of) == (seconds, of) for one in self._looks
        )
        return super().sums(seconds, of)

    def sums_so_far(self, of: ActionType) -> Sums:
        self._asked.add(f"sums so far {of}")
        assert SumsSoFar(of) in self._looks
        return super().sums_so_far(of)

    @property
    def first(self) -> Action:
        self._asked.add("first")
        assert any(isinstance(one, First) for one in self._looks)
        return super().first


AMOUNTS = ["0.01", "0.50", "0.99", "20", "50", "50.01", "100", "100.01", "200", "500.01", "1000", "9500", "9999.99"]
# What lies between two actions: mostly little, at times some rule's window, and sometimes a step back.
STEPS = [0, 0, 1, 1, 1, 5, 30, 31, 60, 300, 86_400, 86_401, 200_000, 2_592_000, 8_000_000, -1, -60, -86_400, -300_000]


def stream(seed: int, length: int = 120) -> list[Action]:
    """A user's actions in the order of arrival, some of them late."""
    draw = random.Random(seed)
    # One kind of behaviour for a while, so that patterns come about and not only noise.
    found: list[Action] = []
    time, few, types = 1_000_000, AMOUNTS, list(ACTION_TYPES)
    for seq in range(1, length + 1):
        if seq % 12 == 1:
            few = draw.sample(AMOUNTS, draw.choice([1, 2, 4]))
            types = draw.choice([["deposit"], ["withdraw"], ["deposit", "withdraw"], ["deposit", "withdraw"]])
        time = max(0, time + draw.choice(STEPS if draw.random() < 0.3 else [0, 1, 5]))
        found.append(Action(seq, draw.choice(types), Decimal(draw.choice(few)).quantize(Decimal("0.01")), time))
    return found


@each_rule
def test_checks_read_what_they_declare(rule: Rule) -> None:
    """On random histories a check asks for nothing but what is declared, for all of it, and fires now and then."""
    asked: set[str] = set()
    fired = 0
    for seed in range(60):
        in_force = ruled(rule, RISKS[seed % 3])
        line = Timeline()
        for action in stream(seed):
            line.add(action)
            if rule.judges(action.type):
                fired += rule.check(Watched(line, action, in_force, asked), in_force.parameters) is not None
    assert asked == {kind for one in rule.look_back for kind in _asked(one)}
    assert fired


def _asked(look: object) -> list[str]:
    if isinstance(look, Last):
        return ["last"]
    if isinstance(look, Within):
        return ["window"]
    if isinstance(look, SumsWithin):
        return [f"sums {look.of}"]
    if isinstance(look, SumsSoFar):
        return [f"sums so far {look.of}"]
    return ["first"]


@each_rule
def test_what_is_declared_is_enough(rule: Rule) -> None:
    """With no more read than the look-back declares, a check finds exactly what it finds in the whole history.

    That holds for the action that arrives, and for those after it that are judged again because it came late.
    """
    found: list[Finding] = []
    for seed in range(45):
        in_force = ruled(rule, RISKS[seed % 3])
        actions = stream(seed)
        for end in range(seed % 7, len(actions), 7):
            past, arriving = actions[:end], actions[end]
            stored, whole = numbered(past), Timeline()
            for action in (*past, arriving):
                whole.add(action)
            for judged in (arriving, *whole.following(arriving)[:4]):
                if rule.judges(judged.type):
                    expected = rule.check(whole.at(judged), in_force.parameters)
                    little = Timeline()
                    little.load(least(stored, arriving, judged, in_force))
                    little.add(arriving)
                    assert rule.check(little.at(judged), in_force.parameters) == expected
                    found += [expected] if expected else []
    assert found
    for finding in found:
        assert finding.measured >= 0
        assert finding.sentence[0].isupper() or finding.sentence[0].isdigit()
        assert finding.sentence.endswith(".")
        assert finding.actions
        assert finding.unlisted >= 0


def least(
    stored: list[NumberedAction], arriving: Action, judged: Action, in_force: RuleInForce
) -> list[NumberedAction]:
    """Of what is stored, exactly what is to be read when `arriving` comes and `judged` is judged."""
    chosen = {one.action.seq: one for one in stored if one.action == judged}
    for now, rules in ((arriving, []), (judged, [in_force])):
        wanted = reading(now.type, rules)
        for kind, needs in wanted.needs.items():
            before = [one for one in stored if one.action.type == kind and one.action.place < now.place]
            chosen |= {one.action.seq: one for one in (*before[-needs.count :], *_within(before, now, needs))}
        if wanted.first:
            chosen |= {one.action.seq: one for one in stored[:1]}
    return list(chosen.values())


def _within(before: list[NumberedAction], now: Action, needs: Needs) -> list[NumberedAction]:
    found = []
    for window in needs.listed | needs.windows:
        inside = [one for one in before if one.action.time >= now.time - window]
        found += inside[:1]
        if window in needs.listed:
            found += inside[-LISTED_ACTIONS:]
    return found
