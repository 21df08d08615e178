"""Verify and the backtest over what the engine has stored: random streams of events and of changes, and tampering."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import count, cycle
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session, sessionmaker

from database import history, late_counts, rule_versions, users
from database.records import Users
from database.session import begin, commit, make_sessions
from rules.base import Rule, RuleSetting
from rules.hindsight import backtester, verify
from rules.hindsight.backtest import BacktestPlan, BacktestResult
from rules.hindsight.backtest_work import BacktestWork
from rules.hindsight.verify_report import VerifyReport
from rules.hindsight.verify_work import VerifyWork
from rules.judging import ahead, parts
from rules.judging.engine import RuleEngine
from rules.model import RISKS, Action, Event, Value
from rules.parameters import Parameter, written_values
from rules.policy import Policy
from rules.registry import DEFAULT_CODES, REGISTRY
from rules.rule_settings import read_versions
from rules.timeline import Timeline
from rules.values import LAST_TIME
from tests.integration.test_engine import rows
from tests.postgres import Databases, engine_on, transaction
from tests.unit.rules.timeline import events

pytestmark = pytest.mark.forms

Sessions = sessionmaker[Session]

USERS = 3
offsets = count(1)

check = settings(max_examples=40)


# What happens


class Posted(NamedTuple):
    """Events in one transaction; the users count from 1."""

    events: tuple[Event, ...]


class RuleSet(NamedTuple):
    """A rule is set to something."""

    code: int
    status: str
    parameters: dict[str, Value]
    by_risk: dict[str, dict[str, Value]]


class UserSet(NamedTuple):
    """A user's settings change."""

    user: int
    risk: str
    overrides: dict[str, dict[str, str | int]]


CLOSE: dict[str, list[Value]] = {
    "money": [Decimal(amount) for amount in ("0.50", "20.00", "60.00")],
    "factor": [Decimal("0.50"), Decimal("1.50")],
    "actions": [1, 2, 3],
    "seconds": [0, 10, 30, 90],
}


def value_of(parameter: Parameter, random: Random) -> Value:
    """A value so small that the rule fires soon."""
    return min(max(random.choice(CLOSE[parameter.unit]), parameter.least), parameter.most)


def some_of(rule: Rule, random: Random) -> dict[str, Value]:
    """Values of some of its parameters."""
    return {one.name: value_of(one, random) for one in rule.declared if random.random() < 0.5}


def rule_set(rule: Rule, random: Random, statuses: Sequence[str]) -> RuleSet:
    parameters = {one.name: value_of(one, random) for one in rule.declared}
    by_risk: dict[str, dict[str, Value]] = (
        {random.choice(RISKS): some_of(rule, random)} if random.random() < 0.3 else {}
    )
    return RuleSet(rule.code, random.choice(statuses), parameters, by_risk)


MOSTLY_ACTIVE = ("active", "active", "shadow", "off")

# Drawing each parameter by itself would take longer than all that is tested.
randoms = st.integers(0, 2**32).map(Random)
one_rule = randoms.map(lambda random: rule_set(random.choice(list(REGISTRY.values())), random, MOSTLY_ACTIVE))


def all_rules(statuses: Sequence[str] = MOSTLY_ACTIVE) -> st.SearchStrategy[list[RuleSet]]:
    return randoms.map(lambda random: [rule_set(rule, random, statuses) for rule in REGISTRY.values()])


def _user_set(user: int, random: Random) -> UserSet:
    rules = random.sample(list(REGISTRY.values()), random.choice([0, 1, 3]))
    return UserSet(
        user, random.choice(RISKS), {str(rule.code): written_values(some_of(rule, random)) for rule in rules}
    )


user_set = st.builds(_user_set, st.integers(1, USERS), randoms)

AMOUNTS = [Decimal(amount) for amount in ("0.01", "0.50", "10.00", "33.34", "50.00", "59.99", "60.01", "100.00")]


@st.composite
def posted(draw: st.DrawFn) -> Posted:
    event = st.builds(
        Event,
        st.integers(1, USERS),
        st.sampled_from(["deposit", "withdraw"]),
        st.sampled_from(AMOUNTS),
        st.sampled_from([0, 0, 10, 30, 60, 61]) | st.integers(0, 200),
        st.sampled_from([None, None, "a", "b"]),
    )
    return Posted(tuple(draw(st.lists(event, min_size=1, max_size=8))))


