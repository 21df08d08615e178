"""Statements on how endpoints stand: which process sends to them, how that goes, and when they are disabled."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    DateTime,
    Double,
    Text,
    and_,
    any_,
    bindparam,
    case,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from database.models import Webhook, WebhookState
from database.recordsets import recordset, written

_now = func.clock_timestamp(type_=DateTime(timezone=True))
_IDS = bindparam("ids", type_=ARRAY(BigInteger))
_ME = bindparam("me", type_=Text)
_TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("webhook_id", "failures", "delivered", "failed", "abandoned"), BigInteger()),
    **dict.fromkeys(("has_succeeded", "is_failing"), Boolean()),
    "error": Text(),
    "rest": Double(),
}


def _from_now(seconds: Any) -> Any:
    return _now + seconds * literal_column("interval '1 second'")


def _left(moment: Any) -> Any:
    return func.extract("epoch", moment - _now)


class Endpoint(NamedTuple):
    """An endpoint, and how it stands: `leased` and `rests` are seconds from now, None without."""

    webhook_id: int
    is_enabled: bool
    is_deleted: bool
    has_state: bool
    leased_by: str | None
    leased: float | None
    rests: float | None
    failures: int


_ENDPOINTS = select(
    Webhook.webhook_id,
    and_(Webhook.enabled, Webhook.deleted_at.is_(None)),
    Webhook.deleted_at.is_not(None),
    WebhookState.webhook_id.is_not(None),
    WebhookState.leased_by,
    _left(WebhookState.leased_until),
    _left(WebhookState.rests_until),
    func.coalesce(WebhookState.failures, literal_column("0")),
).join_from(Webhook, WebhookState, WebhookState.webhook_id == Webhook.webhook_id, isouter=True)
_LEASE = (
    update(WebhookState)
    .where(
        WebhookState.webhook_id == any_(_IDS),
        or_(WebhookState.leased_by == _ME, WebhookState.leased_until.is_(None), WebhookState.leased_until < _now),
    )
    .values({WebhookState.leased_by: _ME, WebhookState.leased_until: _from_now(bindparam("lease", type_=Double))})
    .returning(WebhookState.webhook_id)
)
_RELEASE = (
    update(WebhookState)
    .where(WebhookState.leased_by == _ME)
    .values({WebhookState.leased_by: null(), WebhookState.leased_until: null()})
)


def read_endpoints(connection: Connection) -> list[Endpoint]:
    """All endpoints, those that are deleted or not enabled too."""
    rows = connection.execute(_ENDPOINTS)
    return [
        Endpoint._make([*row[:5], *(None if one is None else float(one) for one in row[5:7]), row[7]]) for row in rows
    ]


def make_states(connection: Connection, webhook_ids: Sequence[int]) -> None:
    """Make the states of endpoints that have none yet."""
    values = [{"webhook_id": webhook_id} for webhook_id in webhook_ids]
    connection.execute(upsert(WebhookState).values(values).on_conflict_do_nothing())


def lease(connection: Connection, webhook_ids: Sequence[int], me: str, seconds: float) -> set[int]:
    """Take, or keep for so many seconds more, those of these endpoints that no other process has. Returns which."""
    rows = connection.execute(_LEASE, {"ids": list(webhook_ids), "me": me, "lease": seconds})
    return {webhook_id for (webhook_id,) in rows}


def release(connection: Connection, me: str) -> None:
    """Leave all endpoints to whoever comes next."""
    connection.execute(_RELEASE, {"me": me})


class Health(NamedTuple):
    """What some attempts say of an endpoint: how many there were of each kind, in which order, and the last failure.

    `abandoned` are the messages that were given up.

    `is_failing`: the last one failed. `failures` is how many have failed in a row, `rest` for how many seconds it is
    left alone.
    """

    webhook_id: int
    delivered: int
    failed: int
    abandoned: int
    has_succeeded: bool
    is_failing: bool
    error: str | None
    failures: int
    rest: float


_health = recordset(Health, "health", _TYPES)
_NOTE = (
    update(WebhookState)
    .where(WebhookState.webhook_id == _health.c.webhook_id)
    .values(
        {
            WebhookState.delivered_count: WebhookState.delivered_count + _health.c.delivered,
            WebhookState.failed_count: WebhookState.failed_count + _health.c.failed,
            WebhookState.abandoned_count: WebhookState.abandoned_count + _health.c.abandoned,
            WebhookState.last_success_at: case((_health.c.has_succeeded, _now), else_=WebhookState.last_success_at),
            WebhookState.last_failure_at: case((_health.c.failed > 0, _now), else_=WebhookState.last_failure_at),
            WebhookState.last_error: func.coalesce(_health.c.error, WebhookState.last_error),
            WebhookState.failing_since: case(
                (~_health.c.is_failing, null()),
                (_health.c.has_succeeded, _now),
                else_=func.coalesce(WebhookState.failing_since, _now),
            ),
            WebhookState.failures: _health.c.failures,
            WebhookState.rests_until: _from_now(_health.c.rest),
        }
    )
    .returning(WebhookState.webhook_id, func.coalesce(-_left(WebhookState.failing_since), literal_column("0")))
    .execution_options(synchronize_session=False)
)


def note_health(connection: Connection, health: Sequence[Health]) -> dict[int, float]:
    """Put on record what attempts say of endpoints. Returns for how many seconds each has had nothing but failures."""
    rows = connection.execute(_NOTE, {"health": written(health)})
    return {webhook_id: float(seconds) for webhook_id, seconds in rows}


def disable(connection: Connection, webhook_id: int, reason: str) -> bool:
    """Send nothing more to an endpoint. Returns whether it was enabled."""
    changed = connection.execute(
        update(Webhook)
        .where(Webhook.webhook_id == webhook_id, Webhook.enabled, Webhook.deleted_at.is_(None))
        .values(
            {
                Webhook.enabled: false(),
                Webhook.disabled_reason: reason,
                Webhook.version: Webhook.version + literal_column("1"),
            }
        )
        .returning(Webhook.webhook_id)
    )
    return changed.first() is not None
