"""The statements of a batch as the models make them: that PostgreSQL accepts them, and what they return."""

import re
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import SAWarning
from sqlalchemy.orm import Session, sessionmaker

from database import judging, late_counts, late_events, late_offsets, prepared
from database.models import Alert, User, UserAction
from database.prepared import Planned, Prepared, Records, prepare_anew, run_directly
from database.records import Deltas, EventKey, LastN, LockedUser, NewAlert, StoredAction
from database.user_records import Forms
from tests.integration.test_engine import post

Sessions = sessionmaker[Session]

PLANNED = {
    f"{module.__name__}.{name}": value
    for module in (judging, late_counts, late_events, late_offsets)
    for name, value in vars(module).items()
    if isinstance(value, Planned)
}
IN_FORMS = {
    f"{module.__name__}.{name}": value
    for module in (late_counts, late_events, late_offsets)
    for name, value in vars(module).items()
    if isinstance(value, Forms)
}


def columns(connection: Connection, table: str) -> dict[str, str]:
    """The types of a table's columns, as PostgreSQL writes them without lengths."""
    found = connection.execute(
        text("""
        SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
        WHERE attrelid = to_regclass(:name) AND attnum > 0
        """),
        {"name": table},
    )
    return dict(found.all())


def test_prepared_types_are_those_of_the_columns(sessions: Sessions) -> None:
    """PostgreSQL prepares every statement, with the types of the columns; JSON and arrays travel as text."""
    with sessions() as session:
        connection = session.connection()
        run_directly(connection, prepare_anew(judging.COUNT_AND_LOCK), {})
        found = connection.execute(text("SELECT name, CAST(parameter_types AS text[]) FROM pg_prepared_statements"))
        types: dict[str, list[str]] = dict(found.all())
        tables = ("users", "user_actions", "alerts", "outbox")
        users, actions, alerts, outbox = (columns(connection, name) for name in tables)

    def arrays(of: dict[str, str], *names: str) -> list[str]:
        return [f"{'text' if of[name] in ('jsonb', 'integer[]') else of[name]}[]" for name in names]

    one_user = arrays(users, "user_id")
    last = [*arrays(actions, "user_id", "type", "time", "time"), "bigint[]"]
    following = [*arrays(actions, "user_id", "type", "time"), "bigint[]"]
    since = [*arrays(actions, "user_id", "seq"), "bigint[]"]
    keys = arrays(actions, "user_id", "event_id")
    assert {name.rpartition("_")[0]: of for name, of in types.items()} == {
        "count_and_lock": [*arrays(users, "user_id", "last_seq", "net"), "boolean"],
        "read_last": one_user + last,
        "read_since": one_user + since,
        "read_last_since": one_user + last + since,
        "read_since_keys": one_user + since + keys,
        "read_last_since_following_keys": one_user + last + since + following + keys,
        "insert_actions": arrays(
            actions,
            *("user_id", "seq", "type", "amount", "time", "event_id", "alert_codes"),
            *("rules_number", "settings_version", "ordinal", "running_total"),
        ),
        "insert_alerts": arrays(
            alerts,
            *("user_id", "seq", "code", "time", "evidence"),
            *("late", "superseded", "shadow", "high_risk"),
        ),
        "insert_outbox": arrays(outbox, "user_id", "at_seq", "n", "seq", "code", "event", "risk"),
    }


@pytest.mark.forms
@pytest.mark.parametrize("name", IN_FORMS)
def test_what_has_two_forms_runs(name: str, sessions: Sessions) -> None:
    """PostgreSQL accepts both forms with empty input, and Citus the second."""
    statement = IN_FORMS[name]
    with sessions() as session:
        nothing: list[list[Any]] = [[] for _ in statement.records]
        assert statement.run(session.connection(), *nothing, length=1, limit=1) == []
        session.rollback()


@pytest.mark.forms
@pytest.mark.parametrize("name", PLANNED)
def test_what_is_not_prepared_runs(name: str, sessions: Sessions) -> None:
    """PostgreSQL accepts every other statement too, with empty input."""
    statement = PLANNED[name]
    nothing = dict.fromkeys(re.findall(r"%\((\w+)\)s", statement.text), "{}") | {"length": "1", "limit": "1"}
    with sessions() as session:
        assert statement.run(session.connection(), nothing) == []
        session.rollback()


