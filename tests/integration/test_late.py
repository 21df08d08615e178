"""Late events: which later actions are judged again, by what, and what that does to alerts."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from database import judging_forms, late_events
from rules.model import Verdict
from rules.registry import REGISTRY
from rules.values import LAST_TIME
from tests.integration.test_engine import ALL_RULES, DEFAULT_RULES, create_user, post, process, rows, statements
from tests.postgres import transaction
from tests.unit.rules.timeline import events

pytestmark = pytest.mark.forms

Sessions = sessionmaker[Session]


class State(NamedTuple):
    """A stored alert as the tests look at it."""

    seq: int
    code: int
    late: bool
    superseded: bool


def alerts(sessions: Sessions, user_id: int = 1) -> list[State]:
    """The user's stored alerts."""
    found = rows(
        sessions, "SELECT seq, code, late, superseded FROM alerts WHERE user_id = :u ORDER BY seq, code", u=user_id
    )
    return [State(*row) for row in found]


def post_singly(sessions: Sessions, user_id: int, notation: str, rules: Sequence[Any]) -> list[Any]:
    """The codes of each noted event, each posted by itself."""
    return [answer for part in notation.split(",") for answer in post(sessions, user_id, part, rules=rules)]


def forget_alerts(sessions: Sessions) -> None:
    """Remove all alerts: those that come back show which actions were judged again."""
    with transaction(sessions) as session:
        session.execute(text("DELETE FROM alerts"))


# What a late event changes


class Case(NamedTuple):
    """Actions that are stored, a late one, and the `seq` of those that get a late alert or lose theirs through it."""

    stored: str
    late: str
    added: Sequence[int] = ()
    superseded: Sequence[int] = ()


