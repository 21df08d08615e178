"""Every statement on keys and their uses, each a named function."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Connection,
    DateTime,
    Text,
    and_,
    bindparam,
    cast,
    column,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from database.models import Key, KeyUse

_MOMENT = DateTime(timezone=True)
_now = func.clock_timestamp(type_=_MOMENT)
_lives = and_(Key.revoked_at.is_(None), or_(Key.expires_at.is_(None), Key.expires_at > _now))


class KeyRow(NamedTuple):
    """A key as it is listed: everything but its hash. `requests` and `last_used_at` are a second or two old.

    `number` is the place of the key in the order in which all were made, from 1; `changed` that of its newest change
    among those of all keys.
    """

    key_id: str
    number: int
    name: str
    scopes: list[str]
    rate: str | None
    changed: int
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    is_living: bool
    requests: int
    last_used_at: datetime | None


_KEYS = select(
    *(getattr(Key, name) for name in KeyRow._fields[:10]),
    _lives.label("is_living"),
    func.coalesce(KeyUse.requests, 0),
    KeyUse.last_used_at,
).join_from(Key, KeyUse, KeyUse.key_id == Key.key_id, isouter=True)


def get_key(session: Session, key_id: str) -> KeyRow | None:
    """The key with this id, living or not, or None."""
    row = session.execute(_KEYS.where(Key.key_id == key_id)).one_or_none()
    return None if row is None else KeyRow._make(row)


def page_of_keys(session: Session, limit: int, before: int | None) -> list[KeyRow]:
    """Up to `limit` keys, newest first, those with a number below `before` unless that is None."""
    page = _KEYS if before is None else _KEYS.where(Key.number < before)
    return [KeyRow._make(row) for row in session.execute(page.order_by(Key.number.desc()).limit(limit))]


def living_keys_named(session: Session, name: str) -> list[KeyRow]:
    """The living keys of this name, newest first: more than one while a rotated one lives on."""
    return [
        KeyRow._make(row) for row in session.execute(_KEYS.where(Key.name == name, _lives).order_by(Key.number.desc()))
    ]


# Changes, each in a transaction that has locked the table: so a number that is seen has none below it still to come

_LOCK = f"LOCK TABLE {Key.__tablename__} IN SHARE ROW EXCLUSIVE MODE"
# By the clock: a server that takes over without the last changes of the one before does not give their numbers again.
_microseconds = cast(func.extract("epoch", _now) * 1_000_000, BigInteger)
_next_change = select(func.greatest(func.coalesce(func.max(Key.changed), 0) + 1, _microseconds)).scalar_subquery()
_next_number = select(func.coalesce(func.max(Key.number), 0) + 1).scalar_subquery()


def lock_keys(session: Session) -> None:
    """Let nobody else change keys until this transaction ends; who only reads does not wait."""
    session.connection().exec_driver_sql(_LOCK)


def count_living(session: Session) -> int:
    """How many keys live."""
    return session.execute(select(func.count()).select_from(Key).where(_lives)).scalar_one()


def has_other_living(session: Session, key_id: str, scope: str) -> bool:
    """Whether any other key lives that has this scope."""
    others = select(Key.key_id).where(Key.key_id != key_id, _lives, Key.scopes.contains([scope]))
    return session.execute(select(others.exists())).scalar_one()


def add_key(
    session: Session,
    key_id: str,
    *,
    secret_hash: bytes,
    name: str,
    scopes: Sequence[str],
    rate: str | None,
    expires_at: datetime | None,
    created_by: str,
) -> None:
    """Store a new key."""
    session.execute(
        insert(Key).values(
            key_id=key_id,
            number=_next_number,
            changed=_next_change,
            secret_hash=secret_hash,
            name=name,
            scopes=list(scopes),
            rate=rate,
            expires_at=expires_at,
            created_by=created_by,
        )
    )


def revoke_key(session: Session, key_id: str) -> None:
    """End a key now."""
    session.execute(update(Key).where(Key.key_id == key_id).values(revoked_at=_now, changed=_next_change))


def expire_key(session: Session, key_id: str, after: timedelta) -> None:
    """Let a key expire after this time, unless it does so before."""
    end = func.least(Key.expires_at, _now + after)  # which skips null
    session.execute(update(Key).where(Key.key_id == key_id).values(expires_at=end, changed=_next_change))


# For the keyring


class Newest(NamedTuple):
    """The number of the newest change of any key (None: there never was a key), and the database's clock."""

    changed: int | None
    now: datetime


class HashedKey(NamedTuple):
    """A key as it is looked up."""

    secret_hash: bytes
    key_id: str
    name: str
    scopes: list[str]
    changed: int
    rate: str | None
    expires_at: datetime | None
    is_living: bool


_NEWEST = select(select(func.max(Key.changed)).scalar_subquery(), _now)
_HASHED = select(*(getattr(Key, name) for name in HashedKey._fields[:-1]), _lives.label("is_living"))
_LIVING = _HASHED.where(_lives)
_CHANGED = _HASHED.where(Key.changed > bindparam("after", type_=BigInteger))


def newest_change(connection: Connection) -> Newest:
    """The newest change, and the time."""
    return Newest._make(connection.execute(_NEWEST).one())


def living_keys(connection: Connection) -> list[HashedKey]:
    """All keys that are neither revoked nor expired."""
    return [HashedKey._make(row) for row in connection.execute(_LIVING)]


def changed_keys(connection: Connection, after: int) -> list[HashedKey]:
    """The keys whose newest change has a number above `after`, living or not."""
    return [HashedKey._make(row) for row in connection.execute(_CHANGED, {"after": after})]


_IDS, _COUNTS = bindparam("ids", type_=ARRAY(Text)), bindparam("counts", type_=ARRAY(BigInteger))
_used = func.unnest(_IDS, _COUNTS).table_valued(column("used", Text), column("times", BigInteger)).render_derived()
# A key that is not there, as after a restore, must not keep the uses of the others from being stored.
_COUNTED = (
    select(_used.c.used, _used.c.times, _now).where(select(Key.key_id).where(Key.key_id == _used.c.used).exists())
).order_by(_used.c.used)
_ADDING = upsert(KeyUse).from_select([KeyUse.key_id, KeyUse.requests, KeyUse.last_used_at], _COUNTED)
_ADD_USES = _ADDING.on_conflict_do_update(
    index_elements=[KeyUse.key_id],
    set_={
        KeyUse.requests: KeyUse.requests + _ADDING.excluded[KeyUse.requests.key],
        KeyUse.last_used_at: _ADDING.excluded[KeyUse.last_used_at.key],
    },
).returning(KeyUse.key_id, KeyUse.requests)


def add_uses(connection: Connection, uses: Mapping[str, int]) -> dict[str, int]:
    """Add to the requests of keys, by id. Returns how many each has had in all, from all processes.

    In the order of their ids, so that processes that do this at the same time wait for one another at most.
    """
    ids = sorted(uses)
    rows = connection.execute(_ADD_USES, {"ids": ids, "counts": [uses[key_id] for key_id in ids]})
    return {row.key_id: row.requests for row in rows}
