"""The statements that a batch with late events needs beyond those of every batch, built from the models too.

They are planned each time: what follows a late event may be anything from nothing to all of a long history.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Text,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    true,
    union,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from database.judging import FOLLOWING, Found, following_of
from database.late_offsets import corrected
from database.models import Alert, UserAction, UserSettings
from database.offsets import LateOffsets
from database.prepared import Planned, Records, array, array_of
from database.records import ActionKey, ActionSettings, Ahead, LaterAction, NextN, Standing, StoredSettings
from database.user_records import Forms

UNTIL = Records(NextN, "until", UserAction, limit=BigInteger())
PLACES = Records(ActionKey, "place", UserAction)
STANDING = Records(Standing, "standing", Alert)
AHEAD = Records(
    Ahead,
    "ahead",
    UserAction,
    start=UserAction.time,
    end=UserAction.time,
    first=UserAction.seq,
    last=UserAction.seq,
)


# Reading

# The fields of LaterAction that are columns of an action; the rest are the codes of its alerts.
_COLUMNS = [name for name in LaterAction._fields if hasattr(UserAction, name)]


_x, _limit = aliased(UserAction, name="x"), bindparam("limit", type_=BigInteger())


def _ahead(ahead: Records) -> Select[Any]:
    asked = ahead.c
    within = select(_x).where(ahead.own(_x.user_id), _x.type == asked.type)
    within = within.where(_x.time.between(asked.start, asked.end), _x.seq.between(asked.first, asked.last))
    return within.order_by(_x.time, _x.seq)


def _later_actions(*found: Found) -> Select[Any]:
    each = [select(*[getattr(one.actions, name) for name in _COLUMNS]).select_from(one.source) for one in found]
    actions = (union(*each) if len(each) > 1 else each[0]).subquery("a")
    action = actions.c

    def codes(condition: ColumnElement[bool] | InstrumentedAttribute[bool]) -> ColumnElement[Any]:
        of_one = select(Alert.code).where(Alert.user_id == action.user_id, Alert.seq == action.seq, condition)
        return func.array(of_one.correlate(actions).scalar_subquery())

    columns = {name: getattr(action, name) for name in _COLUMNS}
    columns |= {"standing": codes(~Alert.superseded), "superseded": codes(Alert.superseded)}
    return select(*[columns[name].label(name) for name in LaterAction._fields])


_READ_AHEAD = Forms(
    lambda following, ahead: _later_actions(following_of(following), Found(ahead, _ahead(ahead))), FOLLOWING, AHEAD
)
_READ_PART = Forms(lambda ahead: _later_actions(Found(ahead, _ahead(ahead).limit(_limit))), AHEAD)


def read_ahead(
    connection: Connection, *, following: Sequence[NextN], ahead: Sequence[Ahead], offsets: LateOffsets
) -> list[LaterAction]:
    """All stored actions that any of the requests asks for, with what judged them and the codes of their alerts."""
    found = _READ_AHEAD.run(connection, following, ahead)
    return corrected(connection, [LaterAction._make(row) for row in found], offsets)


def read_part(connection: Connection, ahead: Sequence[Ahead], *, limit: int, offsets: LateOffsets) -> list[LaterAction]:
    """The first of the stored actions that the requests ask for, up to `limit` for each request."""
    found = _READ_PART.run(connection, ahead, limit=limit)
    return corrected(connection, [LaterAction._make(row) for row in found], offsets)


def _count(ahead: Records) -> Select[Any]:
    some = _ahead(ahead).with_only_columns(_x.seq).order_by(None).limit(_limit).correlate(ahead.table).subquery("s")
    count = select(func.count().label("count")).select_from(some).lateral("c")
    return select(ahead.c.user_id, count.c.count).select_from(ahead.table.join(count, true()))


_COUNT = Forms(_count, AHEAD)


def count_ahead(connection: Connection, ahead: Sequence[Ahead], limit: int) -> dict[int, int]:
    """How many actions the requests ask for, by user; no more than `limit` are counted for each request."""
    counts: dict[int, int] = defaultdict(int)
    for user_id, count in _COUNT.run(connection, ahead, limit=limit):
        counts[user_id] += count
    return counts


def _nth(until: Records) -> Select[Any]:
    x, asked = aliased(UserAction, name="x"), until.c
    after = select(x.time).where(until.own(x.user_id), x.type == asked.type, x.time > asked.time)
    nth = (
        after.order_by(x.time, x.seq).offset(asked.limit - literal_column("1")).limit(literal_column("1")).lateral("n")
    )
    return select(asked.user_id, asked.time, nth.c.time).select_from(until.table.join(nth, true(), isouter=True))


_NTH = Forms(_nth, UNTIL)


def times_of_nth(connection: Connection, until: Sequence[NextN]) -> list[tuple[int, int, int | None]]:
    """The user and time of each request, and the time of the `limit`-th action of its type after that, if any."""
    return [(user_id, time, nth) for user_id, time, nth in _NTH.run(connection, until)]


def _action_settings(places: Records) -> Select[Any]:
    x = aliased(UserAction, name="x")
    since = select(x.rules_number, x.settings_version).where(places.own(x.user_id), x.seq >= places.c.seq)
    found = since.order_by(x.seq).limit(literal_column("1")).lateral("s")
    return select(places.c.user_id, places.c.seq, *found.c).select_from(places.table.join(found, true()))


_ACTION_SETTINGS = Forms(_action_settings, PLACES)


def action_settings(connection: Connection, places: Sequence[ActionKey]) -> list[ActionSettings]:
    """By what some actions were first judged; in place of one that was removed, the next to arrive, if any."""
    return [ActionSettings._make(row) for row in _ACTION_SETTINGS.run(connection, places)]


_USER_SETTINGS = Planned(
    select(UserSettings.user_id, UserSettings.version, UserSettings.risk, cast(UserSettings.overrides, Text)).where(
        UserSettings.user_id == any_(array_of("user_id", UserSettings.user_id.type))
    )
)


def user_settings(connection: Connection, user_ids: Sequence[int]) -> list[StoredSettings]:
    """All ratings and overrides that these users ever had; before the first, they were rated normal and had none."""
    return [
        StoredSettings(user_id=user_id, version=version, risk=risk, overrides=overrides)
        for user_id, version, risk, overrides in _USER_SETTINGS.run(connection, {"user_id": array(user_ids)})
    ]


# Storing

_SUPERSEDE = Planned(
    update(Alert)
    .where(Alert.user_id == STANDING.c.user_id, Alert.seq == STANDING.c.seq, Alert.code == STANDING.c.code)
    .values({Alert.superseded: STANDING.c.superseded, Alert.touched_at: func.statement_timestamp()})
)


def supersede(connection: Connection, alerts: Sequence[Standing]) -> None:
    """Mark stored alerts as superseded, or as standing again."""
    _SUPERSEDE.run(connection, STANDING.arrays(alerts))
