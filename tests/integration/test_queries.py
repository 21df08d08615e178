"""Statements that the engine does not use: ids for new users, actions and alerts page by page."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import product
from random import Random
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.event import listen
from sqlalchemy.orm import Session, sessionmaker

from database import actions, alert_lists, alerts, users
from database.alert_filters import AlertFilter, AlertPlace
from database.models import Alert, User
from database.session import make_read_engine, make_sessions
from rules.judging.engine import RuleEngine
from rules.policy import Policy
from rules.values import LAST_TIME
from tests.postgres import transaction
from tests.unit.rules.timeline import events
from tests.waiting import PATIENCE

Sessions = sessionmaker[Session]


def take(session: Session, *user_ids: int) -> None:
    """Make users with these ids."""
    for user_id in user_ids:
        assert users.create_user(session, user_id, name=None, total=Decimal(0), risk="normal")


# Ids for new users


def test_ids_count_up(sessions: Sessions) -> None:
    """The service gives out ids from 1."""
    with sessions() as session:
        assert [users.next_user_id(session) for _ in range(3)] == [1, 2, 3]


def test_taken_id_is_told(sessions: Sessions) -> None:
    """A user is not created if the id is taken, and the user who has it stays unchanged."""
    with sessions() as session:
        take(session, 1)
        assert not users.create_user(session, 1, name="another", total=Decimal(5), risk="high")
        user = users.get_user(session, 1)
        assert user is not None
        assert (user.name, user.total, user.risk) == (None, Decimal(0), "normal")


@pytest.mark.parametrize(
    ("taken", "free"),
    [([1], 2), ([1, 2, 3], 4), ([1, 2, 4, 5], 3), ([1, 3], 2), (list(range(1, 201)), 201)],
    ids=["one", "a run", "a gap after the run", "others later", "a long run"],
)
def test_skip_taken_ids(taken: list[int], free: int, sessions: Sessions) -> None:
    """After an id proved to be taken, the next one comes after the whole run of taken ids."""
    with sessions() as session:
        take(session, *taken)
        first = users.next_user_id(session)
        users.skip_taken_ids(session, first)
        assert (first, users.next_user_id(session)) == (1, free)


def test_skip_a_run_in_the_middle(sessions: Sessions) -> None:
    """A run of taken ids that the count reaches later is skipped as well."""
    with sessions() as session:
        take(session, 3, 4, 5, 9)
        given = [users.next_user_id(session) for _ in range(3)]
        users.skip_taken_ids(session, given[-1])
        assert (given, users.next_user_id(session)) == ([1, 2, 3], 6)


def test_skip_taken_ids_beside_the_largest_id(sessions: Sessions) -> None:
    """A user with the largest possible id does not get in the way of new ids."""
    with sessions() as session:
        take(session, 1, 2, 2**63 - 1)
        users.skip_taken_ids(session, users.next_user_id(session))
        assert users.next_user_id(session) == 3


# A user's actions

# In order of arrival; both types, equal times, and times out of order.
ACTIONS = "d 1 @10, w 1 @10, d 1 @10, w 1 @5, d 1 @20, w 1 @20, d 1 @0, w 1 @15, d 1 @10, w 1 @10"
NEWEST_FIRST = [6, 5, 8, 10, 9, 3, 2, 1, 4, 7]


@pytest.fixture
def session(sessions: Sessions) -> Iterator[Session]:
    """A session on a database where user 1 has ACTIONS and user 2 others."""
    engine = RuleEngine(Policy(()))
    with sessions() as session:
        engine.process(session, events(1, ACTIONS))
        engine.process(session, events(2, "d 1 @10, w 1 @12"))
        yield session


def page(
    session: Session,
    limit: int = 50,
    start: int | None = None,
    end: int | None = None,
    before: tuple[int, int] | None = None,
) -> list[int]:
    """The `seq` of the actions on one page of user 1."""
    return [
        action.seq for action in actions.page_of_actions(session, 1, limit=limit, start=start, end=end, before=before)
    ]


def test_newest_first(session: Session) -> None:
    """Actions of both types come mixed, newest time first, equal times by latest arrival."""
    assert page(session) == NEWEST_FIRST


@pytest.mark.parametrize("limit", range(1, 12))
def test_pages_have_no_duplicates_and_no_gaps(limit: int, session: Session) -> None:
    """Continuing after the last action of each page yields every action once, in order, at any page length."""
    places = {
        action.seq: (action.time, action.seq)
        for action in actions.page_of_actions(session, 1, limit=50, start=None, end=None, before=None)
    }
    pages = [page(session, limit)]
    while pages[-1] and len(pages) <= len(NEWEST_FIRST):
        pages.append(page(session, limit, before=places[pages[-1][-1]]))
    assert [seq for found in pages for seq in found] == NEWEST_FIRST
    assert {len(found) for found in pages[:-2]} <= {limit}


BOUNDS = {
    "from a time, included": ({"start": 15}, [6, 5, 8]),
    "to a time, included": ({"end": 10}, [10, 9, 3, 2, 1, 4, 7]),
    "both": ({"start": 5, "end": 15}, [8, 10, 9, 3, 2, 1, 4]),
    "one moment": ({"start": 10, "end": 10}, [10, 9, 3, 2, 1]),
    "from zero": ({"start": 0, "end": 0}, [7]),
    "to the last time": ({"start": 20, "end": LAST_TIME}, [6, 5]),
    "nothing in between": ({"start": 16, "end": 19}, []),
    "turned around": ({"start": 15, "end": 5}, []),
    "bounds and a page": ({"start": 10, "end": 10, "limit": 2, "before": (10, 9)}, [3, 2]),
    "after a place without an action": ({"before": (12, 99), "limit": 1}, [10]),
    "after the oldest": ({"before": (0, 7)}, []),
}


@pytest.mark.parametrize(("query", "expected"), BOUNDS.values(), ids=BOUNDS)
def test_bounds(query: dict[str, Any], expected: list[int], session: Session) -> None:
    """Bounds include the times they name, and apply together with the place to continue after."""
    assert page(session, **query) == expected


def test_no_actions(session: Session) -> None:
    """A user without actions, known or not, has an empty page."""
    assert list(actions.page_of_actions(session, 3, limit=50, start=None, end=None, before=None)) == []


# Where a page begins


@pytest.fixture
def reads(database_url: str) -> Iterator[Sessions]:
    """Sessions as the service makes them for reads: whatever the size of the tables, the plans are the same."""
    engine = make_read_engine(database_url, timeout=PATIENCE, connections=1)
    yield make_sessions(engine)
    engine.dispose()


BEHIND = (20, 7, 3, 30)
PLANS: dict[str, tuple[AlertFilter, AlertPlace | None, str | None]] = {
    "all alerts": (AlertFilter(), None, None),
    "from the top": (AlertFilter(start=10, end=20), None, "((time >= 10) AND (time <= 20))"),
    "after a place": (
        AlertFilter(start=10, end=LAST_TIME),
        BEHIND,
        "((time >= 10) AND (ROW(time, user_id, seq, code) < ROW(20, 7, 3, 30)))",
    ),
    "after a place above the end": (AlertFilter(start=10, end=19), BEHIND, "((time >= 10) AND (time <= 19))"),
    "of one user": (
        AlertFilter(user_id=7, end=20),
        BEHIND,
        "((ROW(user_id, shadow) >= ROW(7, false)) AND "
        "(ROW(user_id, shadow, time, seq, code) < ROW(7, false, 20, 3, 30)))",
    ),
}


@pytest.mark.parametrize(("wanted", "before", "condition"), PLANS.values(), ids=PLANS)
def test_a_page_of_alerts_begins_at_its_place(
    wanted: AlertFilter, before: AlertPlace | None, condition: str | None, reads: Sessions
) -> None:
    """A page is a stretch of an index with one upper bound: it is neither sorted nor walked to from the top."""
    with transaction(reads) as session:
        asked: list[Any] = []
        listen(session.get_bind(), "before_cursor_execute", lambda *call: asked.append(call[2:4]))
        alert_lists.page_of_alerts(session, wanted, 51, before)
        cursor = session.connection().connection.cursor()
        cursor.execute("EXPLAIN (COSTS OFF) " + asked[0][0], asked[0][1])
        plan = [line.strip() for (line,) in cursor.fetchall()]
    index = "ix_alerts_user_id_shadow_time_seq_code" if wanted.user_id else "ix_alerts_time_user_id_seq_code"
    at = plan.index(f"->  Index Scan Backward using {index} on alerts")
    assert [line for line in plan if line.startswith("Sort")] == []
    found = plan[at + 1].replace('"', "").replace("'", "").replace("::bigint", "")
    assert found == f"Index Cond: {condition}" if condition else not found.startswith("Index Cond")


# Looking for few among many

SPREAD = """
INSERT INTO users (user_id, risk, last_seq) VALUES (1, 'normal', 60), (2, 'high', 3);
INSERT INTO user_actions (user_id, seq, type, amount, time, alert_codes, rules_number, settings_version, ordinal,
    running_total)
