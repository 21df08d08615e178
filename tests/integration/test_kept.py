"""Users' last actions kept in the workers: whatever happens, all is answered and stored as if nothing were kept."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from database import embedded, late_counts, migrations, storing
from database.locks import Waits
from database.models import User
from database.session import CommitUncertain, make_sessions, run
from rules.base import Rule
from rules.judging import batches, kept
from rules.judging.engine import RuleEngine
from rules.judging.observer import Observer
from rules.model import ACTION_TYPES, Event, Outcome, Refusal, Verdict
from rules.policy import Policy
from rules.registry import DEFAULT_CODES, REGISTRY
from rules.timeline import Timeline
from tests.integration.test_engine import result_of, rows, statements
from tests.integration.test_hindsight import Live, RuleSet, Sessions, all_rules, forget_rules, one_rule, user_set
from tests.integration.test_pruning import prune
from tests.postgres import engine_on, transaction
from tests.unit.rules.timeline import events

DEFAULT = tuple(REGISTRY[code] for code in DEFAULT_CODES)


class Reads(Observer):
    """How users were read, transaction by transaction: of how many what was kept was used, and how many in full."""

    def __init__(self) -> None:
        self.all: list[tuple[int, int]] = []

    def read(self, kept: int, full: int) -> None:
        self.all.append((kept, full))


class Worker:
    """A worker of some service on the database, which keeps history unless it is said not to."""

    def __init__(self, sessions: Sessions, rules: Sequence[Rule] = DEFAULT, *, keep: bool = True, **policy: Any):
        self.sessions, self.reads = sessions, Reads()
        self.engine = RuleEngine(Policy(tuple(rules), **policy), self.reads, keep=keep)

    def process(self, some: Sequence[Event], atomic: bool = False) -> list[Outcome]:
        return run(self.sessions, lambda session: self.engine.process(session, some, atomic))

    def post(self, user_id: int, notation: str) -> list[Any]:
        """The codes of each noted event of one user, posted as one batch; the reason if one is refused."""
        return [result_of(outcome) for outcome in self.process(events(user_id, notation))]

    def one_by_one(self, user_id: int, notation: str) -> list[Any]:
        """The same, each posted by itself."""
        return [self.post(user_id, one)[0] for one in notation.split(",")]

    @property
    def last_read(self) -> tuple[int, int]:
        """Of how many users of the last transaction what was kept was used, and how many were read in full."""
        return self.reads.all[-1]


KEPT, IN_FULL = (1, 0), (0, 1)
COPIED = ", ".join(column.name for column in User.__table__.columns if column.computed is None)


def change(sessions: Sessions, *statements: str, **values: object) -> None:
    """Change the database by hand."""
    with transaction(sessions) as session:
        for statement in statements:
            session.execute(text(statement), values)


@pytest.fixture
def workers(sessions: Sessions) -> tuple[Worker, Worker]:
    """Two workers, both with the default rules active."""
    found = Worker(sessions), Worker(sessions)
    with sessions() as session:
        found[0].engine.rules.enter_declared(session)
    return found


# As if nothing were kept


class Twins:
    """What happens to users of workers that keep history, and at once to those of one that keeps nothing."""

    def __init__(self, sessions: Sessions, random: Random, draw: Any, *, allow_overdraft: bool) -> None:
        self.sessions, self.random, self.draw, self.overdraft = sessions, random, draw, allow_overdraft
        self.ours, self.others = Live(sessions), Live(sessions)
        self.workers = [self._worker(), self._worker()]
        self.plain = self._worker(keep=False)
        self.time = 100

    def _worker(self, *, keep: bool = True) -> Worker:
        return Worker(self.sessions, tuple(REGISTRY.values()), keep=keep, allow_overdraft=self.overdraft)

    def post(self) -> None:
        """Some events, mostly in order of time, by one of the workers."""
        random, some = self.random, []
        many = random.random() < 0.02
        for _ in range(80 if many else random.choice([1, 1, 1, 2, 3, 8])):
            self.time += 0 if many else random.choice([0, 0, 1, 5, 10, 31, 61, 100])
            late = random.choice([0, 1, 30, 90]) if random.random() < 0.05 else 0
            kind = random.choice(ACTION_TYPES)
            amount = random.choice([Decimal("0.01"), Decimal("10.00"), Decimal("33.34"), Decimal("60.01")])
            key = random.choice("abcdef") if random.random() < 0.1 else None
            some.append(Event(1 if many else random.randint(1, 3), kind, amount, max(0, self.time - late), key))
        atomic, worker = random.random() < 0.1, random.choice(self.workers)
        found = worker.process([e._replace(user_id=self.ours.first + e.user_id) for e in some], atomic)
        wanted = self.plain.process([e._replace(user_id=self.others.first + e.user_id) for e in some], atomic)
        assert [_of(one) for one in found] == [_of(one) for one in wanted]

    def set_rule(self) -> None:
        self.ours.set_rules([self.draw(one_rule)])

    def set_user(self) -> None:
        wanted = self.draw(user_set)
        for live in (self.ours, self.others):
            live.set_user(wanted)

    def prune(self) -> None:
        user, before = self.random.randint(1, 3), self.time - self.random.choice([-10, 0, 20, 100])
        for live in (self.ours, self.others):
            prune(self.sessions, live.first + user, before, most=self.random.choice([2, 1_000]))

    def raise_total(self) -> None:
        self._change_user("UPDATE users SET total = total + 5 WHERE user_id = :user")

    def erase(self) -> None:
        self._change_user("UPDATE user_actions SET event_id = NULL WHERE user_id = :user")

    def make_anew(self) -> None:
        tables = ("outbox", "alert_history", "alerts", "late_offsets", "checkpoints", "user_actions", "user_settings")
        self._change_user(*(f"DELETE FROM {table} WHERE user_id = :user" for table in (*tables, "users")))

    def _change_user(self, *statements: str) -> None:
        user = self.random.randint(1, 3)
        for live in (self.ours, self.others):
            change(self.sessions, *statements, user=live.first + user)

    def restart(self) -> None:
        self.workers[self.random.randrange(2)] = self._worker()

    def compare(self) -> None:
        """All that is stored of the ones is what is stored of the others."""
        assert self._stored(self.ours) == self._stored(self.others)

    def _stored(self, live: Live) -> list[Any]:
        mine = "BETWEEN :first AND :last ORDER BY 1, 2, 3"
        columns = "seq, type, amount, time, event_id, alert_codes, rules_number, ordinal, running_total"
        selected = (
            f"SELECT user_id - :first, {columns} FROM user_actions WHERE user_id",
            "SELECT user_id - :first, seq, code, time, late, superseded, shadow, evidence FROM alerts WHERE user_id",
            "SELECT user_id - :first, last_seq, balance FROM users WHERE user_id",
        )
        ids = {"first": live.first, "last": live.first + 9}
        return [rows(self.sessions, f"{one} {mine}", **ids) for one in selected]


def _of(outcome: Outcome) -> Any:
    return (outcome.codes, outcome.replayed) if isinstance(outcome, Verdict) else outcome.reason


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), overdraft=st.booleans(), rules=all_rules(("active",)), data=st.data())
def test_as_if_nothing_were_kept(
    sessions: Sessions, seed: int, overdraft: bool, rules: list[RuleSet], data: st.DataObject
) -> None:
    """Whatever happens between the events of two workers, answers, actions, alerts and evidence are those of one that
    reads everything.
    """
    random = Random(seed)
    twins = Twins(sessions, random, data.draw, allow_overdraft=overdraft)
    forget_rules(sessions)
    twins.ours.set_rules(rules)
    others: list[Callable[[], None]] = [
        *(twins.set_rule, twins.set_user, twins.prune, twins.raise_total, twins.erase, twins.make_anew, twins.restart)
    ]
    for _ in range(random.randint(5, 40)):
        (twins.post if random.random() < 0.8 else random.choice(others))()
    twins.compare()


# What is read


def test_only_what_came_since_is_read(workers: tuple[Worker, Worker], sessions: Sessions) -> None:
    """Of a user who was judged before, in two messages, whoever judged the last events; with event ids too."""
    one, other = workers
    assert one.post(1, "w 1 @10") == [[]]
    assert one.last_read == IN_FULL
    assert other.one_by_one(1, "w 1 @20, d 1 @21") == [[], []]
    assert other.reads.all == [IN_FULL, KEPT]
    with statements(sessions) as executed:
        assert one.post(1, "w 1 @22") == [[]]
        assert other.post(1, "w 1 @30 #key, w 1 @30") == [[], [30]]
    assert len(executed) == 4
    assert [one.last_read, other.last_read] == [KEPT, KEPT]
    assert one.post(1, "w 1 @30 #key, w 1 @40") == [[], [30]]  # the answer of the first time
    assert one.process([*events(1, "w 2 @40 #key, w 1 @50"), *events(2, "d 201 @1")]) == [
        Refusal("event_id_conflict", "This event_id came before with another payload."),
        Verdict(1, (30,)),
        Verdict(2, (123,)),
    ]
    assert one.last_read == (1, 1)
    assert rows(sessions, "SELECT max(seq), count(*), max(ordinal) FROM user_actions WHERE user_id = 1") == [(8, 8, 7)]


def test_rules_with_long_windows(sessions: Sessions) -> None:
    """Sums of a long window, and the user's first action, are read beside what is kept, in the same message."""
    rules = tuple(REGISTRY[code] for code in (610, 630, 680))
    one, plain = Worker(sessions, rules), Worker(sessions, rules, keep=False)
    with sessions() as session:
        one.engine.rules.enter_declared(session)
    notation = ", ".join(f"{'dw'[n % 3 == 2]} {1000 + n} @{n * 40_000}" for n in range(60))
    assert one.one_by_one(1, notation) == plain.one_by_one(2, notation)
    assert one.reads.all == [IN_FULL] + [KEPT] * 59
    with statements(sessions) as executed:
        one.post(1, "w 1 @2500000")
    assert (one.last_read, len(executed)) == (KEPT, 2)