CASES = {
    1100: {
        "looks at nothing but the action itself": Case("w 101 @10, w 100 @20", "w 500 @5"),
    },
    30: {
        "a withdrawal before two": Case("w 1 @10, w 1 @20", "w 1 @5", added=[2]),
        "a withdrawal between two": Case("w 1 @10, w 1 @20", "w 1 @15", added=[2]),
        "a withdrawal before one": Case("w 1 @10", "w 1 @5"),
        "two withdrawals fire, of four": Case("w 1 @1, w 1 @10, w 1 @20, d 1 @30", "w 1 @5", added=[2]),
        "a withdrawal before a deposit": Case("d 1 @10, w 1 @20, w 1 @30", "w 1 @5"),
        "a deposit before three": Case("w 1 @10, w 1 @20, w 1 @30", "d 1 @5"),
        "a deposit between the first two": Case("w 1 @10, w 1 @20, w 1 @30", "d 1 @15", superseded=[3]),
        "a deposit between the last two": Case("w 1 @10, w 1 @20, w 1 @30", "d 1 @25", superseded=[3]),
        "a deposit among five": Case("w 1 @10, w 1 @20, w 1 @30, w 1 @40, w 1 @50", "d 1 @25", superseded=[3, 4]),
        "a deposit far before the next action": Case("w 1 @0, w 1 @1, w 1 @1000000", "d 1 @2", superseded=[3]),
        "a deposit after a crowd at its own time": Case(
            "w 1 @10, w 1 @10, w 1 @10, w 1 @10, w 1 @1000, w 1 @2000", "d 1 @10", superseded=[5, 6]
        ),
        "stored actions out of order": Case("w 1 @30, w 1 @10, w 1 @20", "d 1 @15", superseded=[1]),
    },
    300: {
        "a smaller deposit before two": Case("d 2 @10, d 3 @20", "d 1 @5", added=[2]),
        "an equal deposit before two": Case("d 2 @10, d 3 @20", "d 2 @5"),
        "a deposit of an amount between two": Case("d 1 @10, d 3 @20", "d 2 @15", added=[2]),
        "a larger deposit between two": Case("d 1 @10, d 3 @20", "d 4 @15"),
        "another deposit on the rise": Case("d 1 @10, d 2 @20, d 3 @30", "d 1.5 @15", added=[2]),
        "a larger deposit before the last two": Case("d 1 @10, d 2 @20, d 3 @30", "d 9 @15", superseded=[3]),
        "a larger deposit before the last": Case("d 1 @10, d 2 @20, d 3 @30", "d 9 @25", superseded=[3]),
        "a new rise after a fall": Case("d 9 @10, d 2 @20, d 5 @30", "d 1 @15", added=[3]),
        "withdrawals on the way do not count": Case(
            "d 1 @10, w 1 @20, w 1 @21, w 1 @22, w 1 @23, d 3 @30", "d 2 @15", added=[6]
        ),
        "a late withdrawal": Case("d 1 @10, d 2 @20, d 3 @30", "w 1 @25"),
    },
    123: {
        "a deposit before": Case("d 150 @20", "d 100 @10", added=[1]),
        "a deposit before several": Case("d 150 @20, d 1 @25, d 1 @30", "d 100 @10", added=[1, 2, 3]),
        "a deposit between": Case("d 101 @10, d 99 @20, d 0.01 @21", "d 1 @15", added=[2]),
        "sum at the threshold": Case("d 150 @20", "d 50 @10"),
        "exactly 30 s ahead": Case("d 150 @40", "d 100 @10", added=[1]),
        "31 s ahead": Case("d 150 @41", "d 100 @10"),
        "some within 30 s, some beyond": Case("d 150 @39, d 1 @40, d 1 @41", "d 100 @10", added=[1, 2]),
        "one that fires already": Case("d 201 @20", "d 100 @10"),
        "a late withdrawal": Case("d 150 @20", "w 100 @10"),
        "a withdrawal is not judged": Case("w 150 @20", "d 300 @10"),
    },
    500: {
        "a sixth action before": Case("d 1 @60, w 1 @60, d 1 @60, w 1 @60, d 1 @60", "w 1 @0", added=[5]),
        "a sixth action between": Case("d 1 @1, d 1 @30, d 1 @30, w 1 @60, w 1 @61", "w 1 @40", added=[5]),
        "only five with it": Case("d 1 @0, d 1 @30, d 1 @30, w 1 @60, w 1 @61", "w 1 @1"),
        "exactly 60 s ahead, both types": Case("d 1 @55, d 1 @56, d 1 @57, d 1 @58, w 1 @70", "d 1 @10", added=[5]),
        "61 s ahead": Case("d 1 @55, d 1 @56, d 1 @57, d 1 @58, w 1 @71", "d 1 @10"),
        "one that fires already": Case("d 1 @9, d 1 @9, d 1 @9, d 1 @9, d 1 @9, d 1 @9", "w 1 @8", added=[5]),
    },
}


@pytest.mark.parametrize("all_rules", [False, True], ids=["alone", "among all rules"])
@pytest.mark.parametrize(
    ("code", "case"),
    [(code, case) for code, cases in CASES.items() for case in cases.values()],
    ids=[f"{code} {name}" for code, cases in CASES.items() for name in cases],
)
def test_what_a_late_event_changes(code: int, case: Case, all_rules: bool, sessions: Sessions) -> None:
    """A late event adds late alerts to, and supersedes alerts of, exactly the actions whose past it changes."""
    active = ALL_RULES if all_rules else (REGISTRY[code],)
    post_singly(sessions, 1, case.stored, active)
    newest = case.stored.count(",") + 1
    before = {alert.seq for alert in alerts(sessions) if alert.code == code and not alert.superseded}
    post(sessions, 1, case.late, rules=active)
    found = [alert for alert in alerts(sessions) if alert.code == code and alert.seq <= newest]
    standing = {alert.seq for alert in found if not alert.superseded}
    assert sorted(standing - before) == list(case.added)
    assert sorted(before - standing) == list(case.superseded)


