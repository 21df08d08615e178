"""How `POST /event` is answered, by either door: its paths, and the answer that an outcome makes."""

from typing import Any

from routes.http.answers import Answer, json_bytes
from routes.http.problems import Problem
from rules.model import Outcome, Refusal, Verdict

PATHS = ("/event", "/api/events")
STATUS = {
    "unknown_user": 404,
    "overdraft": 409,
    "out_of_order": 409,
    "too_far_ahead": 409,
    "too_late": 409,
    "event_id_conflict": 409,
    "user_full": 409,
    "unavailable": 503,
}

_STORED = {"Content-Type": "application/json"}
_REPLAYED = _STORED | {"Idempotent-Replayed": "true"}


def answer_with(outcome: Outcome) -> Answer:
    """The answer to a `POST /event` with that outcome. Raises Problem if the event was refused."""
    if isinstance(outcome, Refusal):
        raise problem_of(outcome)
    return Answer(200, _REPLAYED if outcome.replayed else _STORED, json_bytes(decision_of(outcome)))


def problem_of(refusal: Refusal) -> Problem:
    """The problem that answers a refused event."""
    return Problem(STATUS[refusal.reason], refusal.detail, kind=refusal.reason.replace("_", "-"))


def decision_of(verdict: Verdict) -> dict[str, Any]:
    """What the answer to a stored event says."""
    return {"alert": bool(verdict.codes), "alert_codes": verdict.codes, "user_id": verdict.user_id}
