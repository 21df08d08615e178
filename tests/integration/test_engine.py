"""The engine on a real PostgreSQL: what it answers, what it stores, and what it costs."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from database import prepared
from database import users as database_users
from database.session import CommitUncertain
from rules.judging.engine import RuleEngine
from rules.model import Event, Outcome, Refusal, Verdict
from rules.policy import Policy
from rules.registry import DEFAULT_CODES, REGISTRY
from rules.values import LAST_TIME
from tests.conftest import PLAIN
from tests.postgres import transaction
from tests.unit.rules.timeline import events

pytestmark = pytest.mark.forms

Sessions = sessionmaker[Session]

DEFAULT_RULES = tuple(REGISTRY[code] for code in DEFAULT_CODES)
ALL_RULES = tuple(REGISTRY[code] for code in (1100, 30, 300, 123, 500))  # those of the contract


def process(sessions: Sessions, posted: Sequence[Event], rules: Any = DEFAULT_RULES, **policy: bool) -> list[Outcome]:
    """The outcomes of one batch under the default policy, with the changes of `policy`."""
    with sessions() as session:
        engine = RuleEngine(Policy(rules, **policy))
        engine.rules.enter_declared(session)
        return engine.process(session, posted)


def enter(sessions: Sessions, rules: Any) -> None:
    """Make these rules the active ones, as `process` would first."""
    with sessions() as session:
        RuleEngine(Policy(rules)).rules.enter_declared(session)


def post(sessions: Sessions, user_id: int, notation: str, **policy: Any) -> list[Any]:
    """The codes of each noted event of one user, posted as one batch; the reason if one is refused."""
    return [result_of(outcome) for outcome in process(sessions, events(user_id, notation), **policy)]


def result_of(outcome: Outcome) -> Any:
    return outcome.reason if isinstance(outcome, Refusal) else list(outcome.codes)


def rows(sessions: Sessions, statement: str, **values: object) -> list[tuple[Any, ...]]:
    with sessions() as session:
        return [tuple(row) for row in session.execute(text(statement), values)]


def users(sessions: Sessions) -> dict[int, tuple[int, Decimal]]:
    """Each user's `last_seq` and balance."""
    return {u: (seq, balance) for u, seq, balance in rows(sessions, "SELECT user_id, last_seq, balance FROM users")}


def seqs(sessions: Sessions, user_id: int) -> list[int]:
    """The `seq` of the user's stored actions."""
    found = rows(sessions, "SELECT seq FROM user_actions WHERE user_id = :u ORDER BY seq", u=user_id)
    return [seq for (seq,) in found]


def alerts(sessions: Sessions) -> list[tuple[int, int, int]]:
    """All stored alerts as (user_id, seq, code)."""
    return rows(sessions, "SELECT user_id, seq, code FROM alerts ORDER BY user_id, seq, code")


def create_user(sessions: Sessions, user_id: int, total: str = "0.00", risk: str = "normal") -> None:
    with transaction(sessions) as session:
        assert database_users.create_user(session, user_id, name=None, total=Decimal(total), risk=risk)


