"""The statements that judge a batch of events, built from the models; `storing.py` has those that store what comes out.

They take arrays and keep one text for every number of events, users and rules, so that the server only ever sees the
same few statements. Each connection prepares them once: planning them costs more than running them. What belongs
together goes to the server in one message, since a round trip costs about as much as a statement; under READ COMMITTED
each statement in it still sees what was committed when it began. Late events need some more: `late_events.py`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Integer,
    Numeric,
    Select,
    Text,
    any_,
    bindparam,
    case,
    cast,
    delete,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import InstrumentedAttribute, aliased

from database import storing
from database.late_offsets import corrected
from database.locks import AT_ONCE, Waits
from database.models import RuleVersion, User, UserAction
from database.offsets import LateOffsets
from database.prepared import Planned, Prepared, Records, array, array_of, in_transaction_with, run_directly
from database.records import Deltas, EventKey, LastN, LockedUser, NextN, Since, StoredAction
from database.user_records import arguments

# What the statements take

_TIME, _NUMBER = UserAction.time, BigInteger()

DELTAS = Records(Deltas, "delta", User, actions=User.last_seq)
LAST = Records(LastN, "last", UserAction, after=_TIME, limit=_NUMBER)
FOLLOWING = Records(NextN, "following", UserAction, limit=_NUMBER)
KEYS = Records(EventKey, "event", UserAction)
SINCE = Records(Since, "since", UserAction, limit=_NUMBER)


# Locking

# Far more than anybody has, and far below what the columns hold, so that what one batch adds always fits.
MOST_ACTIONS = 2**62
MOST_NET = 10**35
HAS_ROOM = (User.last_seq <= literal_column(str(MOST_ACTIONS))) & (func.abs(User.net) <= literal_column(str(MOST_NET)))


def _count_and_lock() -> Any:
    known = aliased(User, name="known")
    # As EXISTS next to OR it would make PostgreSQL scan all users; as a scalar subquery it does not.
    is_known = select(true()).where(known.user_id == DELTAS.c.user_id).correlate(DELTAS.table).scalar_subquery()
    counted = (
        select(DELTAS.c.user_id, DELTAS.c.actions, DELTAS.c.net)
        .where(or_(bindparam("create", type_=Boolean()), is_known))
        .order_by(DELTAS.c.user_id)  # two batches that share users lock them in one order
    )
    added = insert(User).from_select([User.user_id, User.last_seq, User.net], counted)
    last_seq, net = (added.excluded.corresponding_column(User.__mapper__.c[name]) for name in ("last_seq", "net"))
    return added.on_conflict_do_update(
        index_elements=[User.user_id],
        set_={User.last_seq: User.last_seq + last_seq, User.net: User.net + net},
        # One who is full is locked too, but stays as it is; out of range, the statement would fail for all users.
        where=HAS_ROOM,
    )


# Reading


class Found:
    """The `actions` that a query finds for each record asked for: their columns, and the FROM clause (`source`)."""

    def __init__(self, asked: Records, query: Select[Any]) -> None:
        lateral = query.lateral("a")  # once: called again, it would silently join the table to itself
        self.actions = lateral.c
        self.source = asked.table.join(lateral, true())


_x = aliased(UserAction, name="x")


def _of_one_type(asked: Records) -> Select[Any]:
    return select(_x).where(asked.own(_x.user_id), _x.type == asked.c.type)


def last_of(asked: Records) -> Found:
    """The last actions for each LastN of `asked`."""
    before = _of_one_type(asked).where(_x.time > asked.c.after, _x.time <= asked.c.time)
    return Found(asked, before.order_by(_x.time.desc(), _x.seq.desc()).limit(asked.c.limit))


def following_of(asked: Records) -> Found:
    """The first actions for each NextN of `asked`."""
    after = _of_one_type(asked).where(_x.time > asked.c.time)
    return Found(asked, after.order_by(_x.time, _x.seq).limit(asked.c.limit))


def of_keys(asked: Records) -> Found:
    """The action for each EventKey of `asked`."""
    same = select(_x).where(asked.own(_x.user_id), _x.event_id == asked.c.event_id)
    return Found(asked, same.limit(literal_column("1")))


def since_of(asked: Records) -> Found:
    """The next actions to arrive for each Since of `asked`."""
    # As a plain join it would be planned for good as a scan of the whole table, if that is small or new.
    later = select(_x).where(asked.own(_x.user_id), _x.seq > asked.c.seq)
    return Found(asked, later.order_by(_x.seq).limit(asked.c.limit))


# Users and actions come in rows of one kind, so that one statement reads both: a user is laid over the columns of an
# action, with two more in front of them, which are null for actions. Only the functions below know how.


# A row without an earlier version was made by this transaction (1), one that it wrote was counted up (0), any other was
# not, since it is full (-1).
_MADE_OR_COUNTED: ColumnElement[int] = literal_column(
    "CASE WHEN xmax = 0 THEN 1 WHEN xmin = CAST(pg_current_xact_id() AS xid) THEN 0 ELSE -1 END", Integer
)


# What changes if the row is made anew, the table (as by a restore), or if another server goes on (after a failover).
_IDENTITY = func.concat_ws(
    literal_column("' '"), User.created_at, literal_column("tableoid"), func.pg_postmaster_start_time()
)
_NEWEST_CHANGE: Any = select(cast(func.max(RuleVersion.number), Numeric)).scalar_subquery()


def lay_users(
    user_ids: ColumnElement[Any], *, made: ColumnElement[Any] = _MADE_OR_COUNTED, rules_number: Any = _NEWEST_CHANGE
) -> Select[Any]:
    """The rows of users with the ids in an array, whether each was `made` or counted up, and the rules' number."""
    columns: list[ColumnElement[Any] | InstrumentedAttribute[Any]] = [
        func.coalesce(User.pruned_before, literal_column("-1")),
        _IDENTITY,
        User.user_id,
        User.last_seq,
        User.risk,
        User.balance,
        made,
        cast(User.overrides, Text),
        case((User.has_late_offsets, cast(literal_column("'{}'"), UserAction.alert_codes.type))),
        User.settings_version,
        rules_number,
    ]
    return select(*columns).where(User.user_id == any_(user_ids))


