"""What a rule declares, what of that holds for one user, and how far back judging reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import pytest

from rules.base import (
    First,
    Last,
    LookBack,
    Needs,
    Reading,
    Rule,
    RuleInForce,
    RuleSetting,
    Status,
    SumsSoFar,
    SumsWithin,
    Within,
    reading,
)
from rules.model import ActionType, Finding, Risk, Value
from rules.parameters import NoParameters, Parameter, actions, factor, money, seconds
from rules.registry import REGISTRY
from rules.timeline import History
from tests.unit.rules.timeline import ruled


@dataclass(frozen=True)
class Parameters:
    threshold: Decimal = money("100", "Why 100.", least="0.01", most="500.00")
    law: Decimal = money("10000", "Why 10000.", scaled=False)
    times: Decimal = factor("1.5", "Why 1.5.")
    count: int = actions(3, "Why 3.")
    window: int = seconds(30, "Why 30.", most=60)


def check(history: History, parameters: Parameters) -> Finding | None:
    return None


def rule(*looks: LookBack, fires_on: ActionType | None = None) -> Rule:
    """A rule with a parameter of each unit."""
    return Rule(1, "title", fires_on, Parameters, looks, check)


def setting(
    version: int, status: Status, parameters: Mapping[str, Value], by_risk: Mapping[str, Mapping[str, Value]]
) -> RuleSetting:
    return RuleSetting(rule=rule(), version=version, status=status, parameters=parameters, by_risk=by_risk)


def in_force(*looks: LookBack, **overrides: Value) -> RuleInForce:
    return RuleInForce(RuleSetting.initial(rule(*looks)), risk="normal", overrides=overrides)


DECLARED = {parameter.name: parameter for parameter in rule().declared}


def test_declared() -> None:
    """A rule's parameters follow from its dataclass: decimals with two places, whole numbers, and their bounds."""
    most = Decimal("999999999999.99")
    assert rule().declared == (
        Parameter("threshold", "money", Decimal(100), Decimal("0.01"), Decimal(500), "Why 100.", scaled=True),
        Parameter("law", "money", Decimal(10000), Decimal(0), most, "Why 10000.", scaled=False),
        Parameter("times", "factor", Decimal("1.5"), Decimal("0.01"), Decimal(1000), "Why 1.5."),
        Parameter("count", "actions", 3, 1, 100, "Why 3."),
        Parameter("window", "seconds", 30, 0, 60, "Why 30."),
    )
    written = {name: str(value) for name, value in rule().defaults().items()}
    assert written == {"threshold": "100.00", "law": "10000.00", "times": "1.50", "count": "3", "window": "30"}


def test_a_rule_without_parameters() -> None:
    """Nothing is declared, and nothing holds."""
    none = Rule(1, "title", None, NoParameters, (), check)
    assert (none.declared, none.defaults()) == ((), {})
    assert RuleInForce(RuleSetting.initial(none), risk="high", overrides={}).parameters == NoParameters()


@pytest.mark.parametrize("least", ["100.01", "600"])
def test_a_default_out_of_its_bounds(least: str) -> None:
    """It is a mistake by the author of the rule."""
    with pytest.raises(AssertionError):
        money("100.00", "Why.", least=least, most="500")


READ: list[tuple[str, object, Value]] = [
    ("threshold", "42", Decimal(42)),
    ("threshold", "42.5", Decimal("42.5")),
    ("threshold", "42.50", Decimal("42.5")),
    ("threshold", 42, Decimal(42)),
    ("threshold", "0.01", Decimal("0.01")),
    ("threshold", "500.00", Decimal(500)),
    ("threshold", "00042.00", Decimal(42)),
    ("law", 0, Decimal(0)),
    ("law", "999999999999.99", Decimal("999999999999.99")),
    ("times", "0.01", Decimal("0.01")),
    ("times", "2", Decimal(2)),
    ("times", 1000, Decimal(1000)),
    ("count", 1, 1),
    ("count", 100, 100),
    ("window", 0, 0),
    ("window", 60, 60),
]


@pytest.mark.parametrize(("name", "raw", "value"), READ)
def test_read(name: str, raw: object, value: Value) -> None:
    """Decimals are read from text or whole numbers and have two places; counts and seconds are whole numbers."""
    found = DECLARED[name].read(raw)
    assert (found, type(found)) == (value, type(value))
    if isinstance(found, Decimal):
        assert found.as_tuple().exponent == -2


