"""Late and superseded alerts as a story, and an alert's figures in words: no more is said than is known."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from markupsafe import Markup

from database.alert_evidence import LateArrival
from routes.desk import alert_facts
from routes.desk.alert_facts import Measured
from routes.desk.alert_story import Past, last_known, story
from routes.desk.evidence_chart import Line, Shade
from rules.registry import REGISTRY

RAISED = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
LATER, LAST = RAISED + timedelta(minutes=1), RAISED + timedelta(minutes=2)


def arrival(seq: int, time: int = 15, at: datetime = LATER) -> LateArrival:
    """A deposit that came late."""
    return LateArrival(seq, "deposit", Decimal("50.00"), time, at)


def past(**more: Any) -> Past:
    """An alert of event #11 at 25, and what has come since."""
    known: dict[str, Any] = {"seq": 11, "time": 25, "late": False, "superseded": False, "arrivals": ()}
    moments = {"created_at": RAISED, "touched_at": RAISED, "worked_at": None}
    return Past(**known | moments | {"saw_all": True, "has_dates": False} | more)


def said(one: Past) -> str:
    """The story without its tags."""
    return " ".join(Markup(sentence).striptags() for sentence in story(one))


def test_nothing_to_say() -> None:
    """An alert that came in order and holds has no story, whatever came late after it."""
    assert story(past(arrivals=[arrival(12)])) == []


def test_raised_late() -> None:
    """The event that was stored together with the alert raised it."""
    one = past(late=True, created_at=LATER, arrivals=[arrival(12), arrival(13, at=LAST)])
    assert said(one) == (
        "Event #11 at 25 did not raise this alert when it came, so the alert is not in the answer to it. It was raised "
        "when event #12 (a deposit of 50.00 at 15) arrived, on 2026-01-31 12:01:00 UTC: its time is 10 s before that "
        "of event #11."
    )
    assert last_known(one) == 12


def test_raised_late_where_times_are_dates() -> None:
    """How late the event was by the clock is said too."""
    time = int(LATER.timestamp()) - 180
    one = past(late=True, created_at=LATER, time=time + 20, has_dates=True, arrivals=[arrival(12, time)])
    assert "arrived 3 minutes late, on 2026-01-31 12:01:00 UTC: its time is 20 s before" in said(one)


def test_raised_by_one_of_several() -> None:
    """Events that were stored together are all named; nobody can say which of them it was."""
    together = [arrival(seq) for seq in range(12, 17)]
    assert "when events #12, #13, #14 and 2 more arrived," in said(past(late=True, created_at=LATER, arrivals=together))


def test_raised_by_what_is_too_far_away() -> None:
    """Where the event was not found, none is named, and nobody knows what had come by then."""
    one = past(late=True, created_at=LATER, arrivals=[], saw_all=False)
    assert "when a late event, which belongs before it, arrived," in said(one)
    assert last_known(one) is None


def test_superseded_by_the_only_one() -> None:
    """If one event alone came late since, that was it."""
    one = past(superseded=True, arrivals=[arrival(12)], touched_at=LAST, worked_at=LAST)
    assert said(one) == (
        "It no longer holds since event #12 (a deposit of 50.00 at 15) arrived, on 2026-01-31 12:01:00 UTC: that "
        "belongs before event #11. It is kept with the evidence it was raised on."
    )


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"touched_at": LAST}, "It no longer holds since 2026-01-31 12:02:00 UTC: a late event changed"),
        ({"touched_at": LAST, "worked_at": LATER}, "It no longer holds since 2026-01-31 12:02:00 UTC: a late event"),
        (
            {"touched_at": LAST, "worked_at": LAST},
            "It no longer holds: a late event changed what came before event #11.",
        ),
        ({"saw_all": False}, "event #11. It is kept"),
    ],
)
def test_superseded_by_one_of_several(more: dict[str, Any], expected: str) -> None:
    """Which one is not said; since when is, unless somebody has worked the alert after that."""
    one = past(**{"superseded": True, "arrivals": [arrival(12), arrival(14)], "touched_at": LAST} | more)
    assert expected in said(one)
    assert ("It was one of events #12 and #14." in said(one)) == one.saw_all


def test_raised_late_and_superseded() -> None:
    """What raised it is not taken for what took it away."""
    one = past(late=True, superseded=True, created_at=LATER, arrivals=[arrival(12), arrival(13, at=LAST)])
    assert "It was raised when event #12" in said(one)
    assert "It no longer holds since event #13" in said(one)


