"""Judging again after late events, on a timeline alone: which actions, how often, and what is noted."""

import json
from dataclasses import dataclass, replace

import pytest

from rules.base import First, Last, LookBack, Rule, RuleInForce, RuleSetting, SumsSoFar, SumsWithin, Within
from rules.judging.batch import AlertState, BatchUser
from rules.judging.late import Reach, reach_of
from rules.judging.repair import repair
from rules.model import ActionType, Finding
from rules.parameters import actions as a_number_of_actions
from rules.registry import REGISTRY
from rules.timeline import History
from rules.values import LAST_TIME
from rules.versions import RuleSet
from tests.unit.rules.timeline import actions, events, numbered

EVERYTHING = Reach(endless=True)
NOBODY = RuleSet([], risk="normal")


def judges(rule: Rule) -> RuleSet:
    return RuleSet([RuleSetting.initial(rule)], risk="normal")


def account(stored: str, arriving: str, by: RuleSet) -> BatchUser:
    """A user with stored actions and some that arrive now, all judged by the same rules."""
    made = BatchUser(user_id=1, rule_set=by, last_seq=stored.count(",") + 1)
    made.load(numbered(actions(stored)))
    for event in events(1, arriving):
        made.place(made.accept(event), by)
    made.rule_sets = dict.fromkeys(made.times, by)
    return made


def a_rule(look: LookBack, fires_on: ActionType | None, number: int, checked: list[int]) -> Rule:
    """A rule with this look-back that notes the `seq` of what it checks."""

    @dataclass(frozen=True)
    class Parameters:
        n: int = a_number_of_actions(number, "why")

    def check(history: History, parameters: Parameters) -> Finding | None:
        checked.append(history.now.seq)
        return None

    return Rule(7, "", fires_on, Parameters, (look,), check)


def judged_again(
    stored: str, arriving: str, look: LookBack, fires_on: ActionType | None = None, number: int = 3
) -> list[int]:
    """The `seq` of the actions that repair checks with a rule with this look-back, in the order of checking."""
    checked: list[int] = []
    made = account(stored, arriving, judges(a_rule(look, fires_on, number, checked)))
    if made.late:
        repair(made, EVERYTHING)
    return checked


def windows(stored: str, arriving: str, fires_on: ActionType | None = None) -> list[int]:
    """What a window of 30 s over all types reaches."""
    return judged_again(stored, arriving, Within("n"), fires_on, 30)


def counts(stored: str, arriving: str, of: ActionType | None = None) -> list[int]:
    """What a count of three reaches."""
    return judged_again(stored, arriving, Last("n", of), of)


STORED = "d 1 @10, w 1 @20, d 1 @30, w 1 @40, d 1 @50, w 1 @60, d 1 @70, d 1 @999"


@pytest.mark.parametrize(
    ("arriving", "expected"),
    [
        ("d 1 @15", [2, 3, 4]),
        ("d 1 @10", [2, 3, 4]),
        ("d 1 @9", [1, 2, 3]),
        ("d 1 @71", []),
        ("d 1 @999", []),
        ("d 1 @15, d 1 @65", [2, 3, 4, 7]),
        ("d 1 @35, d 1 @15", [2, 3, 9, 4, 5, 6]),
        ("d 1 @15, d 1 @15", [10, 2, 3, 4]),
        ("d 1 @11, d 1 @12, d 1 @13, d 1 @31", [10, 11, 2, 3, 12, 4, 5, 6]),
    ],
)
def test_windows_ahead(arriving: str, expected: list[int]) -> None:
    """Everything after a late action and within its window is judged again, each once where windows overlap."""
    assert windows(STORED, arriving) == expected


@pytest.mark.parametrize(("fires_on", "expected"), [("deposit", [3]), ("withdraw", [2, 4]), (None, [2, 3, 4])])
def test_windows_ahead_of_one_type(fires_on: ActionType | None, expected: list[int]) -> None:
    """Only actions of the type that the rule fires on are judged again."""
    assert windows(STORED, "d 1 @15", fires_on) == expected


def test_windows_of_another_type() -> None:
    """A late action of a type that the window does not hold changes nothing."""
    assert judged_again(STORED, "w 1 @15", Within("n", "deposit"), "deposit", 30) == []


def test_windows_at_the_end_of_time() -> None:
    """A window that would end after the last possible time ends there."""
    assert windows(f"d 1 @{LAST_TIME - 1}, d 1 @{LAST_TIME}", f"d 1 @{LAST_TIME - 2}") == [1, 2]


@pytest.mark.parametrize(
    ("arriving", "expected"),
    [
        ("d 1 @15", [2, 3]),
        ("d 1 @9", [1, 2]),
        ("d 1 @71", [8]),
        ("d 1 @999", []),
        ("d 1 @15, d 1 @65", [2, 3, 7, 8]),
        ("d 1 @15, d 1 @25", [2, 10, 3, 4]),
        ("d 1 @25, d 1 @15", [2, 9, 3, 4]),
        ("d 1 @15, d 1 @15", [10, 2, 3]),
    ],
)
def test_counts_ahead(arriving: str, expected: list[int]) -> None:
    """The two actions after a late one are judged again, each only once if several late ones reach it."""
    assert counts(STORED, arriving) == expected


