"""What a backtest is asked and answers: the values of a sweep, and questions and answers as JSON."""

import json
from collections import Counter
from decimal import Decimal

import pytest

from rules.base import RuleSetting
from rules.hindsight.backtest import MOST_DAYS, AlertFigures, AlertSample, BacktestResult
from rules.hindsight.question import MOST_STEPS, Question, Sweep, candidate, parameter_of, report, step_of, steps
from rules.model import Value
from rules.registry import REGISTRY
from rules.values import LAST_TIME


def money(*texts: str) -> tuple[Value, ...]:
    return tuple(Decimal(text) for text in texts)


@pytest.mark.parametrize(
    ("first", "last", "step", "expected"),
    [
        (*money("1.00", "2.00", "0.50"), money("1.00", "1.50", "2.00")),
        (*money("1.00", "2.00", "0.60"), money("1.00", "1.60")),
        (*money("2.00", "1.00", "0.60"), money("2.00", "1.40")),
        (*money("1.00", "1.00", "5.00"), money("1.00")),
        (1, 10, 4, (1, 5, 9)),
        (3, 1, 1, (3, 2, 1)),
    ],
)
def test_the_values_of_a_sweep(first: Value, last: Value, step: Value, expected: tuple[Value, ...]) -> None:
    """They begin with the first one, are evenly spaced, and none is beyond the last one."""
    assert steps(first, last, step) == expected


def test_a_sweep_has_an_end() -> None:
    """The maximum number of values is allowed, and one more is not."""
    assert len(steps(1, MOST_STEPS, 1)) == MOST_STEPS
    with pytest.raises(ValueError, match="makes 201 values, which are more than 200"):
        steps(0, MOST_STEPS, 1)


def test_a_step_is_more_than_nothing() -> None:
    """Whatever the bounds of the parameter are, a sweep makes progress."""
    window, threshold = parameter_of(123, "window"), parameter_of(123, "threshold")
    assert (step_of(window).read(1), step_of(threshold).read("0.01")) == (1, Decimal("0.01"))
    for parameter, bad in ((window, 0), (window, "1"), (threshold, "0"), (threshold, "0.001")):
        with pytest.raises(ValueError, match="must be "):
            step_of(parameter).read(bad)


def a_question() -> Question:
    rule = REGISTRY[123]
    by_risk: dict[str, dict[str, Value]] = {"high": {"window": 9}, "low": {}}
    present = RuleSetting(rule=rule, version=4, status="off", parameters=rule.defaults(), by_risk=by_risk)
    one = candidate(present, {"threshold": Decimal("150.00")})
    sweep = Sweep(code=123, parameter="threshold", values=money("100.00", "200.00"))
    candidates = (one, RuleSetting.initial(REGISTRY[30]))
    return Question(candidates=candidates, start=5, end=LAST_TIME, sweep=sweep, at_most=1)


def test_a_question_survives_being_written() -> None:
    """A question stored as JSON is the same when it is read."""
    question = a_question()
    written = json.loads(json.dumps(question.written()))
    assert written == {
        "rules": [
            {
                "code": 123,
                "version": 4,
                "parameters": {"threshold": "150.00", "window": 30},
                "by_risk": {"high": {"window": 9}},
            },
            {"code": 30, "version": 1, "parameters": {"count": 3}, "by_risk": {}},
        ],
        "from": 5,
        "to": LAST_TIME,
        "sweep": {"rule": 123, "parameter": "threshold", "values": ["100.00", "200.00"]},
        "at_most_per_day": 1,
    }
    assert Question.read(written).plan == Question.read(Question.read(written).written()).plan
    assert Question.read(written).written() == written


def test_a_candidate_is_active_and_one_rule_is_swept() -> None:
    """A rule is judged as if it were active; each step differs in the swept parameter alone."""
    plan = a_question().plan
    assert [setting.status for setting in (*plan.candidates, *plan.sweep)] == ["active"] * 4
    assert [setting.parameters for setting in plan.sweep] == [
        {"threshold": Decimal("100.00"), "window": 30},
        {"threshold": Decimal("200.00"), "window": 30},
    ]


