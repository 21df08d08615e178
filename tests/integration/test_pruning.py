"""Pruning: what is left is right, new events are judged on what is left, and nobody is held up."""

import threading
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from hashlib import sha256
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from database import late_counts, pruning
from database.pruning import Removal
from database.session import Transaction, run
from rules.base import First, SumsSoFar
from rules.hindsight.backtest import BacktestPlan
from rules.hindsight.backtest_work import BacktestWork
from rules.judging import ahead, parts
from rules.model import Event, Outcome, Refusal
from rules.registry import DEFAULT_CODES, REGISTRY
from rules.values import LAST_TIME
from tests.integration.test_engine import statements
from tests.integration.test_hindsight import (
    AMOUNTS,
    ORIGINS,
    Live,
    RuleSet,
    Sessions,
    all_rules,
    forget_rules,
    one_rule,
    posted,
    user_set,
)
from tests.postgres import transaction
from tests.unit.rules.timeline import events
from work import pruning as job
from work.pruning import PruneReport, Pruning

check = settings(max_examples=25)


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even short histories are cut into stretches, and judged again in parts."""
    monkeypatch.setattr(late_counts, "STRETCH", 2)
    monkeypatch.setattr(ahead, "PART", 4)
    monkeypatch.setattr(parts, "PART", 4)


def prune(sessions: Sessions, user_id: int, before: int, most: int = 1_000) -> list[Removal]:
    """All that is removed of a user, transaction by transaction."""
    found: list[Removal] = []
    while not found or not found[-1].is_done:
        with sessions() as session, Transaction(session) as transaction:
            found.append(pruning.prune_user(transaction.connection, user_id, before, most))
            transaction.commit()
    return found


class PruneStep(NamedTuple):
    """A user's actions before a time are removed, so many at a time."""

    user: int
    before: int
    most: int


prunes = st.builds(PruneStep, st.integers(1, 3), st.integers(0, 210), st.integers(1, 4))


def do(live: Live, steps: Iterable[Any], origin: int) -> None:
    for step in steps:
        if isinstance(step, PruneStep):
            prune(live.sessions, live.first + step.user, min(origin + step.before, LAST_TIME), step.most)
        else:
            live.do([step], origin)


@check
@given(
    rules=all_rules(),
    steps=st.lists(posted() | posted() | posted() | prunes | user_set | one_rule, min_size=2, max_size=16),
    origin=ORIGINS,
    overdraft=st.booleans(),
)
def test_whatever_is_pruned_verify_finds_nothing(
    sessions: Sessions, rules: list[RuleSet], steps: list[Any], origin: int, overdraft: bool
) -> None:
    """Late events, changes of rules and ratings, pruned in between, again and again: what is left follows."""
    forget_rules(sessions)
    live = Live(sessions, allow_overdraft=overdraft)
    live.set_rules(rules)
    do(live, steps, origin)
    report = live.report()
    assert report.differences == []
    assert report.actions == len(live.events())
    users = "SELECT user_id FROM users WHERE user_id BETWEEN :first AND :last AND "
    with_offsets = "EXISTS (SELECT FROM late_offsets AS o WHERE o.user_id = users.user_id)"
    assert live.rows(f"{users} has_late_offsets <> {with_offsets}") == []
    oldest = "(SELECT min(time) FROM user_actions AS a WHERE a.user_id = users.user_id)"
    assert live.rows(f"{users} pruned_before > {oldest}") == []


@check
@given(
    rules=all_rules(("active", "active", "shadow")),
    steps=st.lists(posted() | posted() | prunes | user_set, min_size=2, max_size=14),
    origin=ORIGINS,
)
def test_a_backtest_adds_up(sessions: Sessions, rules: list[RuleSet], steps: list[Any], origin: int) -> None:
    """By the rules that judged a history nothing is added and nothing removed, at no step of a sweep that is as it was.

    What cannot be judged without removed actions counts on neither side.
    """
    forget_rules(sessions)
    live = Live(sessions)
    live.set_rules(rules)
    do(live, steps, origin)
    present = {one.code: replace(one, status="active") for one in live.versions()}
    swept = present[30]
    plan = BacktestPlan(
        candidates=tuple(present.values()),
        sweep=(swept, replace(swept, parameters={"count": 7})),
        start=0,
        end=LAST_TIME,
    )
    with sessions() as session:
        outcome = BacktestWork(plan).part(session.connection(), live.users)
    whole, same, longer = outcome.now
    assert (whole.added, whole.removed, same.added, same.removed) == (0, 0, 0, 0)
    assert whole.alerts == same.alerts == outcome.then.alerts <= len(live.standing())
    assert longer.alerts + longer.removed == outcome.then.alerts + longer.added
    if not outcome.left_out:
        assert outcome.then.alerts == len(live.standing())


