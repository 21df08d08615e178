"""How `POST /event` is answered, by either door: its paths, and the answer that an outcome makes."""

from functools import lru_cache
from typing import Any

from routes.http.answers import Answer, json_bytes
from routes.http.problems import Problem
from rules.model import DryRun, Outcome, Refusal, Verdict
from rules.registry import title_of
from rules.wording import shown_evidence

PATHS = ("/event", "/api/events")
STATUS = {
    "unknown_user": 404,
    "overdraft": 409,
    "out_of_order": 409,
    "too_far_ahead": 409,
    "too_late": 409,
    "event_id_conflict": 409,
    "pruned": 409,
    "user_full": 409,
    "unavailable": 503,
}

REMEMBERED = 1_024  # sets of codes: there are few rules, of which few fire together

_STORED = {"Content-Type": "application/json"}
_REPLAYED = _STORED | {"Idempotent-Replayed": "true"}


def answer_with(outcome: Outcome) -> Answer:
    """The answer to a `POST /event` with that outcome. Raises Problem if the event was refused."""
    if isinstance(outcome, Refusal):
        raise problem_of(outcome)
    return Answer(
        200, _REPLAYED if outcome.replayed else _STORED, b"%b%d}\n" % (_begun(outcome.codes), outcome.user_id)
    )


def dry_run_answer(found: DryRun, time_is_epoch: bool) -> Answer:
    """The same for an event that was judged but not stored, with the evidence for each code.

    `time_is_epoch`: times are seconds since 1970, and shown as dates where they are part of a text.
    """
    answer = answer_with(found.outcome)
    assert isinstance(found.outcome, Verdict)
    alerts = [
        {"code": code, "title": title_of(code, evidence), "evidence": shown_evidence(evidence, time_is_epoch)}
        for code in found.outcome.codes
        if (evidence := found.evidence.get(code)) is not None
    ]
    more = {"dry_run": True, "alerts": alerts}
    return answer._replace(body=json_bytes(decision_of(found.outcome) | more))


def problem_of(refusal: Refusal) -> Problem:
    """The problem that answers a refused event."""
    return Problem(STATUS[refusal.reason], refusal.detail, kind=refusal.reason.replace("_", "-"))


@lru_cache(maxsize=REMEMBERED)
def _begun(codes: tuple[int, ...]) -> bytes:
    """An answer with these codes, up to the number of the user, which comes last."""
    return json_bytes(decision_of(Verdict(0, codes))).removesuffix(b"0}\n")


def decision_of(verdict: Verdict) -> dict[str, Any]:
    """What the answer to a stored event says."""
    return {"alert": bool(verdict.codes), "alert_codes": verdict.codes, "user_id": verdict.user_id}


def written_decision(verdict: Verdict) -> bytes:
    """The same as JSON, without the braces."""
    return b"%b%d" % (_begun(verdict.codes)[1:], verdict.user_id)
