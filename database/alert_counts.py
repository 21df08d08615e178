"""How many alerts there are of a kind, up to a number; what that costs does not grow with all that are stored."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

from sqlalchemy import (
    CompoundSelect,
    Integer,
    Select,
    Text,
    bindparam,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from database import alert_lists
from database.alert_filters import (
    AlertFilter,
    AlertIndex,
    by_status_and_code,
    has_sharp_index,
    indexes_for,
    shape,
    statuses_of,
    with_parameters,
)
from database.alert_lists import in_order, matching, seen_in, sources_for, were_touched
from database.models import Alert
from database.pages import within_bounds

COUNTED = 1_000
KEPT = 64  # statements


class CountOfKind(NamedTuple):
    """How many alerts have this status and code (None: any); `more`: there are more of them, or may be."""

    status: str | None
    code: int | None
    number: int
    more: bool


def count_wanted(
    session: Session, wanted: AlertFilter, *, by_status: bool, by_code: bool, codes: Sequence[int]
) -> list[CountOfKind]:
    """How many of the `wanted` alerts there are: of each status or code that has some, or of all together.

    `codes` has all there are, in the order in which they are listed. Numbers end at COUNTED, and at what could be seen:
    alert_lists.LOOKED_AT alerts, or COUNTED + 1 of each status and code if these are looked at one by one.
    """
    shaped, values = shape(session, wanted)
    touched = were_touched(session, shaped, values)
    statuses = statuses_of(wanted) if by_status else (wanted.status,)
    has_codes = by_code and wanted.code is None
    of_codes = codes if has_codes else (wanted.code,)
    found: Sequence[Any]
    # Where Citus has spread alerts, each kind by itself would be one more question to every worker.
    if has_codes and not touched and not has_sharp_index(shaped) and not shaped.are_distributed:
        kinds = [(status, code) for status in statuses_of(wanted) for code in codes]
        asked = dict(zip(("statuses", "codes"), map(list, zip(*kinds, strict=True)), strict=True))
        found = session.execute(_count_kinds(shaped, COUNTED), values | asked).all()
    elif has_codes or touched:
        rows = session.execute(_count_at_once(shaped, touched, alert_lists.LOOKED_AT), values).all()
        # What was not seen may be of any kind.
        found = [(status, code, number, False) for status, code, number, _ in rows]
        if any(broke_off for *_, broke_off in rows):
            found += [(status, code, 0, True) for status, code in product(statuses, of_codes)]
    else:
        counts = session.execute(_count_statuses(shaped, statuses, alert_lists.LOOKED_AT, COUNTED), values)
        found = [(status, wanted.code, number, more) for status, number, more in counts]
    return list(_sums(found, statuses if by_status else (None,), of_codes if by_code else (None,)))


class Count(NamedTuple):
    """How many alerts there are; `more`: there are more, or may be."""

    number: int
    more: bool


def count_each(session: Session, wanted: Sequence[AlertFilter]) -> list[Count]:
    """How many alerts there are of each of several lists, in one statement.

    Numbers end at COUNTED, and where that many others were looked at.
    """
    shaped, values = zip(*(shape(session, one) for one in wanted), strict=True)
    named = {f"{_prefix(number)}{name}": value for number, each in enumerate(values) for name, value in each.items()}
    parts = session.execute(_count_each(shaped, COUNTED), named).all()
    counted = []
    for number in range(len(wanted)):
        of_list = [part for part in parts if part.list == number]
        found = sum(part.number for part in of_list)
        counted.append(Count(min(found, COUNTED), found > COUNTED or any(part.more for part in of_list)))
    return counted


def _prefix(number: int) -> str:
    return f"list_{number}_"


@lru_cache(KEPT)
def _count_each(shaped: tuple[AlertFilter, ...], counted: int) -> CompoundSelect[Any]:
    looked_at, parts = counted + 1, []
    for number, each in enumerate(shaped):
        wanted = with_parameters(each, _prefix(number))
        for index in indexes_for(wanted):
            seen = seen_in(index, wanted, None, looked_at, False).c
            more = func.coalesce(func.max(seen.position), 0) == looked_at
            found = func.count().filter(seen.matches).label("number")
            parts.append(select(literal(number).label("list"), found, more.label("more")))
    return union_all(*parts)


_Counted = tuple[str | None, int | None, int, bool]  # status, code (None: any), how many, and whether there may be more


def _sums(
    found: Sequence[_Counted], statuses: Sequence[str | None], codes: Sequence[int | None]
) -> Iterator[CountOfKind]:
    for status, code in product(statuses, codes):
        fitting = [(number, more) for of, by, number, more in found if status in (None, of) and code in (None, by)]
        number, more = sum(number for number, _ in fitting), any(more for _, more in fitting)
        if number or more:
            yield CountOfKind(status, code, min(number, COUNTED), more or number > COUNTED)


@lru_cache(KEPT)
def _count_at_once(shaped: AlertFilter, touched: bool, looked_at: int) -> Select[Any]:
    """Look at those wanted of any kind, of which there are few. The last column tells whether some are left."""
    wanted = with_parameters(shaped)
    parts = []
    for _, seen, looked_at_each in sources_for(wanted, touched, None, looked_at, False):
        broke_off = func.max(seen.c.position) == looked_at_each
        columns: list[Any] = [seen.c.status, seen.c.code, func.count().filter(seen.c.matches).label("number")]
        part = select(*columns, broke_off.label("broke_off")).group_by(seen.c.status, seen.c.code)
        parts.append(part)
    return select(union_all(*parts).subquery())


@lru_cache(KEPT)
def _count_kinds(shaped: AlertFilter, counted: int) -> Select[Any]:
    """Look at each status and code by itself, in its own stretch of the index."""
    pairs = func.unnest(bindparam("statuses", type_=ARRAY(Text)), bindparam("codes", type_=ARRAY(Integer)))
    kinds = pairs.table_valued("status", "code", name="kind").render_derived(name="kind")
    # As text: SQLAlchemy would take `kind` for one more table of each subquery below.
    status: Any = literal_column("kind.status", Text)
    code: Any = literal_column("kind.code", Integer)
    wanted = with_parameters(shaped)._replace(status=status, code=code)
    index = by_status_and_code(status, code)
    if shaped.shadow:
        index = AlertIndex(((Alert.code, code),), (Alert.shadow,), frozenset({"code"}))
    within = within_bounds(index.place, wanted.start, wanted.end, None, index.begins_with)
    matches = index.matches(wanted, Alert.__table__.c).label("matches")
    seen = select(matches).select_from(Alert).where(*index.holds, *within)
    order = in_order(Alert.__table__.c, index.order, False)
    few = seen.order_by(*order).limit(counted + 1).subquery()
    columns: list[Any] = [func.count().filter(few.c.matches).label("number"), (func.count() > counted).label("more")]
    one = select(*columns).select_from(few).lateral("one")
    columns = [kinds.c.status, kinds.c.code, one.c.number, one.c.more]
    return select(*columns).select_from(kinds.join(one, true()))


@lru_cache(KEPT)
def _count_statuses(
    shaped: AlertFilter, statuses: tuple[str | None, ...], looked_at: int, counted: int
) -> CompoundSelect[Any]:
    """Look at each status by itself, whatever the code. It ends with the first that are too many."""
    wanted = [with_parameters(shaped)._replace(status=status) for status in statuses]
    share = max(looked_at // sum(len(indexes_for(each)) for each in wanted), counted + 1)
    parts = []
    for each in wanted:
        for index in indexes_for(each):
            seen = seen_in(index, each, None, share, False)
            rows = matching(index, seen, literal(counted + 1), share, False).subquery().c
            more = or_(func.count() > counted, func.coalesce(func.max(rows.position), 0) == share)
            parts.append(select(literal(each.status, Text), func.count().filter(rows.matches), more))
    return union_all(*parts)
