"""What a failing database means for the caller: tried again, away, uncertain, or a defect."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from decimal import Decimal
from threading import Barrier, Thread
from threading import Event as ThreadEvent

import pytest
from sqlalchemy import Engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from database import citus, users
from database.errors import cause, is_read_only, is_unfit
from database.pooled_connection import PooledConnection, pooled_connections
from database.pooler import is_lost
from database.prepared import run_directly
from database.session import (
    ATTEMPTS,
    CommitUncertain,
    Transaction,
    begin,
    commit,
    is_away,
    make_sessions,
    run,
    sqlstate,
)
from rules.judging.engine import RuleEngine
from rules.model import Event, Verdict
from rules.policy import Policy
from tests.postgres import engine_on, transaction
from tests.service import free_port
from tests.waiting import PATIENCE

Sessions = sessionmaker[Session]


def kill_connection(sessions: Sessions, session: Session) -> None:
    """End the connection of `session` from outside, as a restart of the database does."""
    pid = session.execute(text("SELECT pg_backend_pid()")).scalar()
    with sessions() as other:
        assert other.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid}).scalar()


def add_user(session: Session, user_id: int) -> None:
    session.execute(text("INSERT INTO users (user_id) VALUES (:user_id)"), {"user_id": user_id})


def rename(session: Session, user_id: int, name: str) -> None:
    session.execute(text("UPDATE users SET name = :n WHERE user_id = :u"), {"n": name, "u": user_id})


def names(sessions: Sessions) -> list[str | None]:
    with sessions() as session:
        return list(session.scalars(text("SELECT name FROM users ORDER BY user_id")))


@pytest.fixture
def two_users(sessions: Sessions) -> Sessions:
    """Sessions on a database with the users 1 and 2."""
    with transaction(sessions) as session:
        add_user(session, 1)
        add_user(session, 2)
    return sessions


# Tried again


def test_result(sessions: Sessions) -> None:
    """What the work returns is what the caller gets, and of a transaction without a commit nothing is stored."""

    def work(session: Session) -> str:
        begin(session)
        add_user(session, 1)
        return "done"

    assert run(sessions, work) == "done"
    assert names(sessions) == []


def test_serialization_failure(two_users: Sessions) -> None:
    """A transaction that PostgreSQL could not serialize is run again from the start."""
    seen = []

    def work(session: Session) -> str:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        seen.append(session.execute(text("SELECT name FROM users WHERE user_id = 1")).scalar())
        if len(seen) == 1:
            with transaction(two_users) as other:
                rename(other, 1, "first")
        rename(session, 1, "second")
        commit(session)
        return "done"

    assert run(two_users, work) == "done"
    assert (seen, names(two_users)) == ([None, "first"], ["second", None])


def test_deadlock(two_users: Sessions) -> None:
    """Of two transactions that wait for each other one is undone and run again; both succeed."""
    both_hold_one, one_is_through, tries = Barrier(2), ThreadEvent(), []

    def job(name: str, first: int, second: int) -> Callable[[], None]:
        def work(session: Session) -> None:
            if name in tries:  # else it could take its first row back before the other one has got it
                assert one_is_through.wait(PATIENCE)
            begin(session)
            rename(session, first, name)
            if name not in tries:
                tries.append(name)
                both_hold_one.wait(PATIENCE)
            else:
                tries.append("again")
            rename(session, second, name)
            commit(session)
            one_is_through.set()

        return lambda: run(two_users, work)

    threads = [Thread(target=job("a", 1, 2)), Thread(target=job("b", 2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(tries) == ["a", "again", "b"]
    assert names(two_users) in (["a", "a"], ["b", "b"])


def test_connection_lost_before_the_commit(sessions: Sessions) -> None:
    """Work whose connection was killed before its COMMIT is run again on another connection, and stored once."""
    tries = []

    def work(session: Session) -> str:
        tries.append(1)
        begin(session)
        add_user(session, 1)
        if len(tries) == 1:
            kill_connection(sessions, session)
        rename(session, 1, "stored")
        commit(session)
        return "done"

    assert run(sessions, work) == "done"
    assert (len(tries), names(sessions)) == (2, ["stored"])


def test_connection_lost_while_idle(database_url: str, sessions: Sessions) -> None:
    """A pooled connection that died since its last use is replaced without the caller noticing."""
    pid = run(sessions, lambda session: session.execute(text("SELECT pg_backend_pid()")).scalar())
    with engine_on(database_url) as administrator, administrator.connect() as connection:
        assert connection.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid}).scalar()
    assert run(sessions, lambda session: session.execute(text("SELECT pg_backend_pid()")).scalar()) not in (pid, None)


def test_connection_lost_while_idle_at_the_beginning_of_a_transaction(database_url: str, two_users: Sessions) -> None:
    """The same where the connection is first used to begin a transaction."""

    def work(session: Session) -> int:
        begin(session)
        rename(session, 1, "again")
        pid: int = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
        commit(session)
        return pid

    pid = run(two_users, work)
    with engine_on(database_url) as administrator, administrator.connect() as connection:
        assert connection.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid}).scalar()
    assert run(two_users, work) != pid


def test_all_connections_lost_while_idle(database_url: str, two_users: Sessions) -> None:
    """A pool of connections that all died since their last use, as after a restart, serves the very next batch."""
    event = Event(1, "deposit", Decimal("1.00"), 10)
    judging = RuleEngine(Policy(()))
    with engine_on(database_url) as engine:
        sessions = make_sessions(engine)
        with ExitStack() as stack:
            pids = [
                stack.enter_context(sessions()).execute(text("SELECT pg_backend_pid()")).scalar_one()
                for _ in range(ATTEMPTS + 2)
            ]
        with two_users() as administrator:
            for pid in pids:
                administrator.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})
        assert run(sessions, lambda session: judging.process(session, [event])) == [Verdict(1, ())]


def test_gives_up(sessions: Sessions) -> None:
    """Work that loses its connection each time fails after three tries with the database's error, which is away."""
    tries = []

    def work(session: Session) -> None:
        tries.append(1)
        kill_connection(sessions, session)
        session.execute(text("SELECT 1"))

    with pytest.raises(DBAPIError) as caught:
        run(sessions, work)
    assert (len(tries), is_away(caught.value)) == (ATTEMPTS, True)