def test_a_busy_user_stays_kept(workers: tuple[Worker, Worker]) -> None:
    """However many actions there were, as long as few are in the windows; a crowd is not kept."""
    one, _ = workers
    one.one_by_one(1, ", ".join(f"d 1 @{2 * n}" for n in range(100)))
    assert one.reads.all == [IN_FULL] + [KEPT] * 99
    assert one.engine._kept is not None
    assert one.engine._kept._users[1].timeline.size <= kept.ROOM + 1
    one.one_by_one(1, ", ".join(["d 1 @1000"] * (kept.MOST_OF_TYPE + 2)))
    assert one.reads.all[-3:] == [KEPT, IN_FULL, IN_FULL]


def test_a_big_batch_leaves_what_is_kept_alone(workers: tuple[Worker, Worker]) -> None:
    """It neither uses nor drives out anything."""
    one, _ = workers
    one.post(1, "d 1 @1")
    one.process([event for user in range(1, batches.BIG + 2) for event in events(user, "d 1 @2")])
    assert one.last_read == (0, batches.BIG + 1)
    one.post(1, "d 1 @3")
    assert one.last_read == KEPT
    one.post(2, "d 1 @3")
    assert one.last_read == IN_FULL


def test_bounds(workers: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of users, or of actions, those are forgotten that were judged longest ago."""
    one, _ = workers
    history = one.engine._kept
    assert history is not None
    monkeypatch.setattr(kept, "MOST_USERS", 3)
    for user in (1, 2, 3, 1, 4):
        one.post(user, "d 1 @1")
    assert (list(history._users), history._actions) == ([3, 1, 4], 4)
    monkeypatch.setattr(kept, "MOST_ACTIONS", 6)
    one.post(3, "d 1 @1, d 1 @1, d 1 @1")
    assert (list(history._users), history._actions) == ([4, 3], 5)
    assert history._actions == sum(each.timeline.size for each in history._users.values())


# In doubt


def test_a_late_event(workers: tuple[Worker, Worker]) -> None:
    """It is judged on all that was at its time, and again what it changes; then the user is read in full once."""
    one, _ = workers
    for user, late in ((1, "w 1 @50"), (2, "d 1 @5000, w 1 @50")):
        one.one_by_one(user, "w 1 @0, w 1 @10, " + ", ".join(f"{'dw'[n % 2]} 1 @{n * 100}" for n in range(1, 40)))
        assert one.last_read == KEPT
        assert one.post(user, late)[-1] == [30]
        assert one.last_read == IN_FULL
        assert one.one_by_one(user, "w 1 @6000, w 1 @6001, w 1 @6002")[-1] == [30]
        assert one.reads.all[-3:] == [IN_FULL, KEPT, KEPT]


def test_an_event_that_others_have_made_late(workers: tuple[Worker, Worker], sessions: Sessions) -> None:
    """Although it is not before anything that its worker knows of."""
    one, other = workers
    one.one_by_one(1, "w 1 @10, d 1 @20, w 1 @30, w 1 @31")
    other.one_by_one(1, "d 1 @100, w 1 @200, w 1 @201")
    assert one.post(1, "w 1 @150") == [[]]
    assert one.last_read == IN_FULL
    assert rows(sessions, "SELECT seq, late FROM alerts WHERE code = 30 ORDER BY seq") == [(7, True)]


def test_others_late_events(workers: tuple[Worker, Worker], sessions: Sessions) -> None:
    """A late event of another worker changes the numbers of what is kept here."""
    one, other = workers
    one.one_by_one(1, "d 1 @10, d 2 @20, d 3 @30")
    other.post(1, "d 4 @15")
    one.post(1, "d 5 @40")
    assert one.last_read == IN_FULL
    found = rows(sessions, "SELECT seq, ordinal, running_total FROM user_actions ORDER BY time")
    assert found == [(1, 1, 1), (4, 2, 5), (2, 3, 7), (3, 4, 10), (5, 5, 15)]


def test_more_came_since_than_is_read(workers: tuple[Worker, Worker], sessions: Sessions) -> None:
    """Then the user is read in full."""
    one, other = workers
    one.post(1, "d 1 @0")
    time = 0
    for more in (kept.MOST_SINCE, kept.MOST_SINCE + 1):
        # So far apart that of the user little is kept.
        other.process(events(1, ", ".join([f"d 1 @{time + 100 * n}" for n in range(1, more + 1)])))
        time += 100 * (more + 1)
        one.post(1, f"d 1 @{time}")
    assert one.reads.all == [IN_FULL, KEPT, IN_FULL]
    one.post(1, f"d 1 @{time}")
    assert one.last_read == KEPT
    assert rows(sessions, "SELECT max(ordinal), max(running_total), max(seq) FROM user_actions") == [(133, 133, 133)]


TAMPERED = {
    "the row was made at another time": "UPDATE users SET created_at = created_at + interval '1 second'",
    "the balance has changed": "UPDATE users SET total = total + 1",
    "actions were removed": "UPDATE users SET pruned_before = 0",
    "the user is full": f"UPDATE users SET last_seq = {2**62 + 1}",
    "there is one action less": "UPDATE users SET last_seq = last_seq - 1",
    "there is one action more": "UPDATE users SET last_seq = last_seq + 1",
}


@pytest.mark.parametrize("how", TAMPERED)
def test_the_row_is_another(how: str, workers: tuple[Worker, Worker], sessions: Sessions) -> None:
    """Whatever of it has changed, the user is read in full."""
    one, _ = workers
    one.one_by_one(1, "d 1 @10, w 1 @20")
    change(sessions, TAMPERED[how])
    with suppress(AssertionError, DBAPIError):  # what is stored may contradict itself now
        one.post(1, "d 1 @30")
    assert one.last_read == IN_FULL


def test_late_offsets(workers: tuple[Worker, Worker], sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user with late offsets is never kept."""
    monkeypatch.setattr(late_counts, "STRETCH", 1)
    one, other = workers
    one.one_by_one(1, "d 1 @10, d 1 @20, d 1 @30, d 1 @40")
    other.post(1, "d 1 @5")
    assert rows(sessions, "SELECT has_late_offsets FROM users") == [(True,)]
    one.one_by_one(1, "d 1 @50, d 1 @60")
    assert one.reads.all[-2:] == [IN_FULL, IN_FULL]


@pytest.mark.parametrize("column", ["running_total", "ordinal"])
def test_numbers_that_do_not_continue(column: str, workers: tuple[Worker, Worker], sessions: Sessions) -> None:
    """Where others have continued from other numbers, as after a restore, what is kept is wrong."""
    one, other = workers
    one.one_by_one(1, "d 1 @10, d 1 @11")
    assert one.last_read == KEPT
    change(sessions, f"UPDATE user_actions SET {column} = {column} + 1")
    other.post(1, "d 1 @20")
    one.post(1, "d 1 @30")
    assert one.last_read == IN_FULL


def test_only_one_type_is_known(sessions: Sessions) -> None:
    """Where not both types were read, the user is not kept: nothing would show what is missing."""
    one = Worker(sessions)
    with sessions() as session:
        one.engine.rules.enter_declared(session)
    one.one_by_one(1, "d 1 @10, w 1 @20")
    change(sessions, "UPDATE user_actions SET ordinal = 2 WHERE seq = 1")
    fresh = Worker(sessions)
    fresh.one_by_one(1, "d 1 @30, d 1 @31")
    assert fresh.reads.all == [IN_FULL, IN_FULL]


def test_overrides_that_look_further_back(workers: tuple[Worker, Worker], sessions: Sessions) -> None:
    """What is kept for the rules as they were is completed for the rules as they are."""
    one, _ = workers
    one.one_by_one(1, ", ".join(f"{'wd'[n % 5 == 0]} 1 @{n * 100}" for n in range(40)) + ", w 1 @4000, w 1 @4001")
    change(sessions, """UPDATE users SET overrides = '{"30": {"count": 8}}'""")
    assert one.one_by_one(1, "w 1 @4002, w 1 @4003") == [[], [30]]
    change(sessions, """UPDATE users SET overrides = '{"30": {"count": 20}}'""")
    found = one.one_by_one(1, ", ".join(f"w 1 @{n}" for n in range(4100, 4114)))
    assert found == [[]] * 11 + [[30]] * 3


# Whatever goes wrong, everything is forgotten


def all_forgotten(worker: Worker) -> bool:
    """Whether the worker keeps nothing."""
    assert worker.engine._kept is not None
    return not worker.engine._kept._users


def test_a_lost_connection(database_url: str, workers: tuple[Worker, Worker]) -> None:
    """The next event is stored at the second try, and read in full."""
    one, _ = workers
    one.one_by_one(1, "w 1 @10, w 1 @11")
    with engine_on(database_url) as administrator, administrator.connect() as connection:
        others = "datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        connection.execute(text(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {others}"))
    assert one.post(1, "w 1 @20") == [[30]]
    assert one.reads.all == [IN_FULL, KEPT, IN_FULL]


