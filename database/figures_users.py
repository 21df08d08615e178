"""Which users a stretch of time was of, added to the sets of their day."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Integer,
    Select,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, BIT, insert
from sqlalchemy.orm import InstrumentedAttribute

from database.figures import EVERYBODY
from database.models import Alert, DailyUsers, UserAction
from database.user_sets import BITS, EXACT, PRECISION, REGISTERS, UserSet, bounded, joined, of_registers

_MOMENT = DateTime(timezone=True)
_BEGIN, _END = bindparam("begin", type_=_MOMENT), bindparam("end", type_=_MOMENT)


def within(moment: InstrumentedAttribute[datetime]) -> ColumnElement[bool]:
    """Whether a moment lies in the stretch of time from the parameter `begin` up to `end`."""
    return and_(moment >= _BEGIN, moment < _END)


_CODES = bindparam("codes", type_=ARRAY(Integer))
_ACTIVE: Any = select(literal_column(str(EVERYBODY), Integer).label("code"), UserAction.user_id.label("user_id")).where(
    within(UserAction.created_at)
)
_ALERTED: Any = select(Alert.code.label("code"), Alert.user_id.label("user_id")).where(
    within(Alert.created_at), ~Alert.shadow
)


def _ids(source: Select[Any]) -> Select[Any]:
    """The users of each code, except of some codes, up to one more of each than a set holds."""
    seen = source.distinct().subquery("seen")
    place = func.row_number().over(partition_by=seen.c.code).label("place")
    few = select(seen, place).where(~(seen.c.code == any_(_CODES))).subquery("few")
    return select(few.c.code, few.c.user_id).where(few.c.place <= EXACT + 1)


def _runs(source: Select[Any]) -> Select[Any]:
    """What the registers of some codes see of their users: as user_sets has it, but here."""
    seen = source.distinct().subquery("seen")
    beginning = func.encode(func.substring(func.sha256(func.int8send(seen.c.user_id)), 1, 8), "hex")
    hashed = cast(cast(literal_column("'x'").concat(beginning), BIT(64)), BigInteger)
    spread = select(seen.c.code, hashed.label("hashed")).where(seen.c.code == any_(_CODES)).subquery("spread")
    register = spread.c.hashed.op("&")(literal_column(str(REGISTERS - 1)))
    rest = cast(spread.c.hashed.op(">>")(literal_column(str(PRECISION))), BIT(BITS))
    run = BITS + 1 - func.length(func.ltrim(cast(rest, Text), "0"))
    return select(spread.c.code, register, func.max(run)).group_by(spread.c.code, register)


_USERS = tuple((_ids(source), _runs(source)) for source in (_ACTIVE, _ALERTED))
_STORED_USERS = select(DailyUsers.code, DailyUsers.user_ids, DailyUsers.registers).where(
    DailyUsers.day == bindparam("day", type_=Date)
)
_adding_users = insert(DailyUsers)
_ADD_USERS = _adding_users.on_conflict_do_update(
    index_elements=[DailyUsers.day, DailyUsers.code],
    set_={
        DailyUsers.user_ids: _adding_users.excluded[DailyUsers.user_ids.key],
        DailyUsers.registers: _adding_users.excluded[DailyUsers.registers.key],
    },
)


def add_users(connection: Connection, day: date, stretch: Mapping[str, datetime]) -> None:
    """Add the users who did anything in a stretch of this day, and those who had alerts of each rule."""
    rows = connection.execute(_STORED_USERS, {"day": day})
    stored = {code: UserSet(frozenset(user_ids), registers) for code, user_ids, registers in rows}
    large = {code for code, users in stored.items() if users.registers is not None}
    for code, users in _users_seen(connection, stretch, large).items():
        kept = bounded(joined([stored.get(code, UserSet()), users]))
        if kept != stored.get(code):
            values = {DailyUsers.day: day, DailyUsers.code: code, DailyUsers.registers: kept.registers}
            connection.execute(_ADD_USERS.values(values | {DailyUsers.user_ids: sorted(kept.user_ids)}))


def _users_seen(connection: Connection, stretch: Mapping[str, datetime], large: Collection[int]) -> dict[int, UserSet]:
    """The users of a stretch by code: with registers for codes that are `large`, or turn out to be."""
    found: dict[int, UserSet] = {}
    for ids, runs in _USERS:
        seen: dict[int, set[int]] = defaultdict(set)
        for code, user_id in connection.execute(ids, {**stretch, "codes": list(large)}):
            seen[code].add(user_id)
        found |= {code: UserSet(frozenset(users)) for code, users in seen.items()}
        many = {code for code, users in seen.items() if len(users) > EXACT} | set(large)
        registers: dict[int, list[tuple[int, int]]] = defaultdict(list)
        if many:
            for code, register, run in connection.execute(runs, {**stretch, "codes": list(many)}):
                registers[code].append((register, run))
        found |= {code: of_registers(pairs) for code, pairs in registers.items()}
    return found