ORIGINS = st.sampled_from([0, 1_700_000_000, LAST_TIME - 200])  # that all times count from


class Live:
    """What happens to some users of its own, in the test's database: two workers judge them in turn."""

    def __init__(
        self, sessions: Sessions, codes: Iterable[int] = REGISTRY, *, keep: bool = True, **policy: bool
    ) -> None:
        self.sessions = sessions
        same = Policy(tuple(REGISTRY[code] for code in codes), **policy)
        self.engine = RuleEngine(same, keep=keep)
        self._workers = cycle([self.engine, RuleEngine(same, keep=keep)])
        self.first = next(offsets) * 10
        self.users = Users(first=self.first, last=self.first + 9, actions=0)

    def do(self, steps: Iterable[Posted | RuleSet | UserSet], origin: int = 0) -> None:
        for step in steps:
            if isinstance(step, Posted):
                self.post(e._replace(user_id=self.first + e.user_id, time=origin + e.time) for e in step.events)
            elif isinstance(step, RuleSet):
                self.set_rules([step])
            else:
                self.set_user(step)

    def post(self, some: Iterable[Event]) -> None:
        with self.sessions() as session:
            next(self._workers).process(session, list(some))

    def set_rules(self, changes: Iterable[RuleSet]) -> None:
        with self.sessions() as session:
            self.engine.rules.versions(session)
            session.close()
            begin(session)
            rule_versions.lock_rules(session, 5)
            before = read_versions(session)
            latest = {code: setting.version for code, setting in before.newest.settings.items()}
            rule_versions.add_rule_versions(
                session,
                [
                    {
                        "number": before.number + number,
                        "code": code,
                        "version": latest[code] + 1,
                        "status": status,
                        "parameters": written_values(parameters),
                        "by_risk": {risk: written_values(values) for risk, values in by_risk.items()},
                        "author": "test",
                    }
                    for number, (code, status, parameters, by_risk) in enumerate(changes, start=1)
                ],
            )
            commit(session)

    def set_user(self, change: UserSet) -> None:
        with self.sessions() as session:
            begin(session)
            user_id = self.first + change.user
            users.create_user(session, user_id, name=None, total=Decimal(0), risk="normal")
            user = users.lock_user(session, user_id)
            assert user is not None
            users.change_user(
                session, user, risk=change.risk, overrides=json.dumps(change.overrides), author="test", note=None
            )
            commit(session)

    def report(self) -> VerifyReport:
        with self.sessions() as session:
            begin(session)  # what reads as it goes needs a transaction
            connection = session.connection()
            return VerifyWork().prepared(connection).part(connection, self.users)

    def backtest(self, versions: Iterable[RuleSetting], start: int = 0, end: int = LAST_TIME) -> BacktestResult:
        with self.sessions() as session:
            plan = BacktestPlan(candidates=tuple(versions), sweep=(), start=start, end=end)
            return BacktestWork(plan).part(session.connection(), self.users)

    def versions(self) -> list[RuleSetting]:
        """All rules as they are set now."""
        with self.sessions() as session:
            return list(read_versions(session).newest.settings.values())

    def standing(self) -> set[tuple[int, int, int]]:
        """The alerts that hold: the user, the place of the action in the user's order, the code."""
        places = self.places()
        held = "SELECT user_id, seq, code FROM alerts WHERE user_id BETWEEN :first AND :last AND NOT superseded"
        return {(*places[user_id, seq], code) for user_id, seq, code in self.rows(held)}

    def places(self) -> dict[tuple[int, int], tuple[int, int]]:
        """By user and `seq`: the user, and the place of the action in the user's order."""
        ordered = """
            SELECT user_id, seq, row_number() OVER (PARTITION BY user_id ORDER BY time, seq) FROM user_actions
            WHERE user_id BETWEEN :first AND :last
        """
        return {(user_id, seq): (user_id - self.first, place) for user_id, seq, place in self.rows(ordered)}

    def events(self) -> list[Event]:
        """The stored actions in order of time."""
        ordered = """
            SELECT user_id, type, amount, time FROM user_actions WHERE user_id BETWEEN :first AND :last
            ORDER BY user_id, time, seq
        """
        return [Event(*row) for row in self.rows(ordered)]

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return rows(self.sessions, statement, first=self.users.first, last=self.users.last)


