"""Verifying the user of an alert for somebody who waits: what is answered when that is not possible."""

from typing import NamedTuple

from routes.http.hooks import reader
from routes.http.problems import Problem
from routes.http.unknown import unknown_alert
from routes.schemas.proof import VerifyAnswer
from rules.hindsight.verify_report import VerifyReport
from rules.hindsight.verify_user import MOST_ACTIONS, WORK, TookTooLong, TooManyActions
from rules.overload import Overloaded

_INSTEAD = "The command `verify` has no such bound."
TOO_MANY = Problem(422, f"The alert's user has more than {MOST_ACTIONS:,} actions. {_INSTEAD}", kind="too-many-actions")
TOO_LONG = Problem(
    422, f"To derive the alerts of this user takes more than {WORK:g} s of work. {_INSTEAD}", kind="takes-too-long"
)


def verify(user_id: int, seq: int, code: int) -> VerifyReport:
    """What is found when all that is stored of the user with this alert is derived again.

    Raises Problem: 404 if there is no such alert, 422 if that would be too much; and Overloaded.
    """
    try:
        report = reader().verifier.verify(user_id, seq, code)
    except TooManyActions:
        raise TOO_MANY.anew() from None
    except TookTooLong:
        raise TOO_LONG.anew() from None
    if report is None:
        raise unknown_alert(user_id, seq, code)
    return report


class Verified(NamedTuple):
    """What a verification answers; or, in a sentence, why it was not done."""

    answer: VerifyAnswer | None
    why_not: str | None


def verified(user_id: int, seq: int, code: int) -> Verified:
    """The same for a page, which can say why there is none. Raises Problem 404."""
    try:
        return Verified(VerifyAnswer.of(verify(user_id, seq, code)), None)
    except Overloaded:
        return Verified(None, "Others are being verified just now. Try again in a moment.")
    except Problem as problem:
        if problem.kind not in (TOO_MANY.kind, TOO_LONG.kind):
            raise
        return Verified(None, problem.detail)