def test_a_connection_prepares_once(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is prepared stays with the connection, and is not sent again."""
    sent: list[str] = []

    def run(_connection: Connection, statement: str, _values: Any) -> Any:
        sent.append(statement)

    monkeypatch.setattr(prepared, "run_directly", run)
    for _ in range(2):
        with sessions() as session:
            prepared.in_transaction_with(session.connection(), judging.COUNT_AND_LOCK, sent.append)
    assert ["PREPARE" in each for each in sent] == [True, False, False]


def test_a_literal_is_refused() -> None:
    """A value in a statement would become a parameter that nothing fills in."""
    with pytest.raises(ValueError, match=r"literals that would become parameters: \[5\]"):
        Prepared("wrong", select(User.net).where(User.user_id == 5))
    with pytest.raises(ValueError, match="literals"):
        Planned(select(User.net).limit(1))


def test_tables_that_are_not_joined_are_refused() -> None:
    """A forgotten condition would pair every row with every other."""
    with pytest.raises(SAWarning, match="cartesian product"):
        Prepared("wrong", select(User.net, Alert.code))


def test_a_record_must_be_of_its_model() -> None:
    """A field that no column has, or a column for no field, is found when the module is imported."""
    with pytest.raises(AttributeError, match="after"):
        Records(LastN, "last", UserAction, limit=UserAction.seq)
    with pytest.raises(AssertionError, match="LastN does not have"):
        Records(LastN, "last", UserAction, after=UserAction.time, limit=UserAction.seq, other=UserAction.seq)


def test_records_as_arrays() -> None:
    """Each field becomes an array with one element per record."""
    records = Records(NewAlert, "new", Alert)
    values: dict[str, Any] = {
        "user_id": 1,
        "code": 30,
        "late": False,
        "superseded": True,
        "shadow": False,
        "high_risk": True,
    }
    first = NewAlert(seq=1, time=10, evidence='{"a": 1}', **values)
    second = NewAlert(seq=2, time=20, evidence="{}", **values)
    assert records.arrays([first, second]) == {
        "new_user_id": "{1,1}",
        "new_seq": "{1,2}",
        "new_code": "{30,30}",
        "new_time": "{10,20}",
        "new_evidence": r'{"{\"a\": 1}","{}"}',
        "new_late": "{False,False}",
        "new_superseded": "{True,True}",
        "new_shadow": "{False,False}",
        "new_high_risk": "{True,True}",
    }
    assert set(records.arrays([]).values()) == {"{}"}


def test_rows_come_back_as_records(sessions: Sessions) -> None:
    """Users and actions, which share the rows of one statement, are distinguished and named."""
    post(sessions, 7, "d 42.50 @10, w 150 @20 #mine")
    with sessions() as session:
        number = session.execute(text("SELECT max(number) FROM rule_versions")).scalar_one()
        session.execute(text("""UPDATE users SET risk = 'high', overrides = '{"1100": {"threshold": "5.00"}}'"""))
        session.commit()
        users, actions, _ = judging.begin_lock_and_read(
            session.connection(),
            deltas=[
                Deltas(user_id=7, actions=2, net=Decimal("1.50")),
                Deltas(user_id=8, actions=1, net=Decimal("-3.00")),
            ],
            create=True,
            last=[LastN(user_id=7, type="deposit", after=-1, time=15, limit=3)],
            following=[],
            keys=[EventKey(user_id=7, event_id="mine"), EventKey(user_id=7, event_id="other")],
        )
        session.rollback()
    assert all(re.fullmatch(r"\S+ \S+ \d+ \S+ \S+", user.identity) for user in users)
    users = [user._replace(identity="") for user in users]
    assert sorted(users, key=lambda user: user.user_id) == [
        LockedUser(
            user_id=7,
            last_seq=4,
            risk="high",
            balance=Decimal("-106.00"),
            is_new=False,
            is_full=False,
            overrides='{"1100": {"threshold": "5.00"}}',
            settings_version=0,
            rules_number=number,
            has_late_offsets=False,
        ),
        LockedUser(
            user_id=8,
            last_seq=1,
            risk="normal",
            balance=Decimal("-3.00"),
            is_new=True,
            is_full=False,
            overrides="{}",
            settings_version=0,
            rules_number=number,
            has_late_offsets=False,
        ),
    ]
    assert sorted(actions, key=lambda action: action.seq) == [
        StoredAction(
            user_id=7,
            seq=1,
            type="deposit",
            amount=Decimal("42.50"),
            time=10,
            event_id=None,
            alert_codes=None,
            ordinal=1,
            running_total=Decimal("42.50"),
        ),
        StoredAction(
            user_id=7,
            seq=2,
            type="withdraw",
            amount=Decimal("150.00"),
            time=20,
            event_id="mine",
            alert_codes=[1100],
            ordinal=1,
            running_total=Decimal("150.00"),
        ),
    ]