def forget_rules(sessions: Sessions) -> None:
    """Delete what other examples have set: reading all of it would take longer each time."""
    with transaction(sessions) as session:
        session.execute(text("DELETE FROM rule_versions"))


# Everything follows


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even short histories are cut into stretches, and judged again in parts."""
    monkeypatch.setattr(late_counts, "STRETCH", 2)
    monkeypatch.setattr(ahead, "PART", 4)
    monkeypatch.setattr(parts, "PART", 4)


happening = st.lists(posted() | posted() | posted() | user_set | one_rule, min_size=1, max_size=14)


@check
@given(rules=all_rules(), steps=happening, origin=ORIGINS, overdraft=st.booleans())
def test_whatever_happens_verify_finds_nothing(
    sessions: Sessions, rules: list[RuleSet], steps: list[Any], origin: int, overdraft: bool
) -> None:
    """Late events, repeats, refusals, changes of rules, ratings and overrides, shadow: all that is stored follows."""
    forget_rules(sessions)
    live = Live(sessions, allow_overdraft=overdraft)
    live.set_rules(rules)
    live.do(steps, origin)
    report = live.report()
    assert report.differences == []
    assert report.actions == len(live.events())


judged_alike = st.lists(posted() | posted() | user_set, min_size=1, max_size=14)


@check
@given(rules=all_rules(("active", "active", "shadow")), steps=judged_alike, origin=ORIGINS)
def test_a_backtest_of_the_present_rules_changes_nothing(
    sessions: Sessions, rules: list[RuleSet], steps: list[Any], origin: int
) -> None:
    """If a history was judged by the present rules, no alert is added and none removed."""
    forget_rules(sessions)
    live = Live(sessions)
    live.set_rules(rules)
    live.do(steps, origin)
    outcome = live.backtest(replace(version, status="active") for version in live.versions())
    assert (outcome.added, outcome.removed) == ([], [])
    assert outcome.now[0].alerts == outcome.then.alerts == len(live.standing())


@check
@given(
    rules=all_rules(),
    users=st.lists(user_set, max_size=USERS, unique_by=lambda change: change.user),
    batches=st.lists(posted(), min_size=1, max_size=10),
    other=all_rules(("active",)),
    origin=ORIGINS,
)
def test_a_backtest_is_what_judging_live_would_have_been(
    sessions: Sessions,
    monkeypatch: pytest.MonkeyPatch,
    rules: list[RuleSet],
    users: list[UserSet],
    batches: list[Posted],
    other: list[RuleSet],
    origin: int,
) -> None:
    """The alerts of a backtest are those that hold when the same actions are judged by its rules as they come."""
    monkeypatch.setattr(backtester, "SAMPLES", 1_000_000)
    forget_rules(sessions)
    first = Live(sessions)
    first.set_rules(rules)
    first.do([*users, *batches], origin)
    first.set_rules(other)
    versions = first.versions()

    second = Live(sessions)
    second.do(users)
    second.post(e._replace(user_id=e.user_id - first.first + second.first) for e in first.events())
    expected = second.standing()

    outcome = first.backtest(versions)
    places = first.places()
    added = {places[sample.key[:2]] + sample.key[2:] for sample in outcome.added}
    removed = {places[sample.key[:2]] + sample.key[2:] for sample in outcome.removed}
    assert first.standing() - removed | added == expected
    assert outcome.now[0].alerts == len(expected)


def test_what_verify_holds_does_not_grow_with_a_users_actions(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a user whose actions came in order it holds what rules look back at, and the actions read since."""
    held: list[int] = []

    class Watched(Timeline):
        def add(self, action: Action) -> None:
            super().add(action)
            held.append(len(self._all.times))

    monkeypatch.setattr(verify, "Timeline", Watched)
    monkeypatch.setattr(verify, "_TO_FORGET", 50)
    live = Live(sessions, DEFAULT_CODES)
    live.post(Event(live.first + 1, "deposit", Decimal("250.00"), time) for time in range(0, 6000, 10))
    report = live.report()
    assert (report.differences, report.actions, report.alerts) == ([], 600, 600)
    assert len(held) == 600
    assert max(held) <= 50 + 10


