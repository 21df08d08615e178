"""Proof: whether what is stored follows from the actions."""

from flask import Blueprint, Response

from routes.http.answers import json_answer
from routes.http.hooks import service
from routes.http.operation import Operation, describe
from routes.http.problems import DATABASE_AWAY, OVERLOADED, Problem
from routes.http.unknown import unknown_alert
from routes.schemas.proof import VerifyAnswer
from rules.hindsight.verify_user import MOST_ACTIONS, WORK, TookTooLong, TooManyActions

blueprint = Blueprint("alerts proof", __name__)

_INSTEAD = "The command `verify` has no such bound."
TOO_MANY = Problem(422, f"The alert's user has more than {MOST_ACTIONS:,} actions. {_INSTEAD}", kind="too-many-actions")
TOO_LONG = Problem(
    422, f"To derive the alerts of this user takes more than {WORK:g} s of work. {_INSTEAD}", kind="takes-too-long"
)


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
    try:
        report = service().verifier.verify(*alert_id)
    except TooManyActions:
        raise TOO_MANY.anew() from None
    except TookTooLong:
        raise TOO_LONG.anew() from None
    if report is None:
        raise unknown_alert(*alert_id)
    return json_answer(VerifyAnswer.of(report))