def lay_actions(found: Found, *, answers: bool = False) -> Select[*tuple[Any, ...]]:
    """The rows of actions; with `answers` each has its event_id and what it was answered with."""
    only_answers = () if answers else ("event_id", "alert_codes")
    fields = [null() if name in only_answers else getattr(found.actions, name) for name in StoredAction._fields]
    return select(null(), null(), *fields).select_from(found.source)


def read_users(laid: Iterable[tuple[Any, ...]]) -> list[LockedUser]:
    """The users among rows that were laid so."""
    users = [row for row in laid if row[0] is not None]
    return [
        LockedUser(
            user_id=user_id,
            last_seq=last_seq,
            risk=risk,
            balance=balance,
            is_new=made == 1,
            is_full=made == -1,
            overrides=overrides,
            settings_version=settings_version,
            rules_number=int(rules_number or 0),
            has_late_offsets=offsets is not None,
            pruned_before=None if pruned < 0 else pruned,
            identity=identity,
        )
        for pruned, identity, user_id, last_seq, risk, balance, made, overrides, offsets, *others in users
        for settings_version, rules_number in [others]
    ]


def read_actions(laid: Iterable[tuple[Any, ...]]) -> list[StoredAction]:
    """The actions among them."""
    new = tuple.__new__  # without a call for each: there may be a hundred thousand
    return [new(StoredAction, row[2:]) for row in laid if row[0] is None]


Asked = tuple[Sequence[LastN], Sequence[Since], Sequence[NextN], Sequence[EventKey]]
_PARTS = ("last", "since", "following", "keys")
# What most events need: to start the other parts takes PostgreSQL a third longer, even if nothing is asked of them.
_ENOUGH = (("last",), ("since",), ("last", "since"), ("since", "keys"), _PARTS)


