"""Every statement on keys and their uses, each a named function."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Connection,
    DateTime,
    Text,
    and_,
    bindparam,
    column,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from database.models import Key, KeyUse

_MOMENT = DateTime(timezone=True)
_now = func.clock_timestamp(type_=_MOMENT)
_lives = and_(Key.revoked_at.is_(None), or_(Key.expires_at.is_(None), Key.expires_at > _now))


class KeyRow(NamedTuple):
    """A key as it is listed: everything but its hash. `requests` and `last_used_at` are up to a few seconds old."""

    key_id: str
    name: str
    scopes: list[str]
    rate: str | None
    changed: int
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    requests: int
    last_used_at: datetime | None
    is_living: bool


# For the keyring


class Newest(NamedTuple):
    """The number of the newest change of any key (None: there never was a key), and the database's clock."""

    changed: int | None
    now: datetime


class HashedKey(NamedTuple):
    """A living key as it is looked up."""

    secret_hash: bytes
    key_id: str
    name: str
    scopes: list[str]
    changed: int
    rate: str | None
    expires_at: datetime | None


_NEWEST = select(select(func.max(Key.changed)).scalar_subquery(), _now)
_LIVING = select(*(getattr(Key, name) for name in HashedKey._fields)).where(_lives)


def newest_change(connection: Connection) -> Newest:
    """The newest change, and the time."""
    return Newest._make(connection.execute(_NEWEST).one())


def living_keys(connection: Connection) -> list[HashedKey]:
    """All keys that are neither revoked nor expired."""
    return [HashedKey._make(row) for row in connection.execute(_LIVING)]


_IDS, _COUNTS = bindparam("ids", type_=ARRAY(Text)), bindparam("counts", type_=ARRAY(BigInteger))
_used = func.unnest(_IDS, _COUNTS).table_valued(column("used", Text), column("times", BigInteger))
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
