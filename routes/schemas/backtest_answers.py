"""Answers about backtests: what was asked, the progress, and what would have been raised."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from sqlalchemy import Row

from routes.schemas.alerts import EvidenceAnswer
from routes.schemas.answer_fields import AsStored, Moment, ParametersAnswer, may_be_absent
from routes.schemas.fields import AlertId, Code, Id, MoneyText, Seconds, optional
from routes.schemas.words import AlertOutcome, BacktestStatus, Risk

Progress = Annotated[float, Field(ge=0, le=1, description="The share of all actions judged so far, from 0 to 1.")]
Count = Annotated[int, Field(ge=0)]
# None: results that were stored by earlier releases do not have these.
_LOST = "How many of the removed alerts were closed as true. Older results do not have it."
_SPARED = "How many of the removed alerts were closed as false. Older results do not have it."
PerDay = Annotated[float, Field(ge=0, description="Alerts per day, on average over the days of the period.")]


class CandidateAnswer(BaseModel):
    """A rule as the backtest judged by it; `version` is the version that was in force when the backtest was started."""

    code: Code
    version: Id
    parameters: ParametersAnswer
    by_risk: dict[Risk, ParametersAnswer]


class SweepAnswer(BaseModel):
    """The values that a parameter of a rule took in turn."""

    rule: Code
    parameter: str
    values: list[MoneyText | int]


class QuestionAnswer(BaseModel):
    """The request, with what it left out filled in."""

    rules: list[CandidateAnswer]
    start: Annotated[Seconds, Field(alias="from")]
    end: Annotated[Seconds, Field(alias="to")]
    sweep: SweepAnswer | None = may_be_absent()
    at_most_per_day: Count | None = may_be_absent()


class BusiestDayAnswer(BaseModel):
    """The day with the most alerts (the first, if there are several): its first and last second."""

    start: Annotated[Seconds, Field(alias="from")]
    end: Annotated[int, Field(alias="to", ge=0)]
    alerts: Count


class BacktestFiguresAnswer(BaseModel):
    """How many alerts there are, and how many users have any."""

    alerts: Count
    users: Count
    alerts_per_day: PerDay
    busiest_day: BusiestDayAnswer | None


class SweepStepAnswer(BaseModel):
    """What one value of the sweep would have raised."""

    value: MoneyText | int
    alerts: Count
    users: Count
    alerts_per_day: PerDay
    added: Count
    removed: Count
    true_lost: Count | None = may_be_absent(_LOST)
    false_spared: Count | None = may_be_absent(_SPARED)


class SampleAnswer(BaseModel):
    """An alert that would have been added."""

    id: AlertId
    user_id: Id
    seq: Id
    code: Code
    time: Seconds
    evidence: EvidenceAnswer


class RemovedSampleAnswer(SampleAnswer):
    """A stored alert that would not have been raised, with the evidence that is stored."""

    outcome: Annotated[
        AlertOutcome | None,
        optional("What it turned out to be; null unless it is closed. Older results do not have it."),
    ] = None


class ResultAnswer(BaseModel):
    """What the rules would have raised with the settings asked for, compared with their stored alerts that stand."""

    actions: Annotated[Count, Field(description="How many actions were judged.")]
    users: Annotated[Count, Field(description="How many users they belong to.")]
    start: Annotated[Seconds | None, Field(alias="from", description="The time of the oldest action in the period.")]
    end: Annotated[Seconds | None, Field(alias="to", description="The time of the newest action in the period.")]
    days: Annotated[int, Field(ge=1, description="On how many days there are actions; at least 1.")]
    left_out: Count | None = may_be_absent(
        "How many actions the rules cannot judge, since they were judged first with others that have been pruned: what "
        "they raised and would raise counts nowhere. Older results do not have it."
    )
    warnings: Annotated[
        list[str] | None, optional("What casts doubt on the figures: sentences. Older results do not have it.")
    ] = None
    then: Annotated[BacktestFiguresAnswer, Field(description="What is stored.")]
    now: Annotated[BacktestFiguresAnswer, Field(description="What would have been raised.")]
    added: Count
    removed: Count
    true_lost: Count | None = may_be_absent(_LOST)
    false_spared: Count | None = may_be_absent(_SPARED)
    true_positives: Count | None = may_be_absent(
        "How many of the stored alerts were closed as true. Older results do not have it."
    )
    false_positives: Count | None = may_be_absent(
        "How many of the stored alerts were closed as false. Older results do not have it."
    )
    added_alerts: Annotated[list[SampleAnswer], Field(description="At most 20 of the added alerts.")]
    removed_alerts: Annotated[
        list[RemovedSampleAnswer],
        Field(description="At most 20 of the removed alerts; first those that were closed as true."),
    ]
    sweep: list[SweepStepAnswer] | None = may_be_absent()
    # Left out if it was not asked for; null if there is no such value.
    quiet_enough: Annotated[
        MoneyText | int | None,
        optional("The first value of the sweep with at most `at_most_per_day` alerts a day, if any."),
    ] = None


_EVIDENCE: JsonDict = {
    "rule_version": 1,
    "measured": "160.00",
    "parameters": {"threshold": "150.00", "window": 30},
    "origin": {"threshold": "default", "window": "default"},
    "actions": [1, 2],
    "sentence": "Deposits of 160.00 between 10 and 20 are over 150.00 in 30 s.",
}
_SUMMARY: JsonDict = {
    "id": 1,
    "status": "done",
    "progress": 1.0,
    "request": {
        "rules": [{"code": 123, "version": 1, "parameters": {"threshold": "150.00", "window": 30}, "by_risk": {}}],
        "from": 0,
        "to": 2_000_000_000,
        "sweep": {"rule": 123, "parameter": "threshold", "values": ["100.00", "200.00", "300.00", "400.00"]},
        "at_most_per_day": 20,
    },
    "error": None,
    "created_at": "2026-01-31T12:00:00.000000Z",
    "finished_at": "2026-01-31T12:00:02.000000Z",
}
_NONE: JsonDict = {"alerts": 0, "users": 0, "alerts_per_day": 0.0}
_ONE: JsonDict = {"alerts": 1, "users": 1, "alerts_per_day": 1.0}
_NONE_CLOSED: JsonDict = {"true_lost": 0, "false_spared": 0}
_DETAIL: JsonDict = _SUMMARY | {
    "result": {
        "actions": 2,
        "users": 1,
        "from": 10,
        "to": 20,
        "days": 1,
        "left_out": 0,
        "warnings": [],
        "then": _NONE | {"busiest_day": None},
        "now": _ONE | {"busiest_day": {"from": 0, "to": 86399, "alerts": 1}},
        "added": 1,
        "removed": 0,
        "true_lost": 0,
        "false_spared": 0,
        "true_positives": 0,
        "false_positives": 0,
        "added_alerts": [{"id": "7-2-123", "user_id": 7, "seq": 2, "code": 123, "time": 20, "evidence": _EVIDENCE}],
        "removed_alerts": [],
        "sweep": [
            {"value": "100.00", **_ONE, "added": 1, "removed": 0, **_NONE_CLOSED},
            *(
                {"value": value, **_NONE, "added": 0, "removed": 0, **_NONE_CLOSED}
                for value in ("200.00", "300.00", "400.00")
            ),
        ],
        "quiet_enough": "100.00",
    }
}


class BacktestAnswer(BaseModel):
    """A backtest: what was asked, and its progress."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SUMMARY]})

    id: Id
    status: BacktestStatus
    progress: Progress
    request: Annotated[dict[str, Any], AsStored(QuestionAnswer)]
    error: Annotated[str | None, Field(description="Why it failed.")]
    created_at: Moment
    finished_at: Moment | None

    @classmethod
    def of(cls, row: Row[*tuple[Any, ...]], **more: Any) -> Self:
        """The answer about a stored backtest; `more` has the members that are not taken from `row`."""
        return cls(
            id=row.backtest_id,
            status=row.status,
            progress=1.0 if row.status == "done" else min(1.0, round(row.done / row.total, 4)) if row.total else 0.0,
            request=row.request,
            error=row.error,
            created_at=row.created_at,
            finished_at=row.finished_at,
            **more,
        )


class BacktestDetailAnswer(BacktestAnswer):
    """A backtest with its result (null until it is done)."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DETAIL]})

    result: Annotated[dict[str, Any], AsStored(ResultAnswer)] | None


class BacktestsAnswer(BaseModel):
    """A page of backtests, newest first, and the cursor of the next page (null on the last one)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"backtests": [_SUMMARY], "next": None}]})

    backtests: list[BacktestAnswer]
    next: str | None