def reads(users: Select[Any], last: Records, since: Records, following: Records, keys: Records) -> list[Prepared]:
    """The statements that read `users`, and the actions that records of these kinds ask for: see `read_for`."""
    of_records = last_of(last), since_of(since), following_of(following), of_keys(keys)
    laid = {part: lay_actions(of, answers=part == "keys") for part, of in zip(_PARTS, of_records, strict=True)}
    return [Prepared("_".join(("read", *some)), union_all(users, *(laid[part] for part in some))) for some in _ENOUGH]


def read_for(asked: Asked, statements: Sequence[Prepared]) -> Prepared:
    """Which of the statements of `reads` has what is asked for."""
    parts = tuple([part for part, own in zip(_PARTS, asked, strict=True) if own])
    return statements[_ENOUGH.index(parts) if parts in _ENOUGH else -1]


RECORDS = LAST, SINCE, FOLLOWING, KEYS
_READS = reads(lay_users(DELTAS.parameters["user_id"]), *RECORDS)
# The first of a transaction: if it is known, so is all that can follow.
COUNT_AND_LOCK = Prepared("count_and_lock", _count_and_lock(), after=(*_READS, *storing.PREPARED))


def begin_lock_and_read(
    connection: Connection,
    *,
    deltas: Sequence[Deltas],
    create: bool,
    last: Sequence[LastN],
    following: Sequence[NextN],
    keys: Sequence[EventKey],
    since: Sequence[Since] = (),
    waits: Waits = AT_ONCE,
) -> tuple[list[LockedUser], list[StoredAction], LateOffsets]:
    """Begin a transaction, add `deltas` (sorted by user) to their users, lock them, and read their history.

    With `create` unknown users are made; without it they are left out of the answer. The history is every stored
    action that any of the requests asks for; some may come more than once. `waits` says how it waits for others, and
    whether the rules stay as they are until the transaction ends. Returns also what is known of the users' late
    offsets, for all that follows.
    """
    asked = last, since, following, keys
    values = DELTAS.arrays(deltas) | arguments(RECORDS, asked) | {"create": create}
    read = read_for(asked, _READS).execute
    laid = in_transaction_with(
        connection,
        COUNT_AND_LOCK,
        lambda first: run_directly(connection, waits.around(first + COUNT_AND_LOCK.execute) + read, values),
    )
    users = read_users(laid)
    offsets = LateOffsets([user.user_id for user in users if user.has_late_offsets])
    return users, corrected(connection, read_actions(laid), offsets), offsets


def read_history(
    connection: Connection,
    *,
    last: Sequence[LastN],
    following: Sequence[NextN],
    keys: Sequence[EventKey] = (),
    offsets: LateOffsets,
) -> list[StoredAction]:
    """Read more history within the transaction that `begin_lock_and_read` began."""
    values = DELTAS.arrays([]) | arguments(RECORDS, (last, (), following, keys))
    return corrected(connection, read_actions(run_directly(connection, _READS[-1].execute, values)), offsets)


_TAKE_BACK = Planned(
    update(User)
    .where(User.user_id == DELTAS.c.user_id)
    .values({User.last_seq: User.last_seq - DELTAS.c.actions, User.net: User.net - DELTAS.c.net})
)
_FORGET_USERS = Planned(delete(User).where(User.user_id == any_(array_of("user_id", User.user_id.type))))


def take_back(connection: Connection, deltas: Sequence[Deltas]) -> None:
    """Undo what was added to users for events that are not stored after all."""
    _TAKE_BACK.run(connection, DELTAS.arrays(deltas))


def forget_users(connection: Connection, user_ids: Sequence[int]) -> None:
    """Remove users that this transaction made and then stored nothing for."""
    _FORGET_USERS.run(connection, {"user_id": array(user_ids)})
