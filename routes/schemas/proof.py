"""The answer of a verification of one user."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from routes.schemas.answer_fields import may_be_absent
from routes.schemas.fields import AlertId, Code, Id
from rules.hindsight.verify_report import LISTED, Difference, VerifyReport
from rules.values import alert_id

_SAME: JsonDict = {"same": True, "derived_from": 214, "differences": []}


class DifferenceAnswer(BaseModel):
    """Something stored that does not follow from the user's actions, or something that follows and is not stored."""

    alert: Annotated[AlertId | None, Field(description="The alert; null if it is about an action or the user.")]
    seq: Annotated[Id | None, Field(description="The action; null if it is about the user.")]
    code: Code | None
    field: Annotated[
        str | None,
        Field(
            description="What differs: `alert` (it is missing, or should not be there), `code`, `superseded`, `time`, "
            "`late`, `shadow` or `evidence` of an alert; `alert_codes` or `running` (count and sum) of an action; "
            "`totals` of the user; null if it is none of these."
        ),
    ]
    stored: Annotated[Any, Field(description="What is stored there.")]
    follows: Annotated[Any, Field(description="What follows from the actions.")]
    detail: Annotated[str, Field(description="The same in a sentence.")]

    @classmethod
    def of(cls, one: Difference) -> Self:
        """The answer about a difference."""
        of_alert = one.seq is not None and one.code is not None
        return cls(
            alert=alert_id(one.user_id, one.seq or 0, one.code or 0) if of_alert else None,
            seq=one.seq,
            code=one.code,
            field=one.field,
            stored=one.stored,
            follows=one.follows,
            detail=one.what,
        )


class UnprovedAnswer(BaseModel):
    """Stored alerts that were raised with actions that have been pruned, so that not all about them can be derived."""

    alerts: Annotated[int, Field(ge=1, description="How many alerts of the user.")]
    this_alert: Annotated[bool, Field(description="Whether the alert that was asked about is one of them.")]

    @classmethod
    def of(cls, report: VerifyReport) -> Self:
        """The answer about one user."""
        return cls(alerts=report.unproved, this_alert=report.asked_is_unproved)


class VerifyAnswer(BaseModel):
    """Whether all that is stored of the alert's user follows from the user's actions, and every difference."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SAME]})

    same: bool
    derived_from: Annotated[int, Field(ge=0, description="How many actions of the user are there.")]
    differences: Annotated[list[DifferenceAnswer], Field(max_length=LISTED)]
    unproved: UnprovedAnswer | None = may_be_absent(
        "What could not be derived, since it was raised with actions that have been pruned; left out if there is none."
    )
    more: bool | None = may_be_absent("Always true. There are further differences, which are not listed.")

    @classmethod
    def of(cls, report: VerifyReport) -> Self:
        """The answer about one user."""
        return cls(
            same=report.found == 0,
            derived_from=report.actions,
            differences=[DifferenceAnswer.of(one) for one in report.differences],
            unproved=UnprovedAnswer.of(report) if report.unproved else None,
            more=True if report.found > len(report.differences) else None,
        )
