"""The command demo: what it fills an empty database with, that it is the same each time, and when it refuses."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import text

from app import create_app
from commands.demo_events import make_people
from commands.demo_fill import Filler
from config_loader import load_settings
from database.demo import other_data
from tests.conftest import ClientMaker
from tests.contract.helpers import an_event
from tests.postgres import Databases, Sessions, engine_on
from tests.service import PATIENT

# The newest Friday noon: so that people work on the same days whenever the tests run, and mutes have not ended.
_NOW = datetime.now(UTC) - timedelta(hours=12)
UNTIL = _NOW.replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=(_NOW.weekday() - 4) % 7)
# Without what the clock decides, and how PostgreSQL counts transactions.
SAME = {
    "users": "SELECT * FROM users ORDER BY user_id",
    "user_settings": "SELECT * FROM user_settings ORDER BY user_id, version",
    "user_actions": "SELECT to_jsonb(user_actions) - 'transaction_id' FROM user_actions ORDER BY user_id, seq",
    "alerts": "SELECT * FROM alerts ORDER BY user_id, seq, code",
    "alert_history": "SELECT * FROM alert_history ORDER BY user_id, seq, code, n",
    "rule_versions": "SELECT * FROM rule_versions ORDER BY number",
    "mutes": "SELECT * FROM mutes ORDER BY user_id, code",
    "views": "SELECT * FROM views ORDER BY view_id",
    "backtests": "SELECT request::text, result::text, created_at FROM backtests ORDER BY backtest_id",
    "log_entries": "SELECT to_jsonb(log_entries) FROM log_entries ORDER BY entry_id",
}


def fill(app: Flask, *options: str) -> Result:
    """Run the command for few users."""
    arguments = ["demo", "--users", "20", "--until", UNTIL.isoformat(), *options]
    return app.test_cli_runner().invoke(args=arguments)


def rows(url: str, statement: str) -> list[Any]:
    """What a statement finds in the database at `url`."""
    with engine_on(url) as engine, engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def app_on(url: str) -> Flask:
    """The application on the database at `url`."""
    return create_app(load_settings(None, **(PATIENT | {"database_url": url})))


@pytest.fixture(scope="module")
def filled(databases: Databases, template: str) -> Iterator[str]:
    """The URL of a database with demo data, which tests leave as it is."""
    with databases.new(template) as name:
        app = app_on(databases.url(name))
        result = fill(app)
        assert (result.exit_code, result.stderr) == (0, "")
        yield databases.url(name)
        app.extensions["transaction-alerts"].dispose()


def test_every_page_has_something_to_show(filled: str) -> None:
    """Open alerts of all ages, late, superseded and shadow ones; outcomes, claims, versions, a backtest."""
    (found,) = rows(
        filled,
        f"""
        WITH aged AS (SELECT *, '{UNTIL.isoformat()}' - created_at AS age FROM alerts)
        SELECT count(*) FILTER (WHERE status = 'open' AND age < '2 days'),
            count(*) FILTER (WHERE status = 'open' AND age BETWEEN '3 days' AND '10 days'),
            count(*) FILTER (WHERE status = 'open' AND age BETWEEN '11 days' AND '30 days'),
            count(*) FILTER (WHERE status = 'open' AND age > '30 days'),
            count(*) FILTER (WHERE status = 'acknowledged'),
            count(*) FILTER (WHERE outcome = 'true_positive'),
            count(*) FILTER (WHERE outcome = 'false_positive'),
            count(*) FILTER (WHERE outcome = 'inconclusive'),
            count(*) FILTER (WHERE superseded), count(*) FILTER (WHERE late), count(*) FILTER (WHERE shadow),
            count(*) FILTER (WHERE high_risk AND status = 'open'),
            count(*) FILTER (WHERE claim_lapses_at > '{UNTIL.isoformat()}'),
            (SELECT count(*) FROM alert_history WHERE what = 'note'),
            (SELECT count(*) FROM mutes WHERE until > now()),
            (SELECT count(*) FROM views WHERE shared), (SELECT count(*) FROM views WHERE NOT shared),
            (SELECT count(*) FROM user_settings WHERE risk = 'high' AND note IS NOT NULL),
            (SELECT count(*) FROM user_settings WHERE overrides <> '{{}}'),
            (SELECT count(*) FROM backtests WHERE status = 'done' AND result -> 'sweep' IS NOT NULL)
        FROM aged
        """,
    )
    assert all(found), found
    versions = rows(filled, "SELECT code, count(*) FROM rule_versions WHERE author IS NOT NULL GROUP BY code")
    assert dict(versions)[300] >= 1
    assert dict(versions)[660] >= 2
    people = rows(filled, "SELECT DISTINCT who FROM alert_history ORDER BY who")
    assert people == [("Ada",), ("Grace",), ("Linus",)]
    kinds = {kind for (kind,) in rows(filled, "SELECT DISTINCT kind FROM log_entries")}
    assert kinds == {"rule", "user", "mute", "view", "backtest", "export", "sign-in"}


def test_moments_are_those_of_eight_weeks(filled: str) -> None:
    """Events come after their time, alerts with what raised them, and work after that, in office hours."""
    assert rows(filled, "SELECT count(*) FROM user_actions WHERE created_at <= to_timestamp(time)") == [(0,)]
    assert rows(
        filled,
        """
        SELECT count(*) FROM user_actions AS a JOIN user_actions AS b USING (user_id)
        WHERE a.seq < b.seq AND a.created_at > b.created_at
        """,
    ) == [(0,)]
    own = "SELECT count(*) FROM alerts JOIN user_actions AS a USING (user_id, seq) WHERE late = "
    assert rows(filled, f"{own} false AND alerts.created_at <> a.created_at") == [(0,)]
    assert rows(filled, f"{own} true AND alerts.created_at <= a.created_at") == [(0,)]
    assert rows(filled, "SELECT count(*) FROM alerts WHERE touched_at < created_at") == [(0,)]
    worked = "FROM alert_history AS h JOIN alerts AS a USING (user_id, seq, code)"
    assert rows(filled, f"SELECT count(*) {worked} WHERE h.at <= a.created_at") == [(0,)]
    assert rows(
        filled,
        f"SELECT count(*) {worked} WHERE (extract(isodow FROM h.at AT TIME ZONE 'UTC') > 5 OR h.at > a.touched_at)",
    ) == [(0,)]
    assert rows(filled, f"SELECT count(*) {worked} WHERE h.at >= '{UNTIL.isoformat()}'") == [(0,)]
    (first, last) = rows(filled, "SELECT min(at), max(at) FROM log_entries")[0]
    assert UNTIL - timedelta(days=56) < first < UNTIL - timedelta(days=50)
    assert UNTIL - timedelta(days=5) < last < UNTIL


def test_figures_are_counted(filled: str) -> None:
    """The overview has its figures at once: all events and alerts of all days, and which are superseded."""
    counted = dict(rows(filled, "SELECT what, sum(number) FROM daily_figures GROUP BY what"))
    (alerts,) = rows(
        filled,
        """
        SELECT count(*) FILTER (WHERE NOT shadow), count(*) FILTER (WHERE shadow),
            count(*) FILTER (WHERE superseded AND NOT shadow) FROM alerts
        """,
    )
    assert (counted["alert"], counted["shadow"], counted["superseded"]) == alerts
    (events,) = rows(filled, "SELECT count(*) FROM user_actions")[0]
    assert counted["deposit"] + counted["withdraw"] == events


def test_nothing_differs(filled: str) -> None:
    """Everything follows from the events, late ones included."""
    app = app_on(filled)
    result = app.test_cli_runner().invoke(args=["verify", "--processes", "1"])
    app.extensions["transaction-alerts"].dispose()
    assert result.exit_code == 0, result.output


def test_it_is_the_same_each_time(filled: str, make_client: ClientMaker, database_url: str) -> None:
    """The same moment gives the same data."""
    result = fill(make_client().application)
    assert (result.exit_code, result.stderr) == (0, "")
    for table, statement in SAME.items():
        assert rows(database_url, statement) == rows(filled, statement), table


def test_it_refuses_a_database_with_other_data(make_client: ClientMaker, database_url: str) -> None:
    """Nothing is mixed with what somebody else has stored."""
    client = make_client()
    assert client.post("/event", json=an_event()).status_code == 200
    result = fill(client.application)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "The database must be empty, but it holds users." in result.stderr
    assert rows(database_url, "SELECT count(*) FROM user_actions") == [(1,)]


def test_two_at_once(make_client: ClientMaker, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both have seen an empty database, the second one stores nothing."""
    client = make_client()
    [first, *_] = make_people(20, int(UNTIL.timestamp()))
    assert client.post("/event", json=an_event(user_id=first.user_id)).status_code == 200
    monkeypatch.setattr("commands.demo.other_data", lambda _: [])
    result = fill(client.application)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "does another demo run?" in result.stderr
    assert rows(database_url, "SELECT count(*) FROM users") == [(1,)]