def outcomes(live: Live, some: Iterable[Event]) -> list[Outcome]:
    with live.sessions() as session:
        return live.engine.process(session, list(some))


FROM_CHECKPOINT = {
    code for code, rule in REGISTRY.items() if any(isinstance(look, SumsSoFar | First) for look in rule.look_back)
}
NEW_ACCOUNT = 680


def test_which_rules_go_by_checkpoints() -> None:
    """The next test has each of them in mind."""
    assert sorted(FROM_CHECKPOINT) == [630, NEW_ACCOUNT]
    assert {type(look) for look in REGISTRY[630].look_back} == {SumsSoFar}


event = st.builds(
    Event,
    st.just(1),
    st.sampled_from(["deposit", "withdraw"]),
    st.sampled_from(AMOUNTS),
    st.integers(0, 120),
    st.none(),
)
batches = st.lists(st.lists(event, min_size=1, max_size=6), min_size=1, max_size=6)


@check
@given(rules=all_rules(("active",)), before=batches, after=batches, cut=st.integers(1, 121), most=st.integers(1, 5))
def test_new_events_are_judged_on_what_is_left(
    sessions: Sessions,
    rules: list[RuleSet],
    before: list[list[Event]],
    after: list[list[Event]],
    cut: int,
    most: int,
) -> None:
    """Counts and sums so far and the first action are those of all history, all else is that of what was kept.

    One user has everything, one is pruned, and one never had more than what was kept. Each event is answered with the
    codes of the first or the last of these, late events raise and supersede the same, and balances agree.
    """
    forget_rules(sessions)
    live = Live(sessions)
    live.set_rules(rules)
    whole, pruned, kept = (live.first + number for number in range(3))
    for batch in before:
        live.post(one._replace(user_id=user) for one in batch for user in (whole, pruned))
    removed = prune(sessions, pruned, cut, most)
    assert sum(one.actions for one in removed) == sum(one.time < cut for batch in before for one in batch)
    left = live.rows("SELECT seq FROM user_actions WHERE user_id = :first + 1 AND :last > 0 ORDER BY seq")
    for batch in before:
        live.post(one._replace(user_id=kept) for one in batch if one.time >= cut)
    assert len(live.rows("SELECT seq FROM user_actions WHERE user_id = :first + 2 AND :last > 0")) == len(left)
    is_pruned = len(left) < sum(map(len, before))

    for batch in after:
        found = outcomes(live, (one._replace(user_id=pruned) for one in batch))
        refused = [isinstance(one, Refusal) and one.reason == "pruned" for one in found]
        assert refused == [is_pruned and one.time < cut for one in batch]
        fresh = [one for one in batch if not is_pruned or one.time >= cut]
        for user in (whole, kept):
            outcomes(live, (one._replace(user_id=user) for one in fresh))

    expected = expected_codes(live, whole, kept, len(left), rules) if is_pruned else new_codes(live, whole, len(left))
    assert new_codes(live, pruned, len(left)) == expected
    balances = "SELECT user_id, balance, last_seq FROM users WHERE user_id BETWEEN :first AND :last ORDER BY 1"
    (_, *full), (_, *own), *_ = live.rows(balances)
    assert own == full
    assert live.report().differences == []


def new_codes(live: Live, user: int, old: int) -> list[tuple[int, set[int], set[int]]]:
    """Of each action but the first `old` of a user, in order of arrival: its time, answer and standing codes."""
    stored = live.rows(f"""
        SELECT a.time, a.alert_codes, ARRAY(
            SELECT code FROM alerts AS l WHERE l.user_id = a.user_id AND l.seq = a.seq AND NOT superseded
        ) FROM user_actions AS a WHERE a.user_id = {user} AND :first > 0 AND :last > 0 ORDER BY a.seq
    """)
    return [(time, set(answered), set(standing)) for time, answered, standing in stored[old:]]


