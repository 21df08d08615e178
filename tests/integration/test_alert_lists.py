"""Lists of alerts against a plain search: every filter in both orders, neighbours, counts, and what ends by itself."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import Row, delete, func, select, text, update
from sqlalchemy.orm import Session

from database import alert_counts, alert_lists
from database.alert_counts import count_wanted
from database.alert_filters import NOBODY, STATUSES, AlertFilter, AlertPlace
from database.alert_lists import neighbours, page_of_alerts, place_of
from database.models import Alert, Mute, User
from database.session import make_read_engine, make_sessions
from rules.values import LAST_TIME
from tests.postgres import transaction
from tests.waiting import PATIENCE

CODES = (1100, 30, 7)
NOW = datetime.now(UTC)  # all moments below are days away from it
MOMENTS = [None, NOW - timedelta(days=9), NOW + timedelta(days=9)]

AlertAsStored = Row[Any]


def fill(session: Session, random: Random, actions: int) -> None:
    """Store alerts of four users, worked at random."""
    for user_id in (1, 2, 3, 4):
        session.add(User(user_id=user_id, risk="high" if user_id == 2 else "normal", last_seq=actions))
    session.flush()
    for user_id in (1, 2, 3, 4):
        for seq in range(1, actions + 1):
            time = random.randrange(40)
            session.execute(
                text(
                    "INSERT INTO user_actions (user_id, seq, type, amount, time, alert_codes, rules_number,"
                    " settings_version, ordinal, running_total) VALUES (:u, :s, 'withdraw', 1, :t, '{}', 1, 0, 1, 1)"
                ),
                {"u": user_id, "s": seq, "t": time},
            )
            for code in random.sample(CODES[:2], random.randint(1, 2)):
                status = random.choice(STATUSES)
                assignee = random.choice([None, None, "ada", "bob"])
                session.add(
                    Alert(
                        user_id=user_id,
                        seq=seq,
                        code=code,
                        time=time,
                        status=status,
                        outcome=random.choice(["true_positive", "inconclusive"]) if status == "closed" else None,
                        assignee=assignee,
                        claim_lapses_at=random.choice(MOMENTS) if assignee and status == "open" else None,
                        snoozed_until=random.choice(MOMENTS),
                        late=random.random() < 0.2,
                        superseded=random.random() < 0.2,
                        shadow=random.random() < 0.2,
                        touched_at=NOW - timedelta(days=random.randrange(20)),
                        evidence={},
                    )
                )
    session.flush()
    for user_id, code, until in ((1, 30, MOMENTS[2]), (2, 1100, MOMENTS[1]), (3, 1100, MOMENTS[2])):
        session.add(Mute(user_id=user_id, code=code, until=until, who="ada"))
    session.flush()


CHOICES: dict[str, tuple[Any, ...]] = {
    "user_id": (None, None, 1, 2),
    "code": (None, None, *CODES),
    "status": (None, None, *STATUSES),
    "outcome": (None, None, None, "true_positive", "inconclusive", "false_positive"),
    "assignee": (None, None, "ada", NOBODY, "carol"),
    "risk": (None, None, None, "normal", "high"),
    "late": (None, None, True, False),
    "superseded": (None, None, True, False),
    "closed": (None, None, True, False),
    "snoozed": (False, False, True, None),
    "muted": (False, False, True, None),
    "touched_from": (None, None, NOW - timedelta(days=5)),
    "start": (0, 10),
    "end": (LAST_TIME, 30),
    "shadow": (False, False, True),
}


def a_filter(random: Random) -> AlertFilter:
    """Some filter; most of it asks for nothing, or none would match."""
    return AlertFilter(**{name: random.choice(values) for name, values in CHOICES.items()})


class Plain:
    """All alerts, searched in Python."""

    def __init__(self, session: Session) -> None:
        self._alerts = session.execute(select(*Alert.__table__.columns)).all()
        self._risks = {user.user_id: user.risk for user in session.scalars(select(User))}
        mutes = session.execute(select(Mute.user_id, Mute.code).where(Mute.until > func.now()))
        self._muted = {(user_id, code) for user_id, code in mutes}

    def matching(self, wanted: AlertFilter) -> list[Any]:
        """Those that match, oldest first."""
        return sorted((one for one in self._alerts if self._matches(one, wanted)), key=place_of)

    def _matches(self, one: Any, wanted: AlertFilter) -> bool:
        has_lapsed = one.claim_lapses_at is not None and one.claim_lapses_at <= NOW
        is_now = {
            "assignee": NOBODY if one.assignee is None or has_lapsed else one.assignee,
            "risk": self._risks[one.user_id],
            "snoozed": one.snoozed_until is not None and one.snoozed_until > NOW,
            "muted": (one.user_id, one.code) in self._muted,
            "closed": one.status == "closed",
        }
        asked = {name: value for name, value in wanted._asdict().items() if value is not None}
        first, last, since = asked.pop("start"), asked.pop("end"), asked.pop("touched_from", one.touched_at)
        return (
            first <= one.time <= last
            and one.touched_at >= since
            and all(is_now.get(name, getattr(one, name, None)) == value for name, value in asked.items())
        )


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    """A session as the service makes them for reads, in a transaction that is undone."""
    engine = make_read_engine(database_url, timeout=PATIENCE, connections=1)
    try:
        with transaction(make_sessions(engine)) as session:
            yield session
            session.rollback()
    finally:
        engine.dispose()


def whole_list(session: Session, wanted: AlertFilter, oldest_first: bool) -> list[AlertPlace]:
    """The places on all pages of up to 4."""
    found: list[AlertPlace] = []
    after = None
    while True:
        page = page_of_alerts(session, wanted, 4, after, oldest_first=oldest_first)
        found += map(place_of, page.rows)
        if len(page.rows) < 4 and page.broke_off_at is None:
            return found
        after = page.broke_off_at or place_of(page.rows[-1])


@pytest.mark.parametrize("looked_at", [9, 5_000])
def test_lists_neighbours_and_counts(looked_at: int, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few alerts a page looks at, the pages have those that match, once each, in order; neighbours are those of
    the list, for whichever alert; and counts are exact, or say that there may be more.
    """
    monkeypatch.setattr(alert_lists, "LOOKED_AT", looked_at)
    random = Random(looked_at)
    fill(session, random, 15)
    plain = Plain(session)
    every = plain.matching(AlertFilter(snoozed=None, muted=None, start=0, end=LAST_TIME))
    for _ in range(40):
        wanted = a_filter(random)
        expected = plain.matching(wanted)
        places = [place_of(one) for one in expected]
        assert whole_list(session, wanted, oldest_first=True) == places, wanted
        assert whole_list(session, wanted, oldest_first=False) == places[::-1], wanted
        at = place_of(random.choice(every))
        before, after = [one for one in places if one < at][-1:], [one for one in places if one > at][:1]
        for sides, oldest_first in (((before, after), True), ((after, before), False)):
            found = neighbours(session, wanted, at, oldest_first=oldest_first)
            for side, neighbour in zip(sides, found, strict=True):
                assert neighbour.place == (side[0] if side else None) or neighbour.broke_off, (wanted, at)
        by_status, by_code = random.choice([True, False]), random.choice([True, False])
        kinds = Counter((one.status if by_status else None, one.code if by_code else None) for one in expected)
        counted = count_wanted(session, wanted, by_status=by_status, by_code=by_code, codes=CODES)
        by_kind = {(one.status, one.code): one for one in counted}
        assert len(by_kind) == len(counted)
        assert set(by_kind) >= set(kinds), wanted
        for kind, one in by_kind.items():
            assert one.number == kinds[kind] or (one.more and one.number < kinds[kind]) or one.more, (wanted, kind)
            assert one.number <= kinds[kind], (wanted, kind)
            if looked_at == 5_000:
                assert one == (*kind, kinds[kind], False)