def test_how_late_and_superseded_are_stored(sessions: Sessions) -> None:
    """An alert that was answered is never late; one that a late event adds is; the two marks are separate."""
    assert post_singly(sessions, 1, "w 1 @10, w 1 @20, w 1 @30, w 1 @35", DEFAULT_RULES) == [[], [], [30], [30]]
    assert post(sessions, 1, "w 1 @5") == [[]]
    assert post(sessions, 1, "d 1 @25") == [[]]
    assert alerts(sessions) == [
        State(2, 30, late=True, superseded=False),
        State(3, 30, late=False, superseded=True),
        State(4, 30, late=False, superseded=True),
    ]


# How far a late event reaches


def test_a_count_of_three_reaches_two_ahead(sessions: Sessions) -> None:
    """A late action makes the next two be judged again, not the third; all types count if the rule takes all."""
    post(sessions, 1, "w 1 @10, w 1 @20, w 1 @30, w 1 @40, w 1 @50", rules=ALL_RULES)
    forget_alerts(sessions)
    post(sessions, 1, "w 1 @15", rules=ALL_RULES)
    assert [(alert.seq, alert.code) for alert in alerts(sessions) if alert.code == 30] == [(2, 30), (3, 30)]


def test_a_count_of_three_deposits_reaches_two_deposits_ahead(sessions: Sessions) -> None:
    """If only deposits count, the next two deposits are judged again, however many withdrawals are in between."""
    post(sessions, 1, "d 1 @10, w 1 @11, w 1 @12, d 3 @20, w 1 @21, w 1 @22, d 4 @30, d 5 @40, d 6 @50")
    forget_alerts(sessions)
    post(sessions, 1, "d 2 @15")
    assert [alert.seq for alert in alerts(sessions) if alert.code == 300] == [4, 7]


@pytest.mark.parametrize(("code", "seconds"), [(123, 30), (500, 60)])
def test_a_window_reaches_its_length_ahead(code: int, seconds: int, sessions: Sessions) -> None:
    """Actions up to exactly the window's length ahead are judged again, and none a second later."""
    stored = f"d 300 @100, d 300 @101, d 300 @{100 + seconds}, d 300 @{101 + seconds}, d 300 @{102 + seconds}"
    post(sessions, 1, ", ".join([stored] * 6), rules=(REGISTRY[code],))
    late_at = 101
    reached = rows(
        sessions,
        "SELECT seq FROM alerts JOIN user_actions AS a USING (user_id, seq) WHERE a.time > :t AND a.time <= :e",
        t=late_at,
        e=late_at + seconds,
    )
    forget_alerts(sessions)
    post(sessions, 1, f"d 300 @{late_at}", rules=(REGISTRY[code],))
    again = {alert.seq for alert in alerts(sessions) if alert.late}
    assert again == {seq for (seq,) in reached}
    assert again


def test_equal_times_are_not_late(sessions: Sessions) -> None:
    """An event at the time of the user's newest is in order: it changes no alert and reads nothing around it."""
    post(sessions, 1, "w 1 @10, w 1 @20, w 1 @20")
    before = alerts(sessions)
    with statements(sessions) as executed:
        assert post(sessions, 1, "d 1 @20") == [[]]
    assert alerts(sessions) == before == [State(3, 30, late=False, superseded=False)]
    assert len(executed) == 2


def test_equal_times_in_the_past(sessions: Sessions) -> None:
    """A late event comes after those of its own time: they are left alone, and later ones are judged again."""
    post(sessions, 1, "w 1 @10, w 1 @20, w 1 @20, w 1 @30")
    assert post(sessions, 1, "d 1 @20") == [[]]
    assert alerts(sessions) == [
        State(3, 30, late=False, superseded=False),
        State(4, 30, late=False, superseded=True),
    ]


def test_other_users_are_left_alone(sessions: Sessions) -> None:
    """A late event changes nothing for other users with the same actions, even in the same batch."""
    for user_id in (1, 2, 3):
        post(sessions, user_id, "w 1 @10, w 1 @20, w 1 @30, d 150 @40")
    before = alerts(sessions, 2)
    process(sessions, [*events(1, "d 100 @25"), *events(3, "d 1 @50")])
    assert alerts(sessions, 1) != before
    assert alerts(sessions, 2) == alerts(sessions, 3) == before