@contextmanager
def statements(sessions: Sessions) -> Iterator[list[str]]:
    """Collects the SQL statements that are executed within the block.

    Those with which an engine reads or enters the rules before its first transaction are left out.
    """
    executed: list[str] = []

    def record(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "rule_versions" not in statement or "count_and_lock" in statement:
            executed.append(statement)

    def run_directly(connection: Any, statement: str, values: Any) -> Any:
        record(connection, None, statement)
        return directly(connection, statement, values)

    engine, directly = sessions.kw["bind"], prepared.run_directly
    sqlalchemy_event.listen(engine, "before_cursor_execute", record)
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("database.") and getattr(module, "run_directly", None) is directly:
                patch.setattr(module, "run_directly", run_directly)
        yield executed
    sqlalchemy_event.remove(engine, "before_cursor_execute", record)


# What is stored


def test_stored_rows(sessions: Sessions) -> None:
    """An event is stored with its place in the order of arrival and the codes it was answered with."""
    answered = post(sessions, 7, "d 42.50 @10, w 150 @5 #mine, d 0.01 @10")
    stored = rows(sessions, "SELECT user_id, seq, type, amount, time, event_id, alert_codes FROM user_actions")
    assert answered == [[], [1100], []]
    assert sorted(stored) == [
        (7, 1, "deposit", Decimal("42.50"), 10, None, []),
        (7, 2, "withdraw", Decimal("150.00"), 5, "mine", [1100]),
        (7, 3, "deposit", Decimal("0.01"), 10, None, []),
    ]
    assert users(sessions) == {7: (3, Decimal("-107.49"))}


def test_codes_in_answer_order(sessions: Sessions) -> None:
    """Several codes on one event are listed in the contract's order, and each is an alert of its own."""
    first = post(sessions, 1, "d 1 @0, d 2 @0, w 1 @0, w 1 @0, d 3 @0, d 300 @0", rules=ALL_RULES)
    assert first == [[], [], [], [], [300], [300, 123, 500]]
    assert post(sessions, 1, "w 1 @1, w 1 @1, w 101 @1", rules=ALL_RULES) == [[500], [500], [1100, 30, 500]]
    assert alerts(sessions) == [
        (1, 5, 300),
        (1, 6, 123),
        (1, 6, 300),
        (1, 6, 500),
        (1, 7, 500),
        (1, 8, 500),
        (1, 9, 30),
        (1, 9, 500),
        (1, 9, 1100),
    ]


def test_only_active_rules_answer(sessions: Sessions) -> None:
    """A rule that is not active neither answers nor alerts."""
    found = post(sessions, 1, "w 101 @0, w 101 @0, w 101 @0", rules=(REGISTRY[30],))
    assert (found, alerts(sessions)) == ([[], [], [30]], [(1, 3, 30)])


def test_no_rules_at_all(sessions: Sessions) -> None:
    """Without any rule events are stored and nothing alerts."""
    assert post(sessions, 1, "w 101 @0, d 500 @0", rules=()) == [[], []]
    assert (seqs(sessions, 1), alerts(sessions)) == ([1, 2], [])


EVIDENCE = {
    1100: (
        "w 100.01 @3",
        {
            "rule_version": 1,
            "measured": "100.01",
            "parameters": {"threshold": "100.00"},
            "origin": {"threshold": "default"},
            "actions": [1],
            "sentence": "A withdrawal of 100.01 is over 100.00.",
        },
    ),
    30: (
        "w 1 @1, w 1 @2, w 1 @3",
        {
            "rule_version": 1,
            "measured": 3,
            "parameters": {"count": 3},
            "origin": {"count": "default"},
            "actions": [1, 2, 3],
            "sentence": "The last 3 actions are all withdrawals.",
        },
    ),
    300: (
        "d 1 @1, w 1 @1, d 2.50 @2, d 3 @3",
        {
            "rule_version": 1,
            "measured": 3,
            "parameters": {"count": 3},
            "origin": {"count": "default"},
            "actions": [1, 3, 4],
            "sentence": "The last 3 deposits keep growing: 1.00, 2.50, 3.00.",
        },
    ),
    123: (
        "d 50 @0, d 100 @10, d 120 @31",
        {
            "rule_version": 1,
            "measured": "220.00",
            "parameters": {"threshold": "200.00", "window": 30},
            "origin": {"threshold": "default", "window": "default"},
            "actions": [2, 3],
            "sentence": "Deposits of 220.00 between 10 and 31 are over 200.00 in 30 s.",
        },
    ),
    500: (
        "d 1 @0, d 1 @0, w 1 @0, d 1 @0, w 1 @0, d 1 @60",
        {
            "rule_version": 1,
            "measured": 6,
            "parameters": {"count": 5, "window": 60},
            "origin": {"count": "default", "window": "default"},
            "actions": [1, 2, 3, 4, 5, 6],
            "sentence": "6 actions between 0 and 60 are more than 5 in 60 s.",
        },
    ),
}


@pytest.mark.parametrize("batched", [True, False], ids=["one batch", "one by one"])
@pytest.mark.parametrize("code", EVIDENCE)
def test_evidence(code: int, batched: bool, sessions: Sessions) -> None:
    """An alert keeps what was measured, with which parameters, over which actions, and says so in a sentence."""
    notation, evidence = EVIDENCE[code]
    for part in [notation] if batched else notation.split(","):
        post(sessions, 1, part, rules=(REGISTRY[code],))
    assert rows(sessions, "SELECT code, evidence FROM alerts") == [(code, evidence)]


def test_evidence_of_a_long_burst(sessions: Sessions) -> None:
    """Evidence lists the newest 100 actions of a burst and counts the others."""
    post(sessions, 1, ", ".join(["d 3 @0"] * 102), rules=(REGISTRY[123],))
    ((evidence,),) = rows(sessions, "SELECT evidence FROM alerts WHERE seq = 102")
    assert (evidence["measured"], evidence["actions"]) == ("306.00", list(range(3, 103)))
    assert evidence["actions_unlisted"] == 2


def test_measured_money_of_a_stored_history(sessions: Sessions) -> None:
    """Sums over stored and new actions have two decimals, whatever the digits of the new ones."""
    post(sessions, 1, "d 100.10 @0")
    post(sessions, 1, "d 100 @1")
    ((evidence,),) = rows(sessions, "SELECT evidence FROM alerts")
    assert evidence["measured"] == "200.10"


# The same event again


def test_replay(sessions: Sessions) -> None:
    """The same event_id with the same payload answers the first codes again and stores nothing."""
    process(sessions, events(1, "d 150 @0, d 100 @1 #key"))
    before = (users(sessions), alerts(sessions))
    (again,) = process(sessions, events(1, "d 100 @1 #key"))
    assert again == Verdict(1, (123,), replayed=True)
    assert (users(sessions), alerts(sessions), seqs(sessions, 1)) == (*before, [1, 2])


def test_replay_keeps_the_first_answer(sessions: Sessions) -> None:
    """A replay repeats the first answer, even if the rules would say otherwise now."""
    post(sessions, 1, "w 150 @0 #key")
    (again,) = process(sessions, events(1, "w 150 @0 #key"), rules=())
    assert again == Verdict(1, (1100,), replayed=True)


@pytest.mark.parametrize("changed", ["d 100.01 @5 #key", "w 100 @5 #key", "d 100 @6 #key"])
def test_event_id_with_another_payload(changed: str, sessions: Sessions) -> None:
    """An event_id that comes again with another amount, type or time is refused and stores nothing."""
    post(sessions, 1, "d 100 @5 #key")
    assert post(sessions, 1, changed) == ["event_id_conflict"]
    assert users(sessions) == {1: (1, Decimal("100.00"))}


def test_event_id_belongs_to_its_user(sessions: Sessions) -> None:
    """Two users may use the same event_id, in one batch or in two."""
    process(sessions, events(1, "d 1 @0 #key") + events(2, "d 2 @0 #key"))
    (third,) = process(sessions, events(3, "d 3 @0 #key"))
    assert third == Verdict(3, ())
    assert users(sessions) == {u: (1, Decimal(u)) for u in (1, 2, 3)}


@pytest.mark.parametrize(
    "event_id", ["NULL", "null", "{a,b}", "a\\b", "it's", '"quoted"', "%s %(x)s", ":x", " ", "~" * 128]
)
def test_event_id_may_be_any_printable_text(event_id: str, sessions: Sessions) -> None:
    """An event_id is stored and found again as it is, whatever its characters mean to a database."""
    posted = [Event(1, "deposit", Decimal("1.00"), 0, event_id)]
    assert [process(sessions, posted), process(sessions, posted)] == [[Verdict(1, ())], [Verdict(1, (), replayed=True)]]
    assert rows(sessions, "SELECT event_id FROM user_actions") == [(event_id,)]


def test_replay_and_conflict_within_a_batch(sessions: Sessions) -> None:
    """An event_id that occurs twice in one batch is a replay, or a conflict if the payload differs."""
    found = process(sessions, events(1, "d 201 @0 #key, d 201 @0 #key, d 5 @0 #key, d 1 @9"))
    assert found[:2] == [Verdict(1, (123,)), Verdict(1, (123,), replayed=True)]
    assert [result_of(outcome) for outcome in found[2:]] == ["event_id_conflict", [123]]
    assert (seqs(sessions, 1), users(sessions)) == ([1, 2], {1: (2, Decimal("202.00"))})


def test_replay_beside_new_events(sessions: Sessions) -> None:
    """A replay in the middle of new events leaves no gap and counts once."""
    post(sessions, 1, "d 10 @0 #first")
    found = process(sessions, events(1, "d 20 @1, d 10 @0 #first, d 30 @2"))
    assert found == [Verdict(1, ()), Verdict(1, (), replayed=True), Verdict(1, (300,))]
    assert (seqs(sessions, 1), users(sessions)) == ([1, 2, 3], {1: (3, Decimal("60.00"))})


def test_refused_event_id_can_come_again(sessions: Sessions) -> None:
    """A refused event leaves nothing: with the same event_id it is judged once it fits, even with changes."""
    assert post(sessions, 1, "w 10 @0 #key", allow_overdraft=False) == ["overdraft"]
    assert post(sessions, 1, "d 10 @0, w 9 @1 #key, w 9 @1 #key", allow_overdraft=False) == [[], [], []]
    assert users(sessions) == {1: (2, Decimal("1.00"))}


# What is refused


def test_overdraft_is_allowed_by_default(sessions: Sessions) -> None:
    """A balance may go below zero unless the policy says otherwise."""
    assert post(sessions, 1, "w 10 @0") == [[]]
    assert users(sessions) == {1: (1, Decimal("-10.00"))}


def test_overdraft_rejected(sessions: Sessions) -> None:
    """A withdrawal over the balance is refused, to the cent; the whole balance can be withdrawn."""
    create_user(sessions, 1, "100.00")
    assert post(sessions, 1, "w 100.01 @0", allow_overdraft=False) == ["overdraft"]
    assert users(sessions) == {1: (0, Decimal("100.00"))}
    assert post(sessions, 1, "w 100.00 @0", allow_overdraft=False) == [[]]
    assert post(sessions, 1, "w 0.01 @0", allow_overdraft=False) == ["overdraft"]
    assert users(sessions) == {1: (1, Decimal("0.00"))}


def test_overdraft_within_a_batch(sessions: Sessions) -> None:
    """Each withdrawal of a batch sees the balance that the events before it left, not the ones after it."""
    found = post(sessions, 1, "w 5 @0, d 10 @0, w 6 @0, w 5 @0, w 4 @0, d 50 @0", allow_overdraft=False)
    assert found == ["overdraft", [], [], "overdraft", [], []]
    assert (seqs(sessions, 1), users(sessions)) == ([1, 2, 3, 4], {1: (4, Decimal("50.00"))})


def test_refused_withdrawal_does_not_count(sessions: Sessions) -> None:
    """What was refused is no action: three withdrawals with a refused one among them are two."""
    create_user(sessions, 1, "10.00")
    assert post(sessions, 1, "w 1 @0, w 99 @0, w 1 @0, w 1 @0", allow_overdraft=False) == [[], "overdraft", [], [30]]


def test_unknown_users_rejected(sessions: Sessions) -> None:
    """An event for an unknown user is refused and makes no user; others in the batch are stored."""
    create_user(sessions, 1)
    batch = events(2, "d 1 @0") + events(1, "d 1 @0") + events(3, "w 500 @0")
    found = [result_of(outcome) for outcome in process(sessions, batch, create_users=False)]
    assert found == ["unknown_user", [], "unknown_user"]
    assert users(sessions) == {1: (1, Decimal("1.00"))}


def test_only_unknown_users_rejected(sessions: Sessions) -> None:
    """A batch for unknown users alone stores nothing at all."""
    found = [result_of(o) for o in process(sessions, events(2, "d 1 @0 #k, d 1 @0 #k"), create_users=False)]
    assert (found, users(sessions)) == (["unknown_user"] * 2, {})


def test_out_of_order_is_accepted_by_default(sessions: Sessions) -> None:
    """A late event is judged on what is stored at or before its time."""
    assert post(sessions, 1, "d 150 @50") == [[]]
    assert post(sessions, 1, "d 100 @40") == [[]]
    assert post(sessions, 1, "d 50.01 @50") == [[123]]


@pytest.mark.parametrize("kind", ["d", "w"])
def test_out_of_order_rejected(kind: str, sessions: Sessions) -> None:
    """An event older than the user's newest, of whichever type, is refused; an equal time is in order."""
    post(sessions, 1, "d 10 @50, w 1 @60")
    assert post(sessions, 1, f"{kind} 5 @59", accept_out_of_order=False) == ["out_of_order"]
    assert users(sessions) == {1: (2, Decimal("9.00"))}
    assert post(sessions, 1, f"{kind} 5 @60", accept_out_of_order=False) == [[]]
    assert seqs(sessions, 1) == [1, 2, 3]


def test_out_of_order_sees_far_newer_actions(sessions: Sessions) -> None:
    """The newest action decides, even one far ahead that no rule would read."""
    post(sessions, 1, f"d 10 @{LAST_TIME}")
    assert post(sessions, 1, "d 10 @0", accept_out_of_order=False, rules=()) == ["out_of_order"]


def test_out_of_order_within_a_batch(sessions: Sessions) -> None:
    """Each event of a batch is held against the stored ones before it; a refused one does not count."""
    found = post(sessions, 1, "d 1 @10, d 1 @5, d 1 @20, d 1 @15, d 1 @20", accept_out_of_order=False)
    assert found == [[], "out_of_order", [], "out_of_order", []]
    assert (seqs(sessions, 1), users(sessions)) == ([1, 2, 3], {1: (3, Decimal("3.00"))})


def at(now: int, sessions: Sessions, notation: str, **policy: Any) -> list[Any]:
    """The same as `post`, for user 1, when the clock says `now` and events may be 60 s ahead."""
    with sessions() as session:
        engine = RuleEngine(Policy((), max_ahead=60, **policy), clock=lambda: now + 0.9)
        engine.rules.enter_declared(session)
        return [result_of(outcome) for outcome in engine.process(session, events(1, notation))]


def test_too_far_ahead(sessions: Sessions) -> None:
    """An event more than so many seconds ahead of the clock is refused, by itself and among others."""
    assert at(1000, sessions, f"d 1 @1060, d 1 @1061, d 1 @0, d 1 @{LAST_TIME}") == [
        [],
        "too_far_ahead",
        [],
        "too_far_ahead",
    ]
    assert users(sessions) == {1: (2, Decimal("2.00"))}
    assert at(1001, sessions, "d 1 @1061 #k") == [[]]
    assert at(0, sessions, "d 1 @1061 #k, w 9 @1061 #k, w 9 @61", allow_overdraft=False) == [
        [],
        "event_id_conflict",
        "overdraft",
    ]


def test_what_is_too_far_ahead_already(sessions: Sessions) -> None:
    """Stored actions further ahead than an event may be do not count for the order of arrival, and stay where they are.

    What comes then is in order among itself, in one batch or several, and counts again once the clock has got there.
    """
    post(sessions, 1, "d 10 @900, w 1 @950, d 150 @5000, w 1 @6000")
    strict: Any = {"accept_out_of_order": False}
    assert at(1000, sessions, "d 1 @949, d 1 @950, d 1 @1000, d 1 @999", **strict) == [
        "out_of_order",
        [],
        [],
        "out_of_order",
    ]
    assert at(1000, sessions, "d 1 @999, d 1 @1060, d 1 @1061", **strict) == ["out_of_order", [], "too_far_ahead"]
    assert at(4939, sessions, "d 1 @1059, d 1 @1060", **strict) == ["out_of_order", []]
    assert at(4940, sessions, "d 1 @1060, d 1 @5000", **strict) == ["out_of_order", []]
    assert at(5940, sessions, "d 1 @5999", **strict) == ["out_of_order"]
    found = rows(sessions, "SELECT time FROM user_actions WHERE user_id = 1 ORDER BY seq")
    assert [time for (time,) in found] == [900, 950, 5000, 6000, 950, 1000, 1060, 1060, 5000]


def test_a_new_user_with_nothing_but_what_is_too_far_ahead(sessions: Sessions) -> None:
    """If all stored actions are too far ahead, any time is in order."""
    post(sessions, 1, "d 10 @5000")
    assert at(1000, sessions, "d 1 @0, d 1 @7, d 1 @6", accept_out_of_order=False) == [[], [], "out_of_order"]


def test_mixed_batch(sessions: Sessions) -> None:
    """Refused, replayed and stored events of many users in one batch: no gaps, right balances, no needless users."""
    create_user(sessions, 1, "5.00")
    create_user(sessions, 2)
    batch = [
        *events(1, "w 5 @0 #a, w 1 @0, w 5 @0 #a, d 7 @9, d 7 @8"),
        *events(2, "w 1 @0"),
        *events(3, "w 1 @0, w 2 @0"),
        *events(4, "w 1 @0, d 8 @0, w 3 @0"),
    ]
    found = [result_of(o) for o in process(sessions, batch, allow_overdraft=False, accept_out_of_order=False)]
    assert found == [
        *([], "overdraft", [], [], "out_of_order"),
        "overdraft",
        *("overdraft", "overdraft"),
        *("overdraft", [], []),
    ]
    assert users(sessions) == {1: (2, Decimal("7.00")), 2: (0, Decimal("0.00")), 4: (2, Decimal("5.00"))}
    assert [seqs(sessions, user_id) for user_id in (1, 2, 3, 4)] == [[1, 2], [], [], [1, 2]]


def test_a_user_made_beforehand_stays(sessions: Sessions) -> None:
    """A user without actions whose events are all refused existed before, and stays."""
    create_user(sessions, 1)
    batch = events(1, "w 1 @0") + events(2, "d 1 @0")
    assert [result_of(o) for o in process(sessions, batch, allow_overdraft=False)] == ["overdraft", []]
    assert users(sessions) == {1: (0, Decimal("0.00")), 2: (1, Decimal("1.00"))}


def test_new_user_with_refused_events_alone(sessions: Sessions) -> None:
    """A user named only by refused events is not created."""
    assert post(sessions, 1, "w 1 @0, w 2 @0", allow_overdraft=False) == ["overdraft", "overdraft"]
    assert users(sessions) == {}


def test_empty_batch(sessions: Sessions) -> None:
    """No events have no outcomes."""
    assert process(sessions, []) == []


def test_a_failed_batch_stores_nothing(sessions: Sessions) -> None:
    """When a statement fails, no event of the batch is stored and the next batch is judged as if it never came."""
    with transaction(sessions) as session:
        session.execute(text("ALTER TABLE alerts ADD CONSTRAINT refuse_30 CHECK (code <> 30)"))
    with pytest.raises((DBAPIError, CommitUncertain)) as caught:
        post(sessions, 1, "w 1 @0, w 1 @0, w 1 @0")
    assert "refuse_30" in str(caught.value.__cause__)  # on Citus it comes as an uncertain commit
    assert (users(sessions), seqs(sessions, 1)) == ({}, [])
    assert post(sessions, 1, "w 101 @0") == [[1100]]


# Users


@pytest.mark.parametrize(
    ("risk", "expected"),
    [
        ("low", [[], [], [30], [1100, 30], [], [], [], [123]]),
        ("normal", [[], [], [1100, 30], [1100, 30], [], [], [123], [123]]),
        ("high", [[], [1100], [1100, 30], [1100, 30], [], [123], [123], [123]]),
    ],
)
def test_stored_risk_scales_money(risk: str, expected: list[list[int]], sessions: Sessions) -> None:
    """The user's stored rating doubles or halves the money thresholds, and leaves counts and windows alone."""
    create_user(sessions, 1, risk=risk)
    found = post(sessions, 1, "w 50 @0, w 50.01 @0, w 100.01 @0, w 200.01 @0")
    found += post(sessions, 1, "d 100 @100, d 100 @130, d 0.01 @130, d 200 @130")
    assert found == expected


def test_origin_of_a_scaled_threshold(sessions: Sessions) -> None:
    """Evidence shows the threshold that was in force and that it came from the risk rating."""
    create_user(sessions, 1, risk="high")
    post(sessions, 1, "d 100.01 @0")
    ((evidence,),) = rows(sessions, "SELECT evidence FROM alerts")
    assert evidence["parameters"] == {"threshold": "100.00", "window": 30}
    assert evidence["origin"] == {"threshold": "risk", "window": "default"}


def test_risks_side_by_side(sessions: Sessions) -> None:
    """Users of different ratings in one batch are each judged by their own."""
    for user_id, risk in enumerate(["low", "normal", "high"], start=1):
        create_user(sessions, user_id, risk=risk)
    batch = [event for user_id in (1, 2, 3, 4) for event in events(user_id, "w 100 @0, w 150 @0")]
    found = [result_of(outcome) for outcome in process(sessions, batch)]
    assert found == [*([], []), *([], [1100]), *([1100], [1100]), *([], [1100])]


def test_user_of_plain_sql(sessions: Sessions) -> None:
    """A user inserted with an id alone is a usable user of normal risk."""
    with transaction(sessions) as session:
        session.execute(text("INSERT INTO users (user_id) VALUES (1)"))
    assert post(sessions, 1, "w 100 @0, w 101 @0", create_users=False) == [[], [1100]]
    assert users(sessions) == {1: (2, Decimal("-201.00"))}


def test_balance(sessions: Sessions) -> None:
    """The balance is the opening total plus deposits minus withdrawals, exact to the cent after each event."""
    create_user(sessions, 1, "0.10")
    balances = []
    for event in ("d 0.20 @0", "w 0.30 @0", "d 999999999999.99 @0", "d 0.01 @0", "w 0.03 @9"):
        post(sessions, 1, event)
        balances.append(users(sessions)[1][1])
    assert balances == [
        Decimal("0.30"),
        Decimal("0.00"),
        Decimal("999999999999.99"),
        Decimal("1000000000000.00"),
        Decimal("999999999999.97"),
    ]


def test_users_do_not_affect_each_other(sessions: Sessions) -> None:
    """What one user does, before or in the same batch, never counts for another."""
    post(sessions, 1, "w 1 @0, w 1 @0, d 150 @0")
    batch = events(2, "w 1 @0, d 100 @0") + events(1, "d 1 @9") + events(2, "d 100 @0")
    assert [result_of(outcome) for outcome in process(sessions, batch)] == [[], [], [], []]


def test_largest_ids_and_times(sessions: Sessions) -> None:
    """The largest user id and the last times work, and windows reach back from them."""
    largest = 2**63 - 1
    assert post(sessions, largest, f"d 150 @{LAST_TIME - 30}") == [[]]
    assert post(sessions, largest, f"d 51 @{LAST_TIME}, d 51 @{LAST_TIME - 31}") == [[123], []]
    assert post(sessions, largest, f"d 1 @{LAST_TIME}", accept_out_of_order=False, rules=ALL_RULES) == [[123]]
    assert rows(sessions, "SELECT max(time) FROM user_actions") == [(LAST_TIME,)]


def test_windows_at_time_zero(sessions: Sessions) -> None:
    """At time 0 the windows reach to the beginning and no further."""
    assert post(sessions, 1, "d 100 @0") == [[]]
    assert post(sessions, 1, "d 100.01 @0", rules=ALL_RULES) == [[123]]


# Many events


def random_batch(user_ids: range, seed: int, count: int) -> list[Event]:
    """Events of several users with values close to the thresholds and times in no order."""
    random = Random(seed)
    amounts = [Decimal(text) for text in ("1.00", "40.00", "99.99", "100.00", "100.01", "200.01")]
    return [
        Event(
            random.choice(user_ids),
            random.choice(["deposit", "withdraw"]),
            random.choice(amounts),
            random.randint(0, 200),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_a_batch_equals_its_events_one_by_one(seed: int, sessions: Sessions) -> None:
    """Many events in one batch answer and store what the same events do one by one, with times in no order."""
    whole = random_batch(range(1, 4), seed, 120)
    single = random_batch(range(11, 14), seed, 120)
    at_once = process(sessions, whole, ALL_RULES)
    by_one = [outcome for event in single for outcome in process(sessions, [event], ALL_RULES)]
    assert [result_of(outcome) for outcome in at_once] == [result_of(outcome) for outcome in by_one]
    answered = "SELECT seq, code, evidence FROM alerts WHERE user_id = :u AND NOT late ORDER BY seq, code"
    standing = "SELECT seq, code FROM alerts WHERE user_id = :u AND NOT superseded ORDER BY seq, code"
    for user_id in range(1, 4):
        for stored in (answered, standing):
            assert rows(sessions, stored, u=user_id) == rows(sessions, stored, u=user_id + 10)


@pytest.mark.parametrize(
    ("code", "crowd", "event"),
    [
        (300, "d 9 @0, d 9 @0, d 9 @0, d 1 @0, d 2 @0", "d 3 @0"),
        (30, "d 1 @0, d 1 @0, w 1 @0, d 1 @0, w 1 @0, w 1 @0", "w 1 @0"),
    ],
)
def test_last_actions_of_a_crowded_moment(code: int, crowd: str, event: str, sessions: Sessions) -> None:
    """Of many stored actions at one time the latest to arrive are the last, even when no other rule reads more."""
    post(sessions, 1, crowd, rules=(REGISTRY[code],))
    assert post(sessions, 1, event, rules=(REGISTRY[code],)) == [[code]]


def test_statements_do_not_grow(sessions: Sessions, form: str) -> None:
    """500 events of 50 users under all rules take as many statements as one late event that alerts."""
    process(sessions, events(1, "w 101 @5"), (REGISTRY[1100],))  # it also prepares the connection's statements
    with statements(sessions) as for_one:
        process(sessions, events(1, "w 101 @0"), (REGISTRY[1100],))
    enter(sessions, ALL_RULES)
    with statements(sessions) as for_many:
        process(sessions, random_batch(range(1, 51), 1, 500), ALL_RULES)
    assert len(for_one) <= (6 if form == PLAIN else 7)
    if form == PLAIN:
        assert for_many == for_one
    else:  # new users take two messages more there
        assert len(for_many) <= len(for_one) + 2
    assert rows(sessions, "SELECT count(*) FROM user_actions") == [(502,)]


def test_statements_with_refusals_do_not_grow(sessions: Sessions, form: str) -> None:
    """Giving back what refused events and needless new users had counted takes at most two statements more."""
    process(sessions, random_batch(range(1, 51), 1, 500))
    batch = random_batch(range(1, 101), 2, 500)
    enter(sessions, ALL_RULES)
    with statements(sessions) as executed:
        found = process(sessions, batch, ALL_RULES, allow_overdraft=False, accept_out_of_order=False)
    assert {result_of(o) for o in found if isinstance(o, Refusal)} == {"overdraft", "out_of_order"}
    assert len(executed) <= (6 if form == PLAIN else 9)