def test_counts_ahead_of_one_type() -> None:
    """If the rule counts deposits, the next two deposits are judged again, and late withdrawals do nothing."""
    assert counts(STORED, "d 1 @15", "deposit") == [3, 5]
    assert counts(STORED, "w 1 @15", "deposit") == []


def test_counts_of_another_type() -> None:
    """A withdrawal judged by the last two deposits is reached until two deposits lie between, however many it takes."""
    stored = "w 1 @20, w 1 @21, d 1 @30, w 1 @40, w 1 @41, d 1 @50, w 1 @60"
    assert judged_again(stored, "d 1 @15", Last("n", "deposit"), "withdraw", 2) == [1, 2, 4, 5]
    assert judged_again(stored, "w 1 @15", Last("n", "deposit"), "withdraw", 2) == []


def test_sums_ahead() -> None:
    """A window of which only the sum is read reaches as far as one read whole; sums so far reach all that follows."""
    assert judged_again(STORED, "d 1 @15", SumsWithin("n", "deposit"), number=30) == [2, 3, 4]
    assert judged_again(STORED, "w 1 @15", SumsWithin("n", "deposit"), number=30) == []
    assert judged_again(STORED, "d 1 @65", SumsSoFar("deposit")) == [7, 8]
    assert judged_again(STORED, "w 1 @65", SumsSoFar("deposit")) == []


def test_a_new_first_action() -> None:
    """What a rule counts from the first action is judged again if a late one becomes the first, and only then."""
    assert judged_again(STORED, "w 1 @5", First("n"), "deposit") == [1, 3, 5, 7, 8]
    assert judged_again(STORED, "w 1 @10", First("n"), "deposit") == []


def test_in_order_is_not_late() -> None:
    """Actions that arrive in order, equal times included, are not noted as late."""
    assert account(STORED, "d 1 @999, d 1 @999, d 1 @1000", NOBODY).late == []


def test_only_what_judged_it_first() -> None:
    """An action is judged again by what judged it when it came, and not at all if that is not known."""
    checked: list[int] = []
    made = account(STORED, "d 1 @15", NOBODY)
    made.rule_sets[2] = judges(a_rule(Within("n"), None, 30, checked))
    del made.rule_sets[3]
    repair(made, EVERYTHING)
    assert checked == [2]


def repaired(arriving: str, before: dict[int, AlertState], shadow: bool = False) -> dict[int, AlertState]:
    """The alerts 300 by `seq` after repair of two deposits of 1.00 and 3.00."""
    setting = RuleSetting.initial(REGISTRY[300], "shadow" if shadow else "active")
    made = account("d 1 @10, d 3 @20", arriving, RuleSet([setting], risk="normal"))
    made.alerts = {(seq, 300): state for seq, state in before.items()}
    repair(made, EVERYTHING)
    return {seq: with_sentence_alone(state) for (seq, _), state in made.alerts.items()}


def with_sentence_alone(state: AlertState) -> AlertState:
    """The same, with nothing of the evidence but its sentence."""
    return state if state.evidence is None else replace(state, evidence=json.loads(state.evidence)["sentence"])


def test_what_repair_notes() -> None:
    """A new alert is late with evidence; a stored one changes its status only if it has to."""
    rise, fall = "d 2 @15", "d 9 @15"
    new = AlertState(stands=True, late=True, evidence="The last 3 deposits keep growing: 1.00, 2.00, 3.00.")
    assert repaired(rise, {}) == {2: new}
    assert repaired(rise, {}, shadow=True) == {2: replace(new, shadow=True)}
    assert repaired(rise, {2: AlertState(stands=True)}) == {2: AlertState(stands=True)}
    assert repaired(rise, {2: AlertState(stands=False)}) == {2: AlertState(stands=True, changed=True)}
    assert repaired(fall, {}) == {}
    assert repaired(fall, {2: AlertState(stands=True)}) == {2: AlertState(stands=False, changed=True)}
    assert repaired(fall, {2: AlertState(stands=False)}) == {2: AlertState(stands=False)}


def test_how_far_ahead() -> None:
    """Of several rules the longest reach counts: one action less than a count, all seconds, and what has no end."""

    def reach(*looks: LookBack) -> Reach:
        settings = [RuleSetting.initial(a_rule(look, "deposit", n, [])) for n, look in enumerate(looks, start=3)]
        return reach_of(RuleInForce(setting, risk="normal", overrides={}) for setting in settings)

    assert reach() == Reach()
    assert reach(Last("n"), Last("n", "deposit")) == Reach(count=3)
    assert reach(Last("n", "withdraw")) == Reach(until={"withdraw": 3})
    assert reach(Within("n"), SumsWithin("n", "deposit")) == Reach(seconds=4)
    assert reach(SumsSoFar("deposit"), First("n"), First("n")) == Reach(endless=True, after_first=5)


def test_where_repair_stops() -> None:
    """What is out of reach of every late action is not even looked at, unless a rule's reach has no end."""
    reach = Reach(count=1, seconds=30)
    assert not reach.is_passed(31, 1)
    assert not reach.is_passed(30, 2)
    assert reach.is_passed(31, 2)
    assert not Reach(count=1, seconds=30, endless=True).is_passed(31, 2)
    assert not Reach(count=1, seconds=30, until={"deposit": 1}).is_passed(31, 2)
    assert not Reach(count=1, seconds=30, after_first=5).is_passed(31, 2)