def test_beside_the_last_time(sessions: Sessions) -> None:
    """Late events next to the last possible time are placed and reach ahead like any other."""
    post(sessions, 1, f"d 150 @{LAST_TIME}", rules=ALL_RULES)
    assert post(sessions, 1, f"d 51 @{LAST_TIME - 31}, d 50 @{LAST_TIME - 30}", rules=ALL_RULES) == [[], []]
    assert alerts(sessions) == []
    assert post(sessions, 1, f"d 0.01 @{LAST_TIME - 1}", rules=ALL_RULES) == [[]]
    assert alerts(sessions) == [State(1, 123, late=True, superseded=False)]


def test_beside_time_zero(sessions: Sessions) -> None:
    """A late event at time 0 reaches ahead as far as any other."""
    post(sessions, 1, "d 150 @30, d 51 @31", rules=ALL_RULES)
    forget_alerts(sessions)
    post(sessions, 1, "d 100 @0", rules=ALL_RULES)
    assert alerts(sessions) == [State(1, 123, late=True, superseded=False)]


# Again and again


def stored_alert(sessions: Sessions, seq: int, code: int) -> tuple[Any, ...]:
    """All columns of an alert of user 1 but the moment it was touched last."""
    query = "SELECT to_jsonb(alerts) - 'touched_at' FROM alerts WHERE (user_id, seq, code) = (1, :s, :c)"
    (found,) = rows(sessions, query, s=seq, c=code)
    return found


def test_superseded_and_standing_again(sessions: Sessions) -> None:
    """An alert that holds again after a second late event is the same row with the same evidence."""
    post(sessions, 1, "d 1 @10, d 2 @20, d 3 @30")
    first = stored_alert(sessions, 3, 300)
    post(sessions, 1, "d 2 @25")
    assert alerts(sessions) == [State(3, 300, late=False, superseded=True)]
    post(sessions, 1, "d 2.5 @27")
    assert alerts(sessions) == [State(3, 300, late=False, superseded=False)]
    assert stored_alert(sessions, 3, 300) == first


def test_a_late_alert_superseded_and_standing_again(sessions: Sessions) -> None:
    """A late alert can be superseded and hold again too, and stays late."""
    post(sessions, 1, "d 1 @10, d 3 @30")
    states = []
    for late in ("d 2 @20", "d 2 @25", "d 2.5 @27"):
        post(sessions, 1, late)
        states.append(alerts(sessions))
    assert states == [
        [State(2, 300, late=True, superseded=False)],
        [State(2, 300, late=True, superseded=True)],
        [State(2, 300, late=True, superseded=False)],
    ]


def test_late_events_that_undo_each_other_in_one_batch(sessions: Sessions) -> None:
    """A batch after which an alert holds as before leaves it as it was."""
    post(sessions, 1, "d 1 @10, d 2 @20, d 3 @30")
    first = stored_alert(sessions, 3, 300)
    post(sessions, 1, "d 2 @25, d 2.5 @27")
    assert stored_alert(sessions, 3, 300) == first


def test_late_events_reach_late_events(sessions: Sessions) -> None:
    """A late event is itself judged again when a still older one arrives."""
    assert [post(sessions, 1, f"w 1 @{time}") for time in (40, 30, 20, 10)] == [[[]]] * 4
    assert alerts(sessions) == [
        State(1, 30, late=True, superseded=False),
        State(2, 30, late=True, superseded=False),
    ]


def test_late_within_one_batch(sessions: Sessions) -> None:
    """Within a batch each event is answered as it arrived, and its alerts end as the whole batch leaves them."""
    assert post(sessions, 1, "w 1 @10, w 1 @20, w 1 @30, d 1 @25, d 150 @50, d 100 @40") == [[], [], [30], [], [], []]
    assert alerts(sessions) == [
        State(3, 30, late=False, superseded=True),
        State(5, 123, late=True, superseded=False),
        State(5, 300, late=True, superseded=False),
    ]


# Judged by the first settings