def test_other_errors_are_not_tried_again(sessions: Sessions) -> None:
    """An error that would recur is raised at once."""
    tries = []

    def work(session: Session) -> None:
        tries.append(1)
        session.execute(text("SELECT 1 / 0"))

    with pytest.raises(DBAPIError) as caught:
        run(sessions, work)
    assert (len(tries), sqlstate(caught.value)) == (1, "22012")


# Uncertain


def test_connection_lost_at_the_commit(sessions: Sessions) -> None:
    """When the connection turns out to be gone at the COMMIT the outcome is uncertain, and nothing is tried again."""
    tries = []

    def work(session: Session) -> None:
        tries.append(1)
        begin(session)
        add_user(session, 1)
        kill_connection(sessions, session)
        commit(session)

    with pytest.raises(CommitUncertain):
        run(sessions, work)
    assert (len(tries), names(sessions)) == (1, [])


def test_connection_lost_during_the_commit(sessions: Sessions) -> None:
    """The same holds when the database dies while it is committing."""
    with transaction(sessions) as session:
        session.execute(
            text("""
            CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$
            """)
        )
        session.execute(
            text("""
            CREATE CONSTRAINT TRIGGER die AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION die()
            """)
        )

    def work(session: Session) -> None:
        begin(session)
        add_user(session, 1)
        commit(session)

    with pytest.raises(CommitUncertain):
        run(sessions, work)