def test_verify_reads_as_it_goes(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Actions and alerts stay in the database until they are taken, but for a few."""
    monkeypatch.setattr(history, "_AT_ONCE", 3)
    live = Live(sessions, DEFAULT_CODES)
    live.post(events(live.first + 1, ", ".join(["w 101 @1"] * 20)))
    open_cursors = text("SELECT count(*) FROM pg_cursors WHERE statement NOT LIKE '%pg_cursors%'")
    with sessions() as session:
        begin(session)
        connection = session.connection()
        for read in (history.actions_to_verify, history.alerts):
            found = read(connection, live.users)
            next(found)
            assert connection.execute(open_cursors).scalar_one() == 1
            assert len(list(found)) >= 19
            assert connection.execute(open_cursors).scalar_one() == 0


# A late withdrawal raises an alert on the action after it, which the next late event takes away again.
COME_AND_GONE = ("w 1 @10, w 1 @20", "w 1 @5", "d 1 @15")


@pytest.mark.parametrize("change", ["created_at = '2026-01-01'", "transaction_id = NULL", "transaction_id = 7"])
def test_transactions_are_told_apart(sessions: Sessions, change: str) -> None:
    """Though the clock stood, an earlier release stored them, or numbers are those of another server after a restore.

    If they were taken for one, the alert that came and went would never have been.
    """
    live = Live(sessions)
    for notation in COME_AND_GONE:
        live.post(events(live.first + 1, notation))
    with transaction(sessions) as session:
        session.execute(text(f"UPDATE user_actions SET {change}"))
    assert live.rows("SELECT seq, code FROM alerts WHERE user_id BETWEEN :first AND :last AND late AND superseded") == [
        (2, 30)
    ]
    assert live.report().differences == []


def test_actions_of_one_transaction_are_kept_together(sessions: Sessions) -> None:
    """What came and went within one transaction was never stored, and is not missed."""
    live = Live(sessions)
    live.post(events(live.first + 1, COME_AND_GONE[0]))
    live.post(events(live.first + 1, ", ".join(COME_AND_GONE[1:])))
    assert live.rows("SELECT seq FROM alerts WHERE user_id BETWEEN :first AND :last") == []
    numbers = live.rows("SELECT transaction_id FROM user_actions WHERE user_id BETWEEN :first AND :last ORDER BY seq")
    assert numbers[0] == numbers[1] != numbers[2] == numbers[3]
    assert live.report().differences == []


# Tampering


def record(live: Live) -> None:
    """A history with alerts of every kind.

    User 1 loses alerts that were answered and one that was late; 2's is in shadow; 3 has all in order; what 4 has is
    late; 5 has overrides; 6 has nothing.
    """
    live.set_rules([RuleSet(123, "shadow", {"threshold": Decimal("200.00"), "window": 30}, {})])
    for user, notation in [
        (1, "w 101 @10, w 1 @20, w 1 @30, w 1 @35"),
        (1, "w 1 @5"),
        (1, "d 1 @25"),
        (1, "d 1 @15"),
        (2, "d 150 @0, d 100 @1"),
        (3, "w 101 @1, d 1 @2"),
        (4, "d 1 @10, d 3 @30"),
        (4, "d 2 @20"),
    ]:
        live.post(events(live.first + user, notation))
    live.set_user(UserSet(5, "high", {"1100": {"threshold": "5.00"}}))
    live.post(events(live.first + 5, "w 5.01 @0"))
    live.set_user(UserSet(6, "low", {}))


@pytest.fixture(scope="module")
def recorded(databases: Databases, template: str) -> Iterator[tuple[Connection, Users]]:
    """A connection that sees that history, and never commits; and its users."""
    with databases.new(template) as name, engine_on(databases.url(name)) as engine:
        live = Live(make_sessions(engine), DEFAULT_CODES)
        record(live)
        with engine.connect() as connection:
            yield connection.execution_options(isolation_level="READ COMMITTED"), live.users


def differences(recorded: tuple[Connection, Users]) -> list[tuple[int, int | None, int | None, str]]:
    connection, users = recorded
    report = VerifyWork().prepared(connection).part(connection, users)
    assert report.found == len(report.differences)
    return sorted(((one.user_id - users.first, *one[1:4]) for one in report.differences), key=str)


def test_all_kinds_of_alerts_are_there(recorded: tuple[Connection, Users]) -> None:
    """What is tampered with below has alerts that are late, superseded, both, neither and in shadow, and verifies."""
    connection, users = recorded
    kinds = connection.execute(
        text("SELECT user_id - :first, seq, code, late, superseded, shadow FROM alerts ORDER BY 1, 2, 3"),
        {"first": users.first},
    )
    assert [tuple(row) for row in kinds] == [
        (1, 1, 1100, False, False, False),
        (1, 2, 30, True, True, False),
        (1, 3, 30, False, True, False),
        (1, 4, 30, False, True, False),
        (2, 2, 123, False, False, True),
        (3, 1, 1100, False, False, False),
        (4, 2, 300, True, False, False),
        (5, 1, 1100, False, False, False),
    ]
    assert differences(recorded) == []


ADD = """
    INSERT INTO alerts (user_id, seq, code, time, evidence, late, superseded, shadow)
    SELECT user_id, seq, 30, time, evidence, {}, {}, {} FROM alerts WHERE {{three}}
"""
NOT_SO = "it does not follow from the actions"
NEVER = "it never followed from the actions"
MISSING = "it is missing"
FOR_A_WHILE = "it held for a while, and is missing"
EVIDENCE = "its evidence is not what it was raised on"
NUMBERS = "its running count or sum is not that of the actions before it"
TOTALS = "the user's count or balance is not that of the actions"
LATE, NOT_LATE = "its own action raised it, and it is marked late", "its own action did not raise it"

# For each change: the statement, and what is found. {one} to {six} are the users' only, or first, alerts.
TAMPERED: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "a standing alert is deleted": ("DELETE FROM alerts WHERE {three}", [(3, 1, 1100, MISSING)]),
    "a late alert is deleted": ("DELETE FROM alerts WHERE {four}", [(4, 2, 300, MISSING)]),
    "a shadow alert is deleted": ("DELETE FROM alerts WHERE {two}", [(2, 2, 123, MISSING)]),
    "a superseded alert is deleted": ("DELETE FROM alerts WHERE {one} AND seq = 3", [(1, 3, 30, FOR_A_WHILE)]),
    "a late, superseded alert is deleted": ("DELETE FROM alerts WHERE {one} AND seq = 2", [(1, 2, 30, FOR_A_WHILE)]),
    "a standing alert is added": (ADD.format("false", "false", "false"), [(3, 1, 30, NOT_SO)]),
    "a late alert is added": (ADD.format("true", "false", "false"), [(3, 1, 30, NOT_SO)]),
    "a superseded alert is added": (ADD.format("false", "true", "false"), [(3, 1, 30, NEVER)]),
    "a late, superseded alert is added": (ADD.format("true", "true", "false"), [(3, 1, 30, NEVER)]),
    "a shadow alert is added": (ADD.format("false", "false", "true"), [(3, 1, 30, NOT_SO)]),
    "an alert of an unknown rule is added": (
        ADD.format("false", "false", "false").replace("30", "31"),
        [(3, 1, 31, "the rule is not known any more: it cannot be verified")],
    ),
    "a code": ("UPDATE alerts SET code = 30 WHERE {three}", [(3, 1, 30, NOT_SO), (3, 1, 1100, MISSING)]),
    "the time of an alert": (
        "UPDATE alerts SET time = 2 WHERE {three}",
        [(3, 1, 1100, "its time is not that of its action")],
    ),
    "an alert becomes late": ("UPDATE alerts SET late = true WHERE {three}", [(3, 1, 1100, LATE)]),
    "a late alert becomes none": ("UPDATE alerts SET late = false WHERE {four}", [(4, 2, 300, NOT_LATE)]),
    "a superseded alert becomes late": (
        "UPDATE alerts SET late = true WHERE {one} AND seq = 3",
        [(1, 3, 30, LATE)],
    ),
    "an alert becomes superseded": (
        "UPDATE alerts SET superseded = true WHERE {three}",
        [(3, 1, 1100, "it holds, and is marked superseded")],
    ),
    "a superseded alert becomes none": (
        "UPDATE alerts SET superseded = false WHERE {one} AND seq = 3",
        [(1, 3, 30, NOT_SO)],
    ),
    "an alert becomes a shadow": (
        "UPDATE alerts SET shadow = true WHERE {three}",
        [(3, 1, 1100, "it is stored as a shadow alert, and is none")],
    ),
    "a shadow becomes an alert": (
        "UPDATE alerts SET shadow = false WHERE {two}",
        [(2, 2, 123, "it is a shadow alert")],
    ),
    **{
        f"evidence of {name}": (
            f"""UPDATE alerts SET evidence = jsonb_set(evidence, '{{{{sentence}}}}', '""') WHERE {where}""",
            [(*key, EVIDENCE)],
        )
        for name, where, key in [
            ("an alert", "{three}", (3, 1, 1100)),
            ("a late alert", "{four}", (4, 2, 300)),
            ("a shadow alert", "{two}", (2, 2, 123)),
            ("a superseded alert", "{one} AND seq = 3", (1, 3, 30)),
            ("a late, superseded alert", "{one} AND seq = 2", (1, 2, 30)),
        ]
    },
    "an amount": (
        "UPDATE user_actions SET amount = 102 WHERE {three} AND seq = 1",
        [(3, None, None, TOTALS), (3, 1, None, NUMBERS), (3, 1, 1100, EVIDENCE)],
    ),
    "a type": (
        "UPDATE user_actions SET type = 'withdraw' WHERE {three} AND seq = 2",
        [(3, None, None, TOTALS), (3, 2, None, NUMBERS)],
    ),
    "the time of an action": (
        "UPDATE user_actions SET time = 0 WHERE {three} AND seq = 1",
        [(3, 1, 1100, "its time is not that of its action")],
    ),
    "the codes of an answer": (
        "UPDATE user_actions SET alert_codes = '{{}}' WHERE {three} AND seq = 1",
        [(3, 1, None, "it was answered with {}, and raises {1100}")],
    ),
    "codes that were not answered": (
        "UPDATE user_actions SET alert_codes = '{{30,300}}' WHERE {four} AND seq = 2",
        [(4, 2, None, "it was answered with {30,300}, and raises {}")],
    ),
    "an ordinal": ("UPDATE user_actions SET ordinal = 2 WHERE {three} AND seq = 1", [(3, 1, None, NUMBERS)]),
    "a running total": (
        "UPDATE user_actions SET running_total = running_total + 0.01 WHERE {three} AND seq = 1",
        [(3, 1, None, NUMBERS)],
    ),
    "an action is deleted": ("DELETE FROM user_actions WHERE {three} AND seq = 2", [(3, None, None, TOTALS)]),
    "what rules judged": (
        "UPDATE user_actions SET rules_number = 15 WHERE {two} AND seq = 2",
        [
            (2, 2, None, "it was answered with {}, and raises {123}"),
            (2, 2, 123, EVIDENCE),
            (2, 2, 123, "it is stored as a shadow alert, and is none"),
        ],
    ),
    "settings that are not there": (
        "UPDATE user_actions SET settings_version = 7 WHERE {three} AND seq = 2",
        [(3, 2, None, "the user's settings that it was judged with are not there")],
    ),
    "a balance": ("UPDATE users SET net = net + 0.01 WHERE {three}", [(3, None, None, TOTALS)]),
    "a count of actions": ("UPDATE users SET last_seq = last_seq + 1 WHERE {three}", [(3, None, None, TOTALS)]),
    "the balance of a user without actions": ("UPDATE users SET net = 1 WHERE {six}", [(6, None, None, TOTALS)]),
    "overrides of that time": (
        "UPDATE user_settings SET overrides = '{{}}' WHERE {five}",
        [(5, 1, None, "it was answered with {1100}, and raises {}"), (5, 1, 1100, NOT_SO)],
    ),
    "parameters of that time": (
        """UPDATE rule_versions SET parameters = '{{"threshold": "101.00"}}' WHERE code = 1100""",
        [
            (1, 1, None, "it was answered with {1100}, and raises {}"),
            (1, 1, 1100, NOT_SO),
            (3, 1, None, "it was answered with {1100}, and raises {}"),
            (3, 1, 1100, NOT_SO),
        ],
    ),
}


def places(users: Users) -> dict[str, str]:
    """What stands for each user in the statements above."""
    names = ("one", "two", "three", "four", "five", "six")
    return {name: f"user_id = {users.first + number}" for number, name in enumerate(names, start=1)}


@pytest.mark.parametrize("what", TAMPERED)
def test_verify_finds_what_was_altered(recorded: tuple[Connection, Users], what: str) -> None:
    """Whatever is deleted, added or altered by SQL is found, and nothing else."""
    connection, users = recorded
    statement, expected = TAMPERED[what]
    connection.execute(text(statement.format(**places(users))))
    try:
        assert differences(recorded) == sorted(expected, key=str)
    finally:
        connection.rollback()