def expected_codes(
    live: Live, whole: int, kept: int, left: int, rules: list[RuleSet]
) -> list[tuple[int, set[int], set[int]]]:
    first = live.rows(f"SELECT min(time) FROM user_actions WHERE user_id = {whole} AND :first > 0 AND :last > 0")[0][0]
    (age,) = [one.parameters["age"] for one in rules if one.code == NEW_ACCOUNT]
    of_kept = new_codes(live, kept, left)
    of_whole = new_codes(live, whole, 0)[-len(of_kept) :] if of_kept else []
    found = []
    for (time, *all_codes), (_, *kept_codes) in zip(of_whole, of_kept, strict=True):
        both = []
        for everything, some in zip(all_codes, kept_codes, strict=True):
            codes = (some - {630}) | (everything & {630})
            # Its sum is that of a window, whose start may be gone, but the account is as old as it is.
            both.append(codes - {NEW_ACCOUNT} if time - first > int(str(age)) else codes)
        found.append((time, both[0], both[1]))
    return found


# Step by step


def pruned_before(live: Live) -> list[tuple[Any, ...]]:
    return live.rows("SELECT pruned_before FROM users WHERE user_id BETWEEN :first AND :last ORDER BY user_id")


def test_the_cut_moves_step_by_step(sessions: Sessions) -> None:
    """Each transaction removes a few, those of one time together, and leaves a cut and a checkpoint of its own."""
    live = Live(sessions, DEFAULT_CODES)
    live.post(events(live.first + 1, "d 1 @1, w 2 @2, d 3 @3, d 4 @3, d 5 @3, w 7 @9"))
    cuts: list[Any] = []
    removed: list[Removal] = []
    while not removed or not removed[-1].is_done:
        with sessions() as session, Transaction(session) as transaction:
            removed.append(pruning.prune_user(transaction.connection, live.first + 1, 9, 2))
            transaction.commit()
        cuts.append(pruned_before(live))
        assert live.report().differences == []
    assert [one.actions for one in removed] == [2, 3, 0]
    assert cuts == [[(3,)], [(4,)], [(9,)]]
    columns = "type, actions, total, first_time, first_seq, first_amount, newest_seq, until_seq"
    assert live.rows(f"SELECT {columns} FROM checkpoints WHERE user_id BETWEEN :first AND :last ORDER BY type") == [
        ("deposit", 4, Decimal(13), 1, 1, Decimal(1), 5, 6),
        ("withdraw", 1, Decimal(2), 2, 2, Decimal(2), 2, 6),
    ]


def test_the_digest_is_that_of_all_that_was_removed(sessions: Sessions) -> None:
    """In order of time, however many steps and runs it took: as docs/pruning.md says."""
    live = Live(sessions, DEFAULT_CODES)
    live.post(events(live.first + 1, "d 1.50 @5, d 2 @3, d 3 @3, d 4 @8"))
    prune(sessions, live.first + 1, 4, 1)
    prune(sessions, live.first + 1, 9, 1)
    digest = bytes(32)
    for seq, amount, time in ((2, "2.00", 3), (3, "3.00", 3), (1, "1.50", 5), (4, "4.00", 8)):
        line = f"{live.first + 1}\t{seq}\tdeposit\t{amount}\t{time}\n"
        digest = sha256(digest + line.encode()).digest()
    found = live.rows("SELECT digest FROM checkpoints WHERE user_id BETWEEN :first AND :last")
    assert [bytes(one) for (one,) in found] == [digest]