@pytest.mark.parametrize(
    ("code", "value", "parameters", "expected"),
    [
        (123, "220.00", {"threshold": "200.00"}, Measured("220.00", "200.00", "threshold", "20.00 over (10 %)")),
        (660, "990.00", {"threshold": "9.00"}, Measured("990.00", "9.00", "threshold", "981.00 over (109 times)")),
        (1100, "100.01", {"threshold": "100.00"}, Measured("100.01", "100.00", "threshold", "0.01 over")),
        (1100, "0.01", {"threshold": "0.00"}, Measured("0.01", "0.00", "threshold", None)),
        (500, 1200, {"count": 5, "window": 60}, Measured("1,200", "5", "count", None)),
        (620, 90 * 86_400 + 61, {"gap": 86_400}, Measured("90 days 1 minute", "1 day", "gap", None)),
        (630, "400.00", {"times": "5.00", "count": 10}, Measured("400.00", None, None, None)),
        (600, 3, {"threshold": "10000.00", "count": 3}, Measured("3", "3", "count", None)),
        (500, 7, {"limit": 5}, Measured("7", None, None, None)),
        (999_999, 7, {"count": 5}, Measured("7", None, None, None)),
    ],
)  # fmt: skip
def test_measured(code: int, value: str | int, parameters: dict[str, Any], expected: Measured) -> None:
    """What was measured stands beside what it was compared with, whatever that is."""
    assert alert_facts.measured(code, {"measured": value, "parameters": parameters}) == expected


@pytest.mark.parametrize("code", REGISTRY)
def test_every_rule_has_facts(code: int) -> None:
    """Each parameter of each rule is in words, with its origin."""
    rule = REGISTRY[code]
    evidence = {
        "parameters": {one.name: str(one.default) if one.is_decimal else one.default for one in rule.declared},
        "origin": {one.name: "default" for one in rule.declared},
    }
    facts = alert_facts.parameter_facts(code, evidence, "normal")
    assert [one.name for one in facts] == [one.name for one in rule.declared]
    assert {one.origin for one in facts} == {"default"}


def test_origins() -> None:
    """Where a value came from is said in words."""
    words = [alert_facts.origin(one, "high") for one in ("override", "by_risk", "risk", "default", None)]
    assert words == [
        "this user's override",
        "the rule's value for users rated high",
        "scaled by the rating high (times 0.5)",
        "default",
        "–",
    ]


def test_windows() -> None:
    """A window ends with the judged action; a silence is what was found between two."""
    assert alert_facts.window({"parameters": {"window": 30}}, 118, {}) == Shade(88, 118, "window of 30 s")
    assert alert_facts.window({"parameters": {"age": 200}}, 118, {}) == Shade(0, 118, "window of 3 minutes 20 s")
    silence = {"parameters": {"gap": 50}, "actions": [4, 5]}
    assert alert_facts.window(silence, 118, {4: 8, 5: 118}) == Shade(8, 118, "1 minute 50 s without an action")
    assert alert_facts.window(silence, 118, {}) is None
    assert alert_facts.window({"parameters": {"count": 3}}, 118, {}) is None


def test_lines_of_amounts() -> None:
    """Only thresholds of single amounts are lines: not those of sums."""
    assert alert_facts.amount_lines(1100, {"parameters": {"threshold": "100.00"}}) == [
        Line(Decimal("100.00"), "withdraw", "threshold")
    ]
    micro = {"parameters": {"threshold": "100.00", "tiny": "0.99"}}
    assert [one.type for one in alert_facts.amount_lines(650, micro)] == ["withdraw", "deposit"]
    for code in (123, 660, 680, 690, 999_999):
        assert alert_facts.amount_lines(code, {"parameters": {"threshold": "200.00"}}) == []


def test_the_line_of_an_average() -> None:
    """It is drawn as long as the actions before are those that the rule took the average of."""
    evidence = {"parameters": {"times": "5.00", "count": 10}, "actions_unlisted": 12}
    expected = Line(Decimal("41.67"), "deposit", "5 times the average")
    assert alert_facts.average_line(evidence, "deposit", 12, Decimal("100.00")) == expected
    assert alert_facts.average_line(evidence, "deposit", 13, Decimal("100.00")) is None
    assert alert_facts.average_line({"parameters": {"count": 3}}, "deposit", 12, Decimal("100.00")) is None


def test_what_is_summed() -> None:
    """Actions that are not listed are those that the rule looks back at; of a rule that is gone, nothing is known."""
    evidence = {"parameters": {"window": 100}, "actions_unlisted": 4}
    assert alert_facts.summed(690, evidence, "deposit", 130) == {"deposit": 30, "withdraw": 30}
    assert alert_facts.summed(660, evidence, "withdraw", 50) == {"withdraw": 0}
    assert alert_facts.summed(630, evidence, "deposit", 50) == {"deposit": 0}
    assert alert_facts.summed(690, {"parameters": {"window": 100}}, "deposit", 130) == {}
    assert alert_facts.summed(999_999, evidence, "deposit", 130) == {}
