"""Judging again after late events, on a timeline alone: which actions, how often, and what it notes."""

from decimal import Decimal

import pytest

from rules import late
from rules.base import Last, Parameter, Rule, RuleInForce, Within
from rules.ledger import Account, AlertState, JudgedBy
from rules.model import LAST_TIME, ActionType, Finding, History, Parameters
from rules.registry import REGISTRY
from tests.unit.rules.timeline import actions, events

CODE = 7


def account(stored: str, arriving: str, codes: tuple[int, ...] = (CODE,)) -> Account:
    """A user with stored actions and some that arrive now, all judged by the rules `codes`."""
    made = Account(1, "normal", False, stored.count(",") + 2, Decimal(0), 0, Decimal(0))
    made.load({action.seq: action for action in actions(stored)})
    for event in events(1, arriving):
        made.enter(event, event.amount)
    made.judged = {seq: JudgedBy("normal", codes) for seq in made.times}
    return made


def judged_again(made: Account, look: Last | Within, fires_on: ActionType | None, number: int) -> list[int]:
    """The `seq` of the actions that repair checks with a rule that looks back so, in the order of checking."""
    checked = []

    def check(history: History, parameters: Parameters) -> Finding | None:
        checked.append(history.now.seq)
        return None

    parameter = Parameter("n", "actions" if isinstance(look, Last) else "seconds", number, "")
    rule = Rule(CODE, "", fires_on, (parameter,), (look,), check)
    late.repair(made, [rule], RuleInForce.for_risk, lambda in_force, finding: "")
    return checked


def windows(stored: str, arriving: str, fires_on: ActionType | None = None) -> list[int]:
    """What a window of 30 s over all types reaches."""
    return judged_again(account(stored, arriving), Within("n"), fires_on, 30)


def counts(stored: str, arriving: str, of: ActionType | None = None) -> list[int]:
    """What a count of three reaches."""
    return judged_again(account(stored, arriving), Last("n", of), of, 3)


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
    """All that is behind a late action and within its window is judged again, each once where windows overlap."""
    assert windows(STORED, arriving) == expected


@pytest.mark.parametrize(("fires_on", "expected"), [("deposit", [3]), ("withdraw", [2, 4]), (None, [2, 3, 4])])
def test_windows_ahead_of_one_type(fires_on: ActionType | None, expected: list[int]) -> None:
    """Only actions of the type that the rule fires on are judged again."""
    assert windows(STORED, "d 1 @15", fires_on) == expected


def test_windows_of_another_type() -> None:
    """A late action of a type that the window does not hold changes nothing."""
    assert judged_again(account(STORED, "w 1 @15"), Within("n", "deposit"), "deposit", 30) == []


def test_windows_at_the_end_of_time() -> None:
    """A window that would end after the last time there is ends there."""
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
    """The two actions behind a late one are judged again, each once where several late ones reach it."""
    assert counts(STORED, arriving) == expected


def test_counts_ahead_of_one_type() -> None:
    """Where the rule counts deposits, the next two deposits are judged again, and late withdrawals do nothing."""
    assert counts(STORED, "d 1 @15", "deposit") == [3, 5]
    assert counts(STORED, "w 1 @15", "deposit") == []


def test_in_order_is_not_late() -> None:
    """Actions that arrive in order, equal times included, make nothing be judged again."""
    made = account(STORED, "d 1 @999, d 1 @999, d 1 @1000")
    assert made.late == []
    assert judged_again(made, Within("n"), None, 30) == []


def test_only_what_judged_it_first() -> None:
    """An action is not judged by a rule that did not judge it when it came."""
    assert judged_again(account(STORED, "d 1 @15", codes=(8, 9)), Within("n"), None, 30) == []


def repaired(arriving: str, before: dict[int, AlertState]) -> dict[int, AlertState]:
    """The alerts 300 by `seq` after repair of two deposits of 1.00 and 3.00."""
    made = account("d 1 @10, d 3 @20", arriving, codes=(300,))
    made.alerts = {(seq, 300): state for seq, state in before.items()}
    late.repair(made, REGISTRY.values(), RuleInForce.for_risk, lambda in_force, finding: finding.sentence)
    return {seq: state for (seq, _), state in made.alerts.items()}


def test_what_repair_notes() -> None:
    """A new alert is late with evidence; a stored one changes its standing only where it has to."""
    rise, fall = "d 2 @15", "d 9 @15"
    new = AlertState(stands=True, late=True, evidence="The last 3 deposits keep growing: 1.00, 2.00, 3.00.")
    assert repaired(rise, {}) == {2: new}
    assert repaired(rise, {2: AlertState(stands=True)}) == {2: AlertState(stands=True)}
    assert repaired(rise, {2: AlertState(stands=False)}) == {2: AlertState(stands=True, changed=True)}
    assert repaired(fall, {}) == {}
    assert repaired(fall, {2: AlertState(stands=True)}) == {2: AlertState(stands=False, changed=True)}
    assert repaired(fall, {2: AlertState(stands=False)}) == {2: AlertState(stands=False)}


def test_reach_of_all_rules() -> None:
    """The surroundings to read hold the longest look-back of any rule: three actions, and a minute."""
    reach = late.Surroundings(REGISTRY.values())
    assert (reach.count, reach.seconds) == (3, 60)
