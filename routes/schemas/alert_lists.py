"""Queries of lists of alerts, and what is answered besides the alerts themselves."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from database.alert_counts import COUNTED
from database.alert_filters import AlertFilter
from routes.schemas.answer_fields import may_be_absent
from routes.schemas.fields import (
    AlertId,
    Code,
    Id,
    MomentText,
    Name,
    Page,
    Period,
    digits,
    flag,
    optional,
    query_filter,
)
from routes.schemas.words import AlertOutcome, AlertStatus, Order, Risk, WhichOnes
from rules.values import WHOLE_NUMBER

_WHICH_ONES = {"true": True, "false": False, "any": None}


class AlertFilters(Period):
    """Which alerts: those that match all filters given."""

    user_id: Annotated[Id | None, BeforeValidator(digits), query_filter("Alerts of this user.", 7)] = None
    code: Annotated[Code | None, BeforeValidator(digits), query_filter("Alerts of this rule.", 1100)] = None
    status: Annotated[AlertStatus | None, query_filter("Alerts with this status.", "open")] = None
    outcome: Annotated[AlertOutcome | None, query_filter("Alerts closed with this outcome.", "true_positive")] = None
    assignee: Annotated[
        Name | None,
        query_filter(
            "Alerts that this person has; `none`: those that nobody has. A claim that has lapsed does not count.",
            "none",
        ),
    ] = None
    risk: Annotated[Risk | None, query_filter("Alerts of users who now have this rating.", "normal")] = None
    late: Annotated[bool | None, BeforeValidator(flag), query_filter("Whether a late event raised them.", False)] = None
    superseded: Annotated[bool | None, BeforeValidator(flag), query_filter("Whether they no longer hold.", False)] = (
        None
    )
    closed: Annotated[bool | None, BeforeValidator(flag), query_filter("Whether they are closed.", False)] = None
    snoozed: Annotated[
        WhichOnes,
        Field(description="Alerts that are snoozed now: `false` leaves them out, `true` lists only them, `any` both."),
    ] = "false"
    muted: Annotated[
        WhichOnes,
        Field(description="Alerts whose user is muted for their rule now, in the same way."),
    ] = "false"
    touched_from: Annotated[
        MomentText | None,
        query_filter(
            "Alerts that were raised, superseded, reinstated or worked at or after this moment.", "2026-01-31T12:00:00Z"
        ),
    ] = None
    shadow: Annotated[
        bool, BeforeValidator(flag), Field(description="List only alerts of rules in shadow, instead of the others.")
    ] = False

    def filter(self) -> AlertFilter:
        """The filters as the database takes them."""
        asked = {name: value for name, value in self if name in AlertFilter._fields}
        return AlertFilter(**asked | {name: _WHICH_ONES[asked[name]] for name in ("snoozed", "muted")})


class OrderedAlerts(AlertFilters):
    """Which alerts, and in which order."""

    sort: Annotated[Order, Field(description="By the time of the action: newest or oldest first.")] = "newest"

    @property
    def oldest_first(self) -> bool:
        """Whether that is the order."""
        return self.sort == "oldest"


OLDEST = "oldest-"  # how a cursor of a list with the oldest first begins
_CURSOR = f"^({OLDEST})?{'-'.join([WHOLE_NUMBER] * 4)}$"


class AlertsQuery(OrderedAlerts, Page):
    """Which page of a list of alerts."""

    cursor: Annotated[
        str, optional("The `next` of the previous page.", pattern=_CURSOR, example="2000000000-7-1-1100")
    ] = ""


class CountsQuery(AlertFilters):
    """Which alerts to count, and of what apart."""

    by: Annotated[
        str,
        optional(
            "What to count apart: `status`, `code`, or both with a comma between them. Absent: all together.",
            pattern="^(status|code|status,code|code,status)$",
            example="status,code",
        ),
    ] = ""


class CountAnswer(BaseModel):
    """How many alerts there are of a kind."""

    status: AlertStatus | None = may_be_absent("With `by=status`.")
    code: Code | None = may_be_absent("With `by=code`.")
    count: Annotated[int, Field(ge=0, le=COUNTED, description="At least so many.")]
    more: Annotated[bool, Field(description="Whether there are more, or may be: not all were looked at.")]


class CountsAnswer(BaseModel):
    """How many alerts match, of each kind that has some: in the order of the statuses, and of the rules."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "counts": [
                        {"status": "open", "code": 1100, "count": 1000, "more": True},
                        {"status": "open", "code": 30, "count": 12, "more": False},
                    ]
                }
            ]
        }
    )

    counts: list[CountAnswer]


Side = Literal["previous", "next"]


class AroundAnswer(BaseModel):
    """The alerts before and after one in a list."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"previous": "7-4-123", "next": None}]})

    previous: Annotated[AlertId | None, Field(description="The one before it; null: none was found.")]
    next: Annotated[AlertId | None, Field(description="The one after it; null: none was found.")]
    broke_off: list[Side] | None = may_be_absent(
        "Where null does not mean that there is none: looking through very many others ended before one was found."
    )