SELECT 1, s, 'withdraw', 1, s / 2, '{}'::int[], 1, 0, s, s FROM generate_series(1, 60) AS s
UNION ALL SELECT 2, s, 'withdraw', 1, 10 * s, '{}'::int[], 1, 0, s, s FROM generate_series(1, 3) AS s;
INSERT INTO alerts (user_id, seq, code, time, status, outcome, late, superseded, shadow, evidence)
SELECT user_id, seq, code, time, CASE WHEN seq % 9 = 1 THEN 'closed' ELSE 'open' END,
    CASE WHEN seq % 9 = 1 THEN 'inconclusive' END, seq % 7 = 1, seq % 5 = 1, seq % 4 = 1, '{}'::jsonb
FROM user_actions CROSS JOIN (VALUES (30), (1100)) AS codes (code) WHERE code = 30 OR seq % 3 = 0
"""
CHOICES: dict[str, tuple[Any, ...]] = {
    "user_id": (None, 1, 2),
    "code": (None, 30, 1100, 7),
    "status": (None, "open", "closed", "acknowledged"),
    "risk": (None, "normal", "high", "low"),
    "late": (None, True, False),
    "superseded": (None, True, False),
    "shadow": (False, True),
}
COMBINATIONS = [dict(zip(CHOICES, values, strict=True)) for values in product(*CHOICES.values())]


@pytest.mark.parametrize("looked_at", [4, 1000])
def test_every_filter_finds_all(looked_at: int, reads: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few alerts a page looks at, all pages together have those that match, each once and in order."""
    monkeypatch.setattr(alert_lists, "LOOKED_AT", looked_at)
    with transaction(reads) as session:
        for statement in SPREAD.split(";"):
            session.execute(text(statement))
        every = session.execute(select(Alert, User.risk).join(User, User.user_id == Alert.user_id)).all()
        for wanted in Random(looked_at).sample(COMBINATIONS, 60):
            expected = sorted(
                (alert.time, alert.user_id, alert.seq, alert.code)
                for alert, risk in every
                if alert.shadow == wanted["shadow"] and wanted["risk"] in (None, risk)
                if all(wanted[name] in (None, getattr(alert, name)) for name in list(CHOICES)[:3] + list(CHOICES)[4:6])
            )
            assert whole_list(session, AlertFilter(**wanted, start=0, end=LAST_TIME)) == expected[::-1], wanted
            within = [place for place in expected if 5 <= place[0] <= 20]
            assert whole_list(session, AlertFilter(**wanted, start=5, end=20)) == within[::-1], wanted