REFUSED: list[tuple[str, object]] = [
    ("threshold", "0.00"),
    ("threshold", "500.01"),
    ("threshold", 501),
    ("threshold", "1e2"),
    ("threshold", "-1"),
    ("threshold", -1),
    ("threshold", "+1"),
    ("threshold", "1.001"),
    ("threshold", "1."),
    ("threshold", ".5"),
    ("threshold", " 1"),
    ("threshold", "1\n"),
    ("threshold", "1_0"),
    ("threshold", "\u0661"),
    ("threshold", "NaN"),
    ("threshold", ""),
    ("threshold", 42.5),
    ("threshold", True),
    ("threshold", None),
    ("threshold", ["42"]),
    ("law", "1000000000000"),
    ("law", 10**12),
    ("times", "0.00"),
    ("times", "1000.01"),
    ("times", 1.5),
    ("times", True),
    ("count", 0),
    ("count", 101),
    ("count", "3"),
    ("count", 3.0),
    ("count", Decimal(3)),
    ("count", True),
    ("count", None),
    ("window", -1),
    ("window", 61),
    ("window", "30"),
    ("window", 10**30),
]


@pytest.mark.parametrize(("name", "raw"), REFUSED)
def test_read_refuses(name: str, raw: object) -> None:
    """What is out of bounds, of another type or written otherwise is refused."""
    with pytest.raises(ValueError, match=r"^must be "):
        DECLARED[name].read(raw)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("threshold", 'must be money such as "42.00", 0.01 to 500.00'),
        ("times", 'must be a number with at most 2 decimals such as "1.50", 0.01 to 1000.00'),
        ("count", "must be a whole number of actions, 1 to 100"),
        ("window", "must be a whole number of seconds, 0 to 60"),
    ],
)
def test_read_says_what_is_expected(name: str, sentence: str) -> None:
    """The sentence names the form and the bounds."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        DECLARED[name].read("?")
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("risk", "threshold", "origin"),
    [("low", "200.00", "risk"), ("normal", "100.00", "default"), ("high", "50.00", "risk")],
)
def test_risk_scales_money_only(risk: Risk, threshold: str, origin: str) -> None:
    """Money doubles at low and halves at high risk; all else stays, and each value names its origin."""
    found = RuleInForce(RuleSetting.initial(rule()), risk=risk, overrides={})
    assert found.parameters == Parameters(threshold=Decimal(threshold))
    assert found.values == rule().defaults() | {"threshold": Decimal(threshold)}
    others = dict.fromkeys(("law", "times", "count", "window"), "default")
    assert found.origin == {"threshold": origin, **others}


@pytest.mark.parametrize(
    ("default", "scaled"), [("0.01", "0.00"), ("0.05", "0.02"), ("99.99", "49.99"), ("3.00", "1.50"), ("7", "3.50")]
)
def test_half_a_cent_is_rounded_down(default: str, scaled: str) -> None:
    """A scaled threshold has two decimals, and half a cent only makes it stricter."""
    parameters = rule().defaults() | {"threshold": Decimal(default)}
    found = RuleInForce(
        setting(1, "active", parameters, {}),
        risk="high",
        overrides={},
    )
    assert str(found.parameters.threshold) == scaled


# What a user's own value, a value for the rating, and the rating itself make of a threshold that was set to 80.00.
ORIGINS: dict[str, tuple[Risk, dict[str, str], dict[str, str], str, str]] = {
    "as set": ("normal", {}, {}, "80.00", "default"),
    "scaled": ("high", {}, {}, "40.00", "risk"),
    "of the rating": ("high", {"high": "70.00"}, {}, "70.00", "by_risk"),
    "of the rating, which is normal": ("normal", {"normal": "70.00"}, {}, "70.00", "by_risk"),
    "of another rating": ("high", {"low": "70.00"}, {}, "40.00", "risk"),
    "of another rating, at normal": ("normal", {"low": "70.00"}, {}, "80.00", "default"),
    "the user's own": ("normal", {}, {"threshold": "60.00"}, "60.00", "override"),
    "the user's own, not scaled": ("high", {}, {"threshold": "60.00"}, "60.00", "override"),
    "the user's own before that of the rating": ("high", {"high": "70.00"}, {"threshold": "60"}, "60.00", "override"),
    "the user's own of another parameter": ("high", {}, {"law": "60.00"}, "40.00", "risk"),
}


@pytest.mark.parametrize(("risk", "by_risk", "own", "value", "origin"), ORIGINS.values(), ids=ORIGINS)
def test_origin(risk: Risk, by_risk: dict[str, str], own: dict[str, str], value: str, origin: str) -> None:
    """The override holds, else the value for the risk rating, else the default scaled, else the default."""
    parameters = rule().defaults() | {"threshold": Decimal("80.00")}
    version = setting(4, "active", parameters, {name: {"threshold": Decimal(raw)} for name, raw in by_risk.items()})
    overrides = {name: DECLARED[name].read(raw) for name, raw in own.items()}
    found = RuleInForce(version, risk=risk, overrides=overrides)
    assert (str(found.parameters.threshold), found.origin["threshold"]) == (value, origin)
    assert found.values["threshold"] == found.parameters.threshold


def test_overrides_of_what_is_not_money() -> None:
    """Every parameter can be a user's own, and a rating may have its own count."""
    version = RuleSetting(
        rule=rule(),
        version=1,
        status="active",
        parameters=rule().defaults(),
        by_risk={"high": {"count": 9, "window": 9}},
    )
    found = RuleInForce(version, risk="high", overrides={"window": 7, "times": Decimal("2.00")})
    assert found.parameters == Parameters(threshold=Decimal(50), count=9, window=7, times=Decimal(2))
    assert found.origin == {
        "threshold": "risk",
        "law": "default",
        "times": "override",
        "count": "by_risk",
        "window": "override",
    }
    assert (found.number("count"), found.number("window")) == (9, 7)