def test_a_lock_that_is_not_to_be_had(workers: tuple[Worker, Worker], sessions: Sessions) -> None:
    """Nothing is stored; what is kept of others stays, since the database has said that it is there."""
    one, _ = workers
    one.post(1, "d 1 @10")
    one.post(2, "d 1 @10")
    with transaction(sessions) as session:
        session.execute(text("SELECT FROM users WHERE user_id = 1 FOR UPDATE"))
        with sessions() as own, pytest.raises(DBAPIError):
            one.engine.process(own, events(1, "d 1 @20"), waits=Waits(lock=0.05))
    for user_id, read in ((1, IN_FULL), (2, KEPT)):
        one.post(user_id, "d 1 @20")
        assert one.last_read == read


@pytest.mark.parametrize("stored", [False, True])
def test_an_uncertain_commit(
    stored: bool, workers: tuple[Worker, Worker], sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it was stored or not, the next event is judged on what is there."""
    one, _ = workers
    one.post(1, "w 1 @10")
    commits = storing.store_and_commit

    def lost(connection: Any, some: Any) -> None:
        if stored:
            commits(connection, some)
        connection.invalidate()
        raise DBAPIError("COMMIT", None, Exception("lost"), connection_invalidated=True)

    with monkeypatch.context() as patch:
        patch.setattr(storing, "store_and_commit", lost)
        with pytest.raises(CommitUncertain):
            one.post(1, "w 1 @20")
    assert all_forgotten(one)
    assert one.one_by_one(1, "w 1 @30, w 1 @40") == [[30] if stored else [], [30]]


def test_another_server(ready_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failover or a restart users are read in full, even if nobody has noticed that a connection was lost."""
    monkeypatch.setattr(kept.KeptHistory, "forget", lambda _: None)
    worker: Worker | None = None
    for _ in range(2):
        with embedded.use(ready_folder, superuser=True, fsync="off") as url:
            migrations.upgrade(url)
            with engine_on(url) as own:
                worker = worker or Worker(make_sessions(own))
                worker.sessions = make_sessions(own)
                worker.one_by_one(1, "d 1 @10, d 1 @10")
    assert worker is not None
    assert worker.reads.all == [IN_FULL, KEPT, IN_FULL, KEPT]


def test_a_table_that_was_made_anew(workers: tuple[Worker, Worker], sessions: Sessions) -> None:
    """As by a restore of it alone."""
    one, _ = workers
    one.one_by_one(1, "d 1 @10, d 1 @20")
    assert one.last_read == KEPT
    references = "SELECT conname, conrelid::regclass FROM pg_constraint WHERE confrelid = 'users'::regclass"
    change(sessions, *(f"ALTER TABLE {table} DROP CONSTRAINT {name}" for name, table in rows(sessions, references)))
    change(
        sessions,
        "ALTER TABLE users RENAME TO old_users",
        "CREATE TABLE users (LIKE old_users INCLUDING ALL)",
        f"INSERT INTO users ({COPIED}) SELECT {COPIED} FROM old_users",
    )
    one.post(1, "d 1 @30")
    assert one.last_read == IN_FULL


def test_a_defect_after_the_commit(workers: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged, and the events are answered: raised, it would have them stored again."""
    one, _ = workers
    with monkeypatch.context() as patch, capture_logs() as logged:
        patch.setattr(Timeline, "drop_before_gaps", None)
        assert one.post(1, "d 1 @10") == [[]]
    assert [(each["event"], each["error"]) for each in logged] == [("history_not_kept", "TypeError")]
    assert all_forgotten(one)
    assert one.post(1, "d 1 @20") == [[]]


def test_a_batch_under_way_keeps_nothing(workers: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    """If everything was forgotten while it was under way."""
    one, _ = workers
    commits = storing.store_and_commit

    def commit_and_forget(connection: Any, some: Any) -> None:
        commits(connection, some)
        assert one.engine._kept is not None
        one.engine._kept.forget()

    monkeypatch.setattr(storing, "store_and_commit", commit_and_forget)
    one.post(1, "d 1 @10")
    assert all_forgotten(one)


def test_events_that_were_rolled_back(workers: tuple[Worker, Worker]) -> None:
    """What was judged and not stored is not kept."""
    one = Worker(workers[0].sessions, allow_overdraft=False)
    one.one_by_one(1, "d 10 @10, w 1 @11")
    assert [result_of(each) for each in one.process(events(1, "w 1 @20, w 100 @21"), atomic=True)] == [[], "overdraft"]
    assert one.one_by_one(1, "w 1 @30, w 1 @31") == [[], [30]]
    assert one.reads.all[-2:] == [IN_FULL, KEPT]


def test_a_user_who_was_never_stored(workers: tuple[Worker, Worker]) -> None:
    """Nothing is kept of a user whose first events are all refused."""
    one = Worker(workers[0].sessions, allow_overdraft=False)
    one.process(events(1, "w 1 @10") + events(2, "d 1 @10"))
    assert one.engine._kept is not None
    assert list(one.engine._kept._users) == [2]