def test_rules_that_were_off_stay_off(sessions: Sessions) -> None:
    """An action that was judged without a rule gets no alert of it, though the rule is active now."""
    post(sessions, 1, "w 1 @10, w 1 @20", rules=(REGISTRY[1100],))
    post(sessions, 1, "w 1 @30", rules=ALL_RULES)
    forget_alerts(sessions)
    post(sessions, 1, "w 1 @5", rules=ALL_RULES)
    assert alerts(sessions) == []
    post(sessions, 1, "w 1 @25", rules=ALL_RULES)
    assert [alert for alert in alerts(sessions) if alert.late] == [State(3, 30, late=True, superseded=False)]


def test_rules_that_were_on_stay_on(sessions: Sessions) -> None:
    """An action that was judged by a rule gains and loses alerts of it, though the rule is off now."""
    post(sessions, 1, "w 1 @10, w 1 @20, w 1 @30", rules=ALL_RULES)
    post(sessions, 2, "w 1 @10, w 1 @20, d 150 @30", rules=ALL_RULES)
    process(sessions, [*events(1, "d 1 @25"), *events(2, "w 1 @15, d 100 @25")], rules=())
    assert alerts(sessions, 1) == [State(3, 30, late=False, superseded=True)]
    assert alerts(sessions, 2) == [
        State(2, 30, late=True, superseded=False),
        State(3, 123, late=True, superseded=False),
    ]


def set_risk(sessions: Sessions, risk: str) -> None:
    """Give user 1 another rating."""
    with transaction(sessions) as session:
        session.execute(text("UPDATE users SET risk = :risk WHERE user_id = 1"), {"risk": risk})


@pytest.mark.parametrize(
    ("first", "now", "late", "expected"),
    [
        ("low", "high", "d 100 @10", []),
        ("low", "high", "d 100.01 @10", [State(1, 123, late=True, superseded=False)]),
        ("high", "low", "d 100 @10", [State(1, 123, late=False, superseded=False)]),
        ("normal", "high", "d 1 @0", []),
    ],
)
def test_the_first_rating_holds(first: str, now: str, late: str, expected: list[State], sessions: Sessions) -> None:
    """An action is judged again by the rating that its user had when it came, not by today's."""
    create_user(sessions, 1, risk=first)
    post(sessions, 1, {"low": "d 300 @20", "high": "d 100.01 @20", "normal": "d 200 @31"}[first])
    set_risk(sessions, now)
    post(sessions, 1, late)
    assert [alert for alert in alerts(sessions) if alert.seq == 1] == expected


def test_evidence_of_a_late_alert_tells_the_first_rating(sessions: Sessions) -> None:
    """A late alert's evidence names the threshold that it was judged by, and what was measured with the late event."""
    create_user(sessions, 1, risk="low")
    post(sessions, 1, "d 300 @20")
    set_risk(sessions, "high")
    assert post(sessions, 1, "d 100.01 @10") == [[123]]
    found = rows(sessions, "SELECT seq, evidence FROM alerts ORDER BY seq")
    assert found == [
        (
            1,
            {
                "rule_version": 1,
                "measured": "400.01",
                "parameters": {"threshold": "400.00", "window": 30},
                "origin": {"threshold": "risk", "window": "default"},
                "actions": [2, 1],
                "sentence": "Deposits of 400.01 between 10 and 20 are over 400.00 in 30 s.",
            },
        ),
        (
            2,
            {
                "rule_version": 1,
                "measured": "100.01",
                "parameters": {"threshold": "100.00", "window": 30},
                "origin": {"threshold": "risk", "window": "default"},
                "actions": [2],
                "sentence": "Deposits of 100.01 between 10 and 10 are over 100.00 in 30 s.",
            },
        ),
    ]


# What never changes