@pytest.mark.parametrize(("status", "shadow"), [("active", False), ("shadow", True), ("off", False)])
def test_what_the_version_says(status: Status, shadow: bool) -> None:
    """A rule in force knows its code, its check, its version and whether it is in shadow."""
    version = setting(7, status, rule().defaults(), {})
    found = RuleInForce(version, risk="normal", overrides={})
    assert (found.code, found.check, found.version, found.shadow, found.rule) == (1, check, 7, shadow, version.rule)


def test_the_first_version() -> None:
    """It is what the rule declares."""
    assert RuleSetting.initial(rule()) == RuleSetting(
        rule=rule(), version=1, status="active", parameters=rule().defaults(), by_risk={}
    )
    assert RuleSetting.initial(rule(), "off").status == "off"


@pytest.mark.parametrize(
    ("fires_on", "expected"), [(None, [True, True]), ("deposit", [True, False]), ("withdraw", [False, True])]
)
def test_judges(fires_on: ActionType | None, expected: list[bool]) -> None:
    """A rule judges actions of its own type, or all if it names none."""
    judged = rule(fires_on=fires_on)
    assert [judged.judges("deposit"), judged.judges("withdraw")] == expected


def windows(*lengths: int) -> Needs:
    return Needs(windows=frozenset(lengths))


READINGS: dict[str, tuple[list[RuleInForce], dict[str, Needs], bool]] = {
    "no rules": ([], {"deposit": Needs()}, False),
    "no look-back": ([in_force()], {"deposit": Needs()}, False),
    "the last of its type": ([in_force(Last("count", "deposit"))], {"deposit": Needs(3)}, False),
    "the last of the other type": (
        [in_force(Last("count", "withdraw"))],
        {"deposit": Needs(), "withdraw": Needs(3)},
        False,
    ),
    "the last of any type": ([in_force(Last("count"))], {"deposit": Needs(3), "withdraw": Needs(3)}, False),
    "a window": ([in_force(Within("window", "deposit"))], {"deposit": Needs(1, frozenset((30,)))}, False),
    "all of a window of any type": (
        [in_force(Within("window"))],
        {"deposit": Needs(1, frozenset((30,))), "withdraw": Needs(1, frozenset((30,)))},
        False,
    ),
    "the sums of a window": ([in_force(SumsWithin("window", "deposit"))], {"deposit": windows(30)}, False),
    "the sums of a window of the other type": (
        [in_force(SumsWithin("window", "withdraw"))],
        {"deposit": Needs(), "withdraw": windows(30)},
        False,
    ),
    "the sums so far": ([in_force(SumsSoFar("deposit"))], {"deposit": Needs()}, False),
    "the sums so far of the other type": (
        [in_force(SumsSoFar("withdraw"))],
        {"deposit": Needs(), "withdraw": Needs()},
        False,
    ),
    "the first": ([in_force(First("window"))], {"deposit": Needs()}, True),
    "several in one rule": (
        [
            in_force(
                Last("count", "deposit"), Within("window", "deposit"), SumsWithin("window", "deposit"), First("count")
            )
        ],
        {"deposit": Needs(3, frozenset((30,)), frozenset((30,)))},
        True,
    ),
    "the largest count wins": (
        [in_force(Last("count", "deposit"), count=n) for n in (2, 7, 4)],
        {"deposit": Needs(7)},
        False,
    ),
    "every length of a window is kept": (
        [in_force(Within("window", "deposit"), window=n) for n in (10, 50, 40)],
        {"deposit": Needs(1, frozenset((10, 40, 50)))},
        False,
    ),
    "every length of a window is summed up": (
        [in_force(SumsWithin("window", "deposit"), window=n) for n in (10, 50, 10)],
        {"deposit": windows(10, 50)},
        False,
    ),
    "a window of no seconds is one": (
        [in_force(Within("window", "deposit"), window=0)],
        {"deposit": Needs(1, frozenset((0,)))},
        False,
    ),
    "types are merged apart": (
        [in_force(Last("count", "withdraw"), count=5), in_force(Last("count")), in_force(Within("window", "deposit"))],
        {"deposit": Needs(3, frozenset((30,))), "withdraw": Needs(5)},
        False,
    ),
}


