"""What becomes of a message after an attempt, and what the attempt says of its endpoint."""

import random
from collections.abc import Mapping, Sequence

import structlog
from sqlalchemy.orm import Session

from database.deliveries import Claimed, Ended, end_attempts
from database.session import Transaction
from database.webhook_states import Health, note_health
from work import webhook_schedule as schedule
from work.webhook_line import AttemptResult
from work.webhook_sender import Attempted

log = structlog.get_logger()


def store_outcomes(session: Session, results: Sequence[AttemptResult], failures: Mapping[int, int]) -> dict[int, float]:
    """Store what came of attempts in one transaction.

    `failures`: how many attempts in a row had failed before at each endpoint. Returns for how many seconds each of
    them has had nothing but failures.
    """
    ended: list[Ended] = []
    health: dict[int, Health] = {}
    for claimed, attempted in results:
        one = _unsent(claimed) if attempted is None else _ended(claimed, attempted)
        ended.append(one)
        if attempted is not None:
            webhook_id = claimed.webhook_id
            before = health.get(webhook_id) or _nothing_yet(webhook_id, failures.get(webhook_id, 0))
            health[webhook_id] = _health(before, one, attempted)
    with Transaction(session) as transaction:
        end_attempts(transaction.connection, ended)
        failing = note_health(transaction.connection, list(health.values()))
        transaction.commit()
    for one in ended:
        if one.becomes == "given_up":
            log.warning("webhook_message_given_up", delivery=one.delivery_id, status=one.status, error=one.error)
    return failing


def _chance() -> float:
    return random.random()  # noqa: S311 (no secret)


def pause_if_lost(attempts: int) -> float:
    """In how many seconds a message is sent again if nobody hears of what came of this attempt."""
    last = len(schedule.SCHEDULE) - 1
    pause = schedule.pause_after(min(attempts, last), _chance(), None)
    assert pause is not None
    return pause


def _ended(claimed: Claimed, attempted: Attempted) -> Ended:
    pause = None
    if schedule.is_success(attempted.status):
        becomes = "delivered"
    else:
        pause = schedule.pause_after(claimed.attempts, _chance(), attempted.asked)
        becomes = "given_up" if pause is None else "waiting"
    return Ended(
        delivery_id=claimed.delivery_id,
        n=claimed.n,
        attempts=claimed.attempts,
        seconds=round(attempted.seconds, 4),
        status=attempted.status,
        error=attempted.error,
        becomes=becomes,
        pause=pause,
    )


def _unsent(claimed: Claimed) -> Ended:
    return Ended(
        delivery_id=claimed.delivery_id,
        n=claimed.n,
        attempts=claimed.attempts,
        seconds=0.0,
        status=None,
        error="not sent: the process stopped or was late",
        becomes="unsent",
        pause=0.0,
    )


def _nothing_yet(webhook_id: int, failures: int) -> Health:
    return Health(
        webhook_id,
        delivered=0,
        failed=0,
        abandoned=0,
        has_succeeded=False,
        is_failing=False,
        error=None,
        failures=failures,
        rest=0.0,
    )


def _health(before: Health, ended: Ended, attempted: Attempted) -> Health:
    """What is known of an endpoint after one more attempt."""
    if ended.becomes == "delivered":
        return before._replace(
            delivered=before.delivered + 1, has_succeeded=True, is_failing=False, failures=0, rest=0.0
        )
    failures = before.failures + 1
    return before._replace(
        failed=before.failed + 1,
        abandoned=before.abandoned + (ended.becomes == "given_up"),
        is_failing=True,
        error=attempted.error or f"status {attempted.status}",
        failures=failures,
        rest=schedule.rest_of_endpoint(failures, _chance(), attempted.asked),
    )