def whole_list(session: Session, wanted: AlertFilter) -> list[AlertPlace]:
    """The places of all alerts on all pages of up to 3."""
    found: list[AlertPlace] = []
    before = None
    while True:
        page = alert_lists.page_of_alerts(session, wanted, 4, before)
        places = [(row.time, row.user_id, row.seq, row.code) for row in page.rows]
        found += places[:3]
        if len(places) < 4 and page.broke_off_at is None:
            return found
        before = places[2] if len(places) == 4 else page.broke_off_at


@pytest.mark.parametrize(
    "wanted",
    [
        {"user_id": 1, "code": 7},
        {"user_id": 1, "status": "closed"},
        {"user_id": 1, "shadow": True, "code": 7},
        {"risk": "low"},
        {"late": False, "risk": "low"},
        {"superseded": False, "status": "open", "code": 30, "risk": "low"},
        {"shadow": True, "status": "acknowledged"},
        {"code": 30, "status": "acknowledged"},
        {"code": 30, "late": True},
        {"queue": "all", "risk": "low"},
        {"queue": "urgent", "code": 7},
    ],
    ids=str,
)
def test_a_page_looks_at_few(wanted: dict[str, Any], reads: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read for a page does not grow with the alerts that do not match."""
    monkeypatch.setattr(alert_lists, "LOOKED_AT", 10)
    with transaction(reads) as session:
        for statement in SPREAD.split(";"):
            session.execute(text(statement))
        read = reads_of_alerts(session, lambda: alert_lists.page_of_alerts(session, AlertFilter(**wanted), 51, None))
    assert [node["Node Type"] for node in read] == ["Index Scan"]
    assert read[0]["Actual Rows"] + read[0].get("Rows Removed by Filter", 0) <= 10


def test_what_ever_fired_is_found_at_once(reads: Sessions) -> None:
    """The first alert of each rule is looked for, and none of the others; a rule that never fired costs as little."""
    with transaction(reads) as session:
        session.execute(text("INSERT INTO users (user_id, last_seq) VALUES (1, 3000)"))
        session.execute(text(MANY_OF_ONE_RULE))
        session.execute(text("ANALYZE alerts"))
        read = reads_of_alerts(session, lambda: alerts.codes_that_fired(session, [30, 1100, 7]))
        assert alerts.codes_that_fired(session, [30, 1100, 7]) == {30}
    assert sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in read) <= 3


MANY_OF_ONE_RULE = """
WITH stored AS (
    INSERT INTO user_actions (user_id, seq, type, amount, time, alert_codes, rules_number, settings_version, ordinal,
        running_total)
    SELECT 1, s, 'withdraw', 1, s, '{}'::int[], 1, 0, s, s FROM generate_series(1, 3000) AS s RETURNING *
)
INSERT INTO alerts (user_id, seq, code, time, evidence) SELECT user_id, seq, 30, time, '{}'::jsonb FROM stored
"""


def reads_of_alerts(session: Session, do: Callable[[], object]) -> list[Any]:
    """The parts of the plan of the first statement that `do` executes that read alerts, with what they have read."""
    asked: list[Any] = []
    listen(session.get_bind(), "before_cursor_execute", lambda *call: asked.append(call[2:4]))
    do()
    cursor = session.connection().connection.cursor()
    cursor.execute("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, FORMAT JSON) " + asked[0][0], asked[0][1])
    ((plan,),) = cursor.fetchall()

    def nodes(node: Any) -> Iterator[Any]:
        yield node
        for child in node.get("Plans", ()):
            yield from nodes(child)

    return [node for node in nodes(plan[0]["Plan"]) if node.get("Relation Name") == "alerts"]