@pytest.fixture
def in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few users and actions at a time, and no rests."""
    for name, value in (("USERS", 2), ("ACTIONS", 3), ("RESTS", 0.0), ("WAIT", 0.0), ("TRIES", 1)):
        monkeypatch.setattr(job, name, value)


def run_job(url: str, before: int, *, is_dry: bool = False) -> tuple[PruneReport, list[tuple[int, int]]]:
    """What it reports, and its progress."""
    shown: list[tuple[int, int]] = []
    one = Pruning(url, before, is_dry=is_dry)
    try:
        return one.run(lambda done, total: shown.append((done, total))), shown
    finally:
        one.close()


def test_all_users(sessions: Sessions, database_url: str, in_small_steps: None) -> None:
    """Whoever has old actions loses them, but for those on hold; a dry run says the same and removes nothing."""
    live = Live(sessions, DEFAULT_CODES)
    for user in range(1, 6):
        live.post(events(live.first + user, "w 101 @1, w 1 @2, w 1 @3, w 1 @4, w 1 @5, d 1 @50"))
    live.post(events(live.first + 6, "d 1 @50"))
    with transaction(sessions) as session:
        session.execute(text("UPDATE users SET legal_hold = user_id = :held"), {"held": live.first + 2})
        session.execute(text("UPDATE alerts SET status = 'acknowledged' WHERE code = 1100"))
    expected = PruneReport(users=4, actions=20, alerts=16, open_alerts=12, held=1)
    assert run_job(database_url, 50, is_dry=True)[0] == expected
    assert len(live.events()) == 31
    report, shown = run_job(database_url, 50)
    assert report == expected
    assert shown[0] == (0, 6)
    assert shown[-1] == (6, 6)
    assert shown == sorted(shown)
    assert pruned_before(live) == [(50,), (None,), (50,), (50,), (50,), (None,)]
    assert live.report().differences == []
    assert run_job(database_url, 50)[0] == PruneReport(held=1)


def test_users_in_use_are_left(
    sessions: Sessions, database_url: str, in_small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has a user, or an alert of one, is not waited for; the next run does what was left."""
    monkeypatch.setattr(pruning, "_SETTINGS", {"lock_timeout": 50})
    live = Live(sessions, DEFAULT_CODES)
    for user in (1, 2, 3):
        live.post(events(live.first + user, "w 101 @1, d 1 @50"))
    held = {"user": live.first + 1, "of_alert": live.first + 2}
    with transaction(sessions) as session:
        session.execute(text("SELECT FROM users WHERE user_id = :user FOR UPDATE"), held)
        session.execute(text("SELECT FROM alerts WHERE user_id = :of_alert FOR UPDATE"), held)
        report, _ = run_job(database_url, 50)
    assert report == PruneReport(users=1, actions=1, alerts=1, open_alerts=1, busy=2)
    assert pruned_before(live) == [(None,), (None,), (50,)]
    assert run_job(database_url, 50)[0] == PruneReport(users=2, actions=2, alerts=2, open_alerts=2)


def test_events_and_pruning_at_the_same_time(sessions: Sessions, database_url: str, in_small_steps: None) -> None:
    """While the cut moves on under them, events are stored or refused; in the end everything follows."""
    live = Live(sessions, DEFAULT_CODES)
    stored: list[int] = []
    refused: list[int] = []
    pruned_up_to = threading.Event()

    def post(number: int) -> None:
        random = Random(number)
        for time in range(0, 300, 3):
            some = [
                Event(live.first + random.randint(1, 3), "deposit", Decimal(f"{random.randint(1, 90)}.00"), at, None)
                for at in (time, max(0, time - random.choice((0, 5, 150))))
            ]
            found = run(sessions, lambda session, some=some: live.engine.process(session, some))  # type: ignore[misc]
            reasons = [one.reason for one in found if isinstance(one, Refusal)]
            assert set(reasons) <= {"pruned"}
            stored.append(len(found) - len(reasons))
            refused.append(len(reasons))
            if time == 150:
                assert pruned_up_to.wait(60)

    threads = [threading.Thread(target=post, args=(number,)) for number in range(3)]
    for one in threads:
        one.start()
    for before in range(20, 260, 20):
        run_job(database_url, before)
        if before == 60:
            pruned_up_to.set()
    for one in threads:
        one.join()
    run_job(database_url, 260)
    report = live.report()
    assert report.differences == []
    (count,) = live.rows("SELECT sum(last_seq)::int FROM users WHERE user_id BETWEEN :first AND :last")[0]
    assert count == sum(stored)
    assert sum(refused) > 0
    assert report.actions < count


def test_what_an_event_costs(sessions: Sessions) -> None:
    """A pruned user's event takes as many statements as others', unless no action of a type is left before it."""
    live = Live(sessions, DEFAULT_CODES, keep=False)
    for user in (1, 2, 3):
        live.post(events(live.first + user, "d 1 @1, w 1 @2, d 1 @10, w 1 @11"))
    prune(sessions, live.first + 2, 5)
    prune(sessions, live.first + 3, 11)
    took = []
    for user in (1, 2, 3):
        with statements(sessions) as executed:
            live.post(events(live.first + user, "d 1 @20"))
        took.append(len(executed))
    assert took[0] == took[1] == took[2] - 1
    assert live.report().differences == []