@pytest.mark.parametrize(("rules", "needs", "first"), READINGS.values(), ids=READINGS)
def test_reading(rules: list[RuleInForce], needs: dict[ActionType, Needs], first: bool) -> None:
    """Judging a deposit reads what serves all rules, at least the deposit before it, and no type needlessly."""
    assert reading("deposit", rules) == Reading(needs, first)


def test_reading_for_the_other_type() -> None:
    """Judging a withdrawal reads at least the withdrawal before it."""
    assert reading("withdraw", [in_force(Last("count", "deposit"))]) == Reading(
        {"deposit": Needs(3), "withdraw": Needs()}
    )


def test_reading_of_the_catalogue() -> None:
    """All rules together read little for one event: twenty actions, two short windows and the ends of long ones."""
    day, month = 86_400, 30 * 86_400

    def of(kind: ActionType) -> Reading:
        return reading(kind, [ruled(one) for one in REGISTRY.values() if one.judges(kind)])

    assert of("deposit") == Reading(
        {
            "deposit": Needs(20, frozenset((30, 60)), frozenset((2 * day, month))),
            "withdraw": Needs(20, frozenset((60,)), frozenset((month,))),
        },
        True,
    )
    assert of("withdraw") == Reading(
        {
            "deposit": Needs(20, frozenset((60,)), frozenset((day,))),
            "withdraw": Needs(20, frozenset((60,)), frozenset((day,))),
        },
        False,
    )


SMALL, LARGE = Needs(2, frozenset(), frozenset((10,))), Needs(5, frozenset((30,)), frozenset((10, 20)))

COVERS: dict[str, tuple[Reading, Reading, bool]] = {
    "nothing needs nothing": (Reading({}), Reading({}), True),
    "itself": (Reading({"deposit": SMALL}, True), Reading({"deposit": SMALL}, True), True),
    "more serves less": (Reading({"deposit": LARGE}), Reading({"deposit": SMALL}), True),
    "less does not serve more": (Reading({"deposit": SMALL}), Reading({"deposit": LARGE}), False),
    "a larger count": (Reading({"deposit": Needs(2)}), Reading({"deposit": Needs(3)}), False),
    "a window where there is none": (
        Reading({"deposit": Needs()}),
        Reading({"deposit": Needs(1, frozenset((0,)))}),
        False,
    ),
    "a longer window": (
        Reading({"deposit": Needs(1, frozenset((10,)))}),
        Reading({"deposit": Needs(1, frozenset((11,)))}),
        False,
    ),
    "a shorter window": (
        Reading({"deposit": Needs(1, frozenset((10,)))}),
        Reading({"deposit": Needs(1, frozenset((9,)))}),
        True,
    ),
    "sums of another window": (Reading({"deposit": windows(30)}), Reading({"deposit": windows(20)}), False),
    "another type": (Reading({"deposit": LARGE}), Reading({"withdraw": SMALL}), False),
    "one type of two": (Reading({"deposit": LARGE, "withdraw": LARGE}), Reading({"withdraw": SMALL}), True),
    "the first too": (Reading({"deposit": LARGE}), Reading({"deposit": SMALL}, True), False),
    "no need of the first": (Reading({"deposit": LARGE}, True), Reading({"deposit": SMALL}), True),
}


@pytest.mark.parametrize(("what", "other", "expected"), COVERS.values(), ids=COVERS)
def test_covers(what: Reading, other: Reading, expected: bool) -> None:
    """One reading serves another when what it reads includes what the other does."""
    assert what.covers(other) is expected
    assert what.with_all_of(other).covers(what)
    assert what.with_all_of(other).covers(other)
    assert what.with_all_of(other) == other.with_all_of(what)


def test_merged_needs() -> None:
    """The larger count of the two, and all windows."""
    merged = Needs(7, frozenset((10,)), frozenset((5,))).with_all_of(LARGE)
    assert merged == Needs(7, frozenset((10, 30)), frozenset((5, 10, 20)))
    assert Needs(1, frozenset()).with_all_of(Needs(1, frozenset((0,)))) == Needs(1, frozenset((0,)))
    assert Needs().with_all_of(Needs()) == Needs()