def test_answers_stay(sessions: Sessions) -> None:
    """Repair keeps the answered codes: a replay repeats the first answer of actions that gained or lost alerts."""
    post(sessions, 1, "w 1 @10 #a, w 1 @20 #b, w 1 @30 #c, d 150 @50 #d")
    post(sessions, 1, "w 1 @5, d 1 @25, d 100 @40")
    assert alerts(sessions) == [
        State(2, 30, late=True, superseded=False),
        State(3, 30, late=False, superseded=True),
        State(4, 123, late=True, superseded=False),
        State(4, 300, late=True, superseded=False),
    ]
    stored = rows(sessions, "SELECT alert_codes FROM user_actions ORDER BY seq")
    assert stored == [([],), ([],), ([30],), ([],), ([],), ([],), ([],)]
    again = process(sessions, events(1, "w 1 @10 #a, w 1 @20 #b, w 1 @30 #c, d 150 @50 #d"))
    assert again == [Verdict(1, codes, replayed=True) for codes in ((), (), (30,), ())]


def test_kept_alerts_keep_their_evidence(sessions: Sessions) -> None:
    """An alert that holds before and after a late event stays as it was stored, though more would be measured now."""
    post(sessions, 1, "d 150 @20, d 100 @30")
    first = stored_alert(sessions, 2, 123)
    post(sessions, 1, "d 40 @10")
    assert alerts(sessions) == [State(2, 123, late=False, superseded=False)]
    assert stored_alert(sessions, 2, 123) == first


def test_superseded_alerts_keep_their_evidence(sessions: Sessions) -> None:
    """An alert that no longer holds changes nothing but its mark, and when it was touched last."""
    post(sessions, 1, "w 1 @10, w 1 @20, w 1 @30")
    (before,) = rows(sessions, "SELECT to_jsonb(alerts) FROM alerts")
    post(sessions, 1, "d 1 @25")
    (after,) = rows(sessions, "SELECT to_jsonb(alerts) FROM alerts")
    assert after[0] == before[0] | {"superseded": True, "touched_at": after[0]["touched_at"]}
    assert after[0]["touched_at"] > before[0]["touched_at"]


# What it costs


def test_statements_with_late_events_do_not_grow(sessions: Sessions) -> None:
    """300 late events of 30 users, with alerts added and superseded, take as many statements as two do."""
    history = ", ".join(f"w 1 @{time}, d 60 @{time + 1}, w 1 @{time + 2}" for time in range(100, 200, 10))
    for user_id in range(1, 32):
        post(sessions, user_id, f"{history}, w 1 @300, w 1 @301, w 1 @302", rules=ALL_RULES)
    with statements(sessions) as for_two:
        process(sessions, events(31, "w 101 @295, d 90 @300"), ALL_RULES)
    many = [
        event for user_id in range(1, 31) for time in range(90, 190, 10) for event in events(user_id, f"w 1 @{time}")
    ]
    many += [event for user_id in range(1, 31) for event in events(user_id, "d 90 @300")]
    with statements(sessions) as for_many:
        process(sessions, many, ALL_RULES)
    assert for_many == for_two
    assert len(for_two) == 8
    marks = rows(sessions, "SELECT count(*) FILTER (WHERE late), count(*) FILTER (WHERE superseded) FROM alerts")
    assert min(marks[0]) >= 30


def test_a_late_event_reads_no_more_than_it_needs(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's far past and far future are not read: a late event among a thousand reads its neighbours."""
    post(sessions, 1, ", ".join(f"w 1 @{time * 100}" for time in range(1000)), rules=())
    post(sessions, 1, "w 1 @100000", rules=ALL_RULES)
    read: dict[str, set[int]] = {}

    def recording(module: ModuleType, name: str) -> Any:
        original = getattr(module, name)

        def call(*asked: Any, **more: Any) -> Any:
            found = list(original(*asked, **more))
            read[name] = {one.time for one in found}
            return found

        return call

    for module, name in ((late_events, "read_ahead"), (judging_forms, "read_history")):
        monkeypatch.setattr(module, name, recording(module, name))
    post(sessions, 1, "d 1 @50050", rules=ALL_RULES)
    # The actions it can change were judged by no rule; what judging again reads around them is its own.
    assert read == {"read_ahead": {50100, 50200}, "read_history": {50000, 50200, 100000}}