def test_counts_end(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number ends where it was agreed that it ends, and says that there are more."""
    monkeypatch.setattr(alert_counts, "COUNTED", 2)
    fill(session, Random(1), 15)
    plain = Plain(session)
    wanted = AlertFilter(snoozed=None, muted=None, start=0, end=LAST_TIME)
    kinds = Counter((one.status, one.code) for one in plain.matching(wanted))
    assert {number > 2 for number in kinds.values()} == {True}
    found = count_wanted(session, wanted, by_status=True, by_code=True, codes=CODES)
    assert found == [(status, code, 2, True) for status in STATUSES for code in CODES if (status, code) in kinds]
    assert count_wanted(session, wanted, by_status=False, by_code=False, codes=CODES) == [(None, None, 2, True)]
    by_status = count_wanted(session, wanted, by_status=True, by_code=False, codes=CODES)
    assert by_status == [(status, None, 2, True) for status in STATUSES]


def test_pages_while_alerts_are_worked(session: Session) -> None:
    """Whatever becomes of alerts meanwhile, those that stay in the list are on one page each."""
    random = Random(5)
    fill(session, random, 15)
    session.execute(delete(Mute))
    wanted = AlertFilter(status="open", snoozed=None, start=0, end=LAST_TIME)
    for oldest_first in (False, True):
        before = {place_of(one) for one in Plain(session).matching(wanted)}
        found: list[AlertPlace] = []
        after = None
        while True:
            page = page_of_alerts(session, wanted, 5, after, oldest_first=oldest_first)
            found += map(place_of, page.rows)
            if len(page.rows) < 5:
                break
            after = place_of(page.rows[-1])
            one = random.choice(sorted(before))
            here = (Alert.user_id == one[1], Alert.seq == one[2], Alert.code == one[3])
            change: dict[str, Any] = random.choice(
                [{"assignee": "carol"}, {"superseded": True}, {"status": "acknowledged"}]
            )
            session.execute(update(Alert).where(*here).values(**change))
        left = {place_of(one) for one in Plain(session).matching(wanted)}
        assert len(found) == len(set(found))
        assert left <= set(found) <= before


def test_what_lasts_for_a_while(session: Session) -> None:
    """A snooze, a mute and a claim end by themselves, at their moment."""
    fill(session, Random(9), 3)
    session.execute(delete(Mute))
    session.execute(
        update(Alert).values(
            status="open", outcome=None, assignee=None, snoozed_until=None, claim_lapses_at=None, shadow=False
        )
    )
    every = AlertFilter(start=0, end=LAST_TIME)
    whole = whole_list(session, every, oldest_first=True)
    _, user_id, seq, code = whole[0]
    here = (Alert.user_id == user_id, Alert.seq == seq, Alert.code == code)

    def are_missing(filtered: AlertFilter) -> bool:
        return whole_list(session, filtered, oldest_first=True) == whole[1:]

    for away, is_away in ((timedelta(days=1), True), (timedelta(days=-1), False)):
        session.execute(update(Alert).where(*here).values(snoozed_until=NOW + away))
        assert are_missing(every) == is_away
        assert (whole_list(session, every._replace(snoozed=True), oldest_first=True) == whole[:1]) == is_away
        session.execute(update(Alert).where(*here).values(assignee="ada", claim_lapses_at=NOW + away))
        assert are_missing(every._replace(assignee=NOBODY, snoozed=None)) == is_away
        assert (whole_list(session, every._replace(assignee="ada", snoozed=None), oldest_first=True) != []) == is_away
    for away, is_away in ((timedelta(days=1), True), (timedelta(days=-1), False)):
        session.execute(delete(Mute))
        session.add(Mute(user_id=user_id, code=code, until=NOW + away, who="ada"))
        session.flush()
        left = whole_list(session, every, oldest_first=True)
        muted = whole_list(session, every._replace(muted=True), oldest_first=True)
        assert (whole[0] not in left, whole[0] in muted) == (is_away, is_away)
        assert sorted(left + muted) == whole