def test_refused_commit_is_not_uncertain(sessions: Sessions) -> None:
    """A COMMIT that the database answers with an error has stored nothing: that error is raised as it is."""
    with transaction(sessions) as session:
        session.execute(text("ALTER TABLE users ADD UNIQUE (name) DEFERRABLE INITIALLY DEFERRED"))

    def work(session: Session) -> None:
        begin(session)
        add_user(session, 1)
        add_user(session, 2)
        rename(session, 1, "same")
        rename(session, 2, "same")
        commit(session)

    with pytest.raises(DBAPIError) as caught:
        run(sessions, work)
    assert (sqlstate(caught.value), is_away(caught.value), names(sessions)) == ("23505", False, [])


@pytest.mark.parametrize(
    ("code", "is_uncertain"),
    [
        ("23505", False),
        ("40001", False),
        ("55P03", False),
        ("22003", False),
        ("57014", True),
        ("XX000", True),
        ("58030", True),
        (None, True),
    ],
)
@pytest.mark.parametrize("is_distributed", [False, True])
def test_a_commit_that_fails_on_citus(
    code: str | None, is_uncertain: bool, is_distributed: bool, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may have committed by then, unless the error is one that a statement has before."""
    monkeypatch.setattr(citus, "is_distributed", lambda _: is_distributed)

    class Failure(Exception):
        pgcode = code

    with (
        sessions() as session,
        Transaction(session, by_message=True) as transaction,
        pytest.raises(CommitUncertain if is_uncertain and is_distributed else DBAPIError),
        transaction.committing(),
    ):
        raise DBAPIError("COMMIT", None, Failure())


@pytest.mark.parametrize(
    ("code", "message", "lost"),
    [
        ("08006", "", True),
        ("XX000", f"the {citus.SERVER_IS_GONE} somewhere", True),
        ("XX000", "some defect", False),
        ("23505", citus.SERVER_IS_GONE, False),
        (None, citus.SERVER_IS_GONE, False),
    ],
)
def test_what_says_that_a_server_is_gone(code: str | None, message: str, lost: bool) -> None:
    """PostgreSQL's own codes, and what Citus says of a worker."""

    class Failure(Exception):
        pgcode = code

    assert is_lost(Failure(message)) is lost


# Undone unless committed


@contextmanager
def ways_to_leave(session: Session | PooledConnection, how: str) -> Iterator[None]:
    """A transaction that begins and adds the user 3 by its own statements, and ends in this way."""
    with Transaction(session, by_message=True) as transaction:
        # As a batch does: SQLAlchemy knows of no transaction.
        run_directly(transaction.connection, "BEGIN; INSERT INTO users (user_id) VALUES (3)", {})
        yield
        if how == "fails":
            raise KeyError(how)
        if how == "commits":
            with transaction.committing():
                run_directly(transaction.connection, "COMMIT", {})
        if how == "fails to commit":
            with transaction.committing():
                run_directly(transaction.connection, "SELECT 1 / 0; COMMIT", {})
        if how == "is lost":
            run_directly(transaction.connection, "SELECT pg_terminate_backend(pg_backend_pid())", {})
        if how == "is lost at the commit":
            with transaction.committing():
                run_directly(transaction.connection, "SELECT pg_terminate_backend(pg_backend_pid()); COMMIT", {})


@pytest.mark.parametrize(
    ("how", "error", "is_stored"),
    [
        ("commits", None, True),
        ("returns", None, False),
        ("fails", KeyError, False),
        ("fails to commit", DBAPIError, False),
        ("is lost", DBAPIError, False),
        ("is lost at the commit", CommitUncertain, False),
    ],
)
@pytest.mark.parametrize("pooled", [False, True], ids=["session", "connection"])
def test_undone_unless_committed(
    how: str, error: type[Exception] | None, is_stored: bool, pooled: bool, database_url: str
) -> None:
    """However a transaction ends, it is stored only if it was committed, and its connection serves the next one."""
    with engine_on(database_url, connections=1) as engine:
        sessions = make_sessions(engine)
        made: list[object] = []
        event.listen(engine, "connect", lambda *_: made.append(1))
        with (
            pooled_connections(engine)() if pooled else sessions() as own,
            pytest.raises(error) if error else nullcontext(),
            ways_to_leave(own, how),
        ):
            pass
        assert len(made) == 1  # even if it is lost: there is nothing left to undo
        for _ in range(2):
            with sessions() as session:
                assert list(session.scalars(text("SELECT user_id FROM users"))) == [3] * is_stored
                state = text("SELECT now() = statement_timestamp()")  # outside of any transaction
                session.execute(text("SELECT 1"))
                assert session.execute(state).scalar_one()


@pytest.mark.parametrize(
    ("how", "error", "is_stored"), [("commits", None, True), ("returns", None, False), ("fails", KeyError, False)]
)
def test_a_session_is_undone_unless_committed(
    how: str, error: type[Exception] | None, is_stored: bool, sessions: Sessions
) -> None:
    """What a session does in a transaction is stored only if that was committed."""
    with sessions() as session, pytest.raises(error) if error else nullcontext(), Transaction(session) as transaction:
        add_user(session, 3)
        if how == "fails":
            raise KeyError(how)
        if how == "commits":
            transaction.commit()
    assert names(sessions) == [None] * is_stored


# Away


def failure(engine: Engine, *statements: str) -> DBAPIError:
    """The error that the last of the statements ends in."""
    *before, last = statements
    with engine.connect() as connection:
        for statement in before:
            connection.execute(text(statement))
        with pytest.raises(DBAPIError) as caught:
            connection.execute(text(last))
    return caught.value


def test_lock_timeout_is_away(database_url: str, two_users: Sessions) -> None:
    """A row that stays locked for longer than a request may wait is a database too slow."""
    with engine_on(database_url) as engine, transaction(two_users) as holder:
        rename(holder, 1, "held")
        error = failure(engine, "SET lock_timeout = '20ms'", "UPDATE users SET name = 'x' WHERE user_id = 1")
    assert (sqlstate(error), is_away(error)) == ("55P03", True)


def test_statement_timeout_is_away(database_url: str) -> None:
    """A statement that runs for longer than it may is a database too slow."""
    with engine_on(database_url) as engine:
        error = failure(engine, "SET statement_timeout = '20ms'", "SELECT pg_sleep(60)")
    assert (sqlstate(error), is_away(error)) == ("57014", True)


def test_pool_timeout_is_away(database_url: str) -> None:
    """No free connection in the pool is a service too busy."""
    with (
        engine_on(database_url, timeout=1, connections=1) as engine,
        engine.connect(),
        pytest.raises(SQLAlchemyError) as caught,
    ):
        engine.connect()
    assert is_away(caught.value)


def test_unreachable_server_is_away() -> None:
    """A server that does not answer is away."""
    url = f"postgresql+psycopg2://app@127.0.0.1:{free_port()}/alerts"
    with engine_on(url) as engine, pytest.raises(SQLAlchemyError) as caught:
        engine.connect()
    assert is_away(caught.value)


def test_missing_database_is_away(database_url: str) -> None:
    """A server without the database is not ready yet."""
    url = make_url(database_url).set(database="no_such_database").render_as_string(hide_password=False)
    with engine_on(url) as engine, pytest.raises(SQLAlchemyError) as caught:
        engine.connect()
    assert is_away(caught.value)


def test_killed_connection_is_away(database_url: str) -> None:
    """A connection that an administrator ended is a database that is restarting."""
    with engine_on(database_url) as engine:
        error = failure(engine, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert is_away(error)


def test_read_only_database_is_away(database_url: str) -> None:
    """A database that takes no writes, as a standby does, is away for now."""
    with engine_on(database_url) as engine:
        error = failure(engine, "SET default_transaction_read_only = on", "INSERT INTO users (user_id) VALUES (1)")
    assert (sqlstate(error), is_away(error)) == ("25006", True)


@pytest.mark.parametrize(
    ("statements", "code"),
    [
        (["SELECT * FROM nothing"], "42P01"),
        (["SELECT nothing FROM users"], "42703"),
        (["SET search_path = nowhere", "CREATE TABLE x ()"], "3F000"),
        (["SET ROLE pg_monitor", "SELECT * FROM users"], "42501"),
    ],
    ids=["table", "column", "schema", "right"],
)
def test_what_is_missing_is_not_away(statements: list[str], code: str, database_url: str) -> None:
    """Tables and rights that are missing do not come back by trying again; what is said of them is one line."""
    with engine_on(database_url) as engine:
        error = failure(engine, *statements)
    assert (sqlstate(error), is_away(error), is_unfit(error), is_read_only(error)) == (code, False, True, False)
    assert cause(error)
    assert "\n" not in cause(error)


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("SELECT 1 / 0", "22012"),
        ("SELECT nonsense", "42703"),
        ("INSERT INTO users (user_id) VALUES (0)", "23514"),
        ("SELECT 9223372036854775807 + 1", "22003"),
    ],
    ids=["division by zero", "unknown column", "a broken constraint", "out of range"],
)
def test_defects_are_not_away(statement: str, code: str, database_url: str) -> None:
    """A wrong request by the service is its own defect, not the database's absence."""
    with engine_on(database_url) as engine:
        error = failure(engine, statement)
    assert (sqlstate(error), is_away(error)) == (code, False)