def test_what_is_reported() -> None:
    """Alerts per day count whole days; of equally busy days the first is named, and the first value that is quiet."""
    none = {"added": 0, "removed": 0, "true_lost": 0, "false_spared": 0}
    result = BacktestResult(
        actions=9,
        users=3,
        first=86_399,
        last=3 * 86_400,
        days={0, 1, 3, 2},
        then=AlertFigures(2, 1, days=Counter({1: 1, 0: 1})),
        true_positives=1,
        now=[AlertFigures(3, 2, 2, 1, 1, 0, Counter({1: 1, 3: 2})), AlertFigures(5, 2), AlertFigures(4, 2)],
        removed=[AlertSample((7, 1, 123), 10, {}, "true_positive")],
    )
    assert report(a_question(), result) == {
        "actions": 9,
        "users": 3,
        "from": 86_399,
        "to": 259_200,
        "days": 4,
        "left_out": 0,
        "warnings": [],
        "then": {
            "alerts": 2,
            "users": 1,
            "alerts_per_day": 0.5,
            "busiest_day": {"from": 0, "to": 86_399, "alerts": 1},
        },
        "now": {
            "alerts": 3,
            "users": 2,
            "alerts_per_day": 0.75,
            "busiest_day": {"from": 259_200, "to": 345_599, "alerts": 2},
        },
        "added": 2,
        "removed": 1,
        "true_lost": 1,
        "false_spared": 0,
        "true_positives": 1,
        "false_positives": 0,
        "added_alerts": [],
        "removed_alerts": [
            {
                "id": "7-1-123",
                "user_id": 7,
                "seq": 1,
                "code": 123,
                "time": 10,
                "evidence": {},
                "outcome": "true_positive",
            },
        ],
        "sweep": [
            {"value": "100.00", "alerts": 5, "users": 2, "alerts_per_day": 1.25, **none},
            {"value": "200.00", "alerts": 4, "users": 2, "alerts_per_day": 1.0, **none},
        ],
        "quiet_enough": "200.00",
    }


def test_alerts_per_day_are_those_of_days_with_actions() -> None:
    """Days without any action do not count."""
    result = BacktestResult(days={0, 20_459}, then=AlertFigures(4, 1), now=[AlertFigures(1, 1)] * 3)
    written = report(a_question(), result)
    assert (written["days"], written["then"]["alerts_per_day"], written["now"]["alerts_per_day"]) == (2, 2.0, 0.5)
    assert [step["alerts_per_day"] for step in written["sweep"]] == [0.5, 0.5]


def test_days_are_counted_up_to_a_bound() -> None:
    """By times in nanoseconds each action has a day of its own: no more are kept than can be meant."""
    result = BacktestResult(now=[AlertFigures(1, 1)] * 3)
    for begin in range(0, 4 * MOST_DAYS, MOST_DAYS // 2):
        result.add(BacktestResult(days=set(range(begin, begin + MOST_DAYS // 2)), now=[AlertFigures()] * 3))
    written = report(a_question(), result)
    assert (len(result.days), written["days"], len(written["warnings"])) == (MOST_DAYS, MOST_DAYS, 1)
    assert "perhaps times are not in seconds" in written["warnings"][0]


@pytest.mark.parametrize(
    ("days", "warned"),
    [
        (set(), None),
        ({5}, None),
        ({0, 3_650}, None),
        ({0, 3_000, 6_000}, None),
        ({0, 3_651}, "There is no action in the 10 years between the times 86399 and 315446400: perhaps"),
        ({20_453, 0, 20_454}, "There is no action in the 56 years between the times 86399 and 1767139200: perhaps"),
        ({20_453, 20_453_000}, "There is no action in the 55,979 years between the times 1767225599 and"),
    ],
)
def test_times_of_two_clocks_are_warned_of(days: set[int], warned: str | None) -> None:
    """A gap of more than ten years among the days that have actions is named, with the times at its ends."""
    warnings = report(a_question(), BacktestResult(days=days, now=[AlertFigures()] * 3))["warnings"]
    assert [warning.startswith(str(warned)) for warning in warnings] == ([] if warned is None else [True])