def test_it_is_stopped(make_client: ClientMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl+C it says what to do with the part that is stored."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Filler, "fill", interrupted)
    result = fill(make_client().application)
    assert result.exit_code == 130
    assert result.stderr == (
        "Error: Stopped. An interrupted demo leaves part of its data; docs/backup.md says how to start afresh.\n"
    )


def test_keys_are_no_other_data(make_client: ClientMaker, sessions: Sessions) -> None:
    """Who may call can be settled before."""
    made = make_client().application.test_cli_runner().invoke(args=["keys", "create", "ada", "--scope", "read"])
    assert made.exit_code == 0
    with sessions() as session:
        assert other_data(session) == []


def test_it_refuses_rules_that_somebody_has_set(make_client: ClientMaker) -> None:
    """They would not be those of the story."""
    client = make_client()
    assert client.put("/rules/500", json={"status": "shadow"}).status_code == 200
    result = fill(client.application)
    assert result.exit_code == 2
    assert "it holds rules that somebody has set." in result.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"out_of_order": "reject"}, "OUT_OF_ORDER must be accept"),
        ({"overdraft": "reject"}, "OVERDRAFT must be allow"),
        ({"late_limit": 5}, "LATE_LIMIT must be at least"),
        ({"rules": (1100,)}, "RULES must be 1100,30,300,123"),
    ],
)
def test_settings_that_would_refuse_its_events(
    settings: dict[str, Any], said: str, make_client: ClientMaker, database_url: str
) -> None:
    """It says what to change before it stores anything."""
    result = fill(make_client(**settings).application)
    assert result.exit_code == 2
    assert said in result.stderr
    assert rows(database_url, "SELECT count(*) FROM users") == [(0,)]


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("2999-01-01T00:00:00Z", "must not be in the future"),
        ("1970-01-02T00:00:00Z", "must not be before 1971"),
        ("2026-01-31T12:00:00", "needs a zone"),
        ("yesterday", "is not a moment"),
    ],
)
def test_a_bad_moment(until: str, said: str, make_client: ClientMaker) -> None:
    """The end of the eight weeks is a moment in the past, with its zone."""
    result = make_client().application.test_cli_runner().invoke(args=["demo", "--until", until])
    assert result.exit_code == 2
    assert said in result.stderr