# The service's own engine


@pytest.fixture
def impatient(database_url: str) -> Iterator[Sessions]:
    """Sessions as the service makes them, with two connections and a limit of a second on every wait."""
    with engine_on(database_url, timeout=1, connections=2) as engine:
        yield make_sessions(engine)


def test_every_wait_is_bounded(impatient: Sessions, two_users: Sessions) -> None:
    """A slow statement, a held lock and a busy pool all end in an error that means away."""
    engine = impatient.kw["bind"]
    slow = failure(engine, "SELECT pg_sleep(60)")
    with transaction(two_users) as holder:
        rename(holder, 1, "held")
        locked = failure(engine, "UPDATE users SET name = 'x' WHERE user_id = 1")
    with engine.connect(), engine.connect(), pytest.raises(SQLAlchemyError) as caught:
        engine.connect()
    assert [is_away(error) for error in (slow, locked, caught.value)] == [True, True, True]


def test_connections_are_named(sessions: Sessions) -> None:
    """The service's connections carry its name, so that an administrator can tell them apart."""
    with sessions() as session:
        assert session.execute(text("SHOW application_name")).scalar() == "transaction-alerts"


def test_objects_stay_readable_after_a_commit(sessions: Sessions) -> None:
    """What was read before a commit can be read after it without another statement."""
    with sessions() as session:
        add_user(session, 1)
        user = users.get_user(session, 1)
        assert user is not None
        commit(session)
        assert not session.in_transaction()
        assert (user.user_id, user.risk) == (1, "normal")
        assert not session.in_transaction()


def test_a_connection_that_broke_off_while_preparing(impatient: Sessions, two_users: Sessions) -> None:
    """A connection on which only some statements could be prepared is as good as new once the rest can be."""
    sessions, judge = impatient, RuleEngine(Policy(()))
    event = Event(1, "deposit", Decimal("1.00"), 10)
    with sessions() as session:
        judge.rules.versions(session)
    with transaction(two_users) as holder:
        holder.execute(text("LOCK TABLE user_actions IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(SQLAlchemyError) as caught:
            run(sessions, lambda session: judge.process(session, [event]))
    assert is_away(caught.value)
    for _ in range(2):
        assert run(sessions, lambda session: judge.process(session, [event])) == [Verdict(1, ())]
