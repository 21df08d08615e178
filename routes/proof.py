"""Proof: whether what is stored follows from the actions."""

from flask import Blueprint, Response

from routes.http.answers import json_answer
from routes.http.operation import Operation, describe
from routes.http.problems import DATABASE_AWAY, OVERLOADED
from routes.http.unknown import unknown_alert
from routes.http.verifying import TOO_LONG, TOO_MANY, verify
from routes.schemas.proof import VerifyAnswer

blueprint = Blueprint("alerts proof", __name__)


@blueprint.post("/alerts/<alert:alert_id>/verify")
@describe(
    Operation(
        needs="read",
        answers={200: VerifyAnswer},
        problems=(unknown_alert(7, 3, 123), TOO_MANY, TOO_LONG, DATABASE_AWAY, OVERLOADED),
    )
)
def verify_alert(alert_id: tuple[int, int, int]) -> Response:
    """Derive the alerts of an alert's user again.

    Each stored action of the user is judged again by the rules, rating and overrides that judged it first, late events
    as they came, and the result is compared with what is stored: alerts, their evidence, answered codes, running sums
    and totals. `same` is whether there is no difference at all; at most 1,000 are listed. Nothing is changed, and work
    on alerts plays no part in it.
    """
    return json_answer(VerifyAnswer.of(verify(*alert_id)))
