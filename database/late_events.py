"""The statements that a batch with late events needs beyond those of every batch, built from the models too.

They are planned each time: what follows a late event may be anything from nothing to all of a long history.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Text,
    any_,
    cast,
    column,
    func,
    literal_column,
    select,
    true,
    union,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from database.judging import BETWEEN, BETWEEN_FOUND, FOLLOWING, FOLLOWING_FOUND
from database.late_offsets import corrected
from database.models import Alert, UserAction, UserSettings
from database.offsets import LateOffsets
from database.prepared import Planned, Records, array, array_of
from database.records import Between, LaterAction, NextN, Standing, StoredSettings

UNTIL = Records(NextN, "until", UserAction, limit=BigInteger())
STANDING = Records(Standing, "standing", Alert)


# Reading

# The fields of LaterAction that are columns of an action; the rest are the codes of its alerts.
_COLUMNS = [name for name in LaterAction._fields if hasattr(UserAction, name)]


def _until() -> tuple[Any, FromClause]:
    x, action = aliased(UserAction, name="x"), aliased(UserAction, name="a")
    of_one = select(x.time).where(x.user_id == UNTIL.c.user_id, x.type == UNTIL.c.type, x.time > UNTIL.c.time)
    nth = of_one.order_by(x.time, x.seq).offset(UNTIL.c.limit - literal_column("1")).limit(literal_column("1"))
    found = nth.correlate(UNTIL.table).subquery("n")
    its_time = func.coalesce(func.max(found.c.time), literal_column("9223372036854775807"))
    end = select(its_time.label("time")).lateral("e")
    both = literal_column("'{deposit,withdraw}'", ARRAY(Text))
    kinds = func.unnest(cast(both, ARRAY(Text))).table_valued(column("type", Text)).render_derived(name="k")
    stretch = (action.user_id == UNTIL.c.user_id) & (action.type == kinds.c.type)
    stretch &= (action.time > UNTIL.c.time) & (action.time <= end.c.time)
    return action, UNTIL.table.join(end, true()).join(kinds, true()).join(action, stretch)


def _read_ahead() -> Select[Any]:
    found = [(one.actions, one.source) for one in (FOLLOWING_FOUND, BETWEEN_FOUND)]
    ahead = union(
        *[select(*[getattr(a, name) for name in _COLUMNS]).select_from(source) for a, source in [*found, _until()]]
    )
    actions = ahead.subquery("a")
    action = actions.c

    def codes(condition: ColumnElement[bool] | InstrumentedAttribute[bool]) -> ColumnElement[Any]:
        of_one = select(Alert.code).where(Alert.user_id == action.user_id, Alert.seq == action.seq, condition)
        return func.array(of_one.correlate(actions).scalar_subquery())

    columns = {name: getattr(action, name) for name in _COLUMNS}
    columns |= {"standing": codes(~Alert.superseded), "superseded": codes(Alert.superseded)}
    return select(*[columns[name].label(name) for name in LaterAction._fields])


_READ_AHEAD = Planned(_read_ahead())


def read_ahead(
    connection: Connection,
    *,
    following: Sequence[NextN],
    between: Sequence[Between],
    until: Sequence[NextN],
    offsets: LateOffsets,
) -> list[LaterAction]:
    """All stored actions that any of the requests asks for, with what judged them and the codes of their alerts.

    `until` asks for all actions, of either type, up to the `limit`-th of its type after its time.
    """
    values = FOLLOWING.arrays(following) | BETWEEN.arrays(between) | UNTIL.arrays(until)
    return corrected(connection, [LaterAction._make(row) for row in _READ_AHEAD.run(connection, values)], offsets)


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
    .values({Alert.superseded: STANDING.c.superseded})
)


def supersede(connection: Connection, alerts: Sequence[Standing]) -> None:
    """Mark stored alerts as superseded, or as standing again."""
    _SUPERSEDE.run(connection, STANDING.arrays(alerts))
