"""Requests to work many alerts at once or to take the next one, and what came of many."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from database.records import AlertKey
from routes.schemas.alert_lists import AlertFilters
from routes.schemas.alert_work import WorkNote, WorkRequest
from routes.schemas.alerts import alert_id
from routes.schemas.answer_fields import may_be_absent
from routes.schemas.fields import AlertId, MomentText, not_null
from routes.schemas.rules import ChangeRequest
from rules.payload import Payload
from work.bulk import MOST, BulkResult

_QUERY = {"query", "touched_before", "expect", "cursor"}
_BULK: JsonDict = {
    "ids": ["7-3-123", "7-4-123"],
    "set": {"status": "closed", "outcome": "false_positive"},
    "note": "The same transfer twice.",
}


class SetRequest(WorkRequest, ChangeRequest):
    """What to make of each of the alerts. What is left out stays as it is."""


class BulkRequest(Payload):
    """Which alerts to work, by `ids` or by `query`, and what to make of each.

    A query is that of the list; it comes with `touched_before`, so that nothing is changed that nobody can have seen.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_BULK]})

    ids: Annotated[list[AlertId], Field(min_length=1, max_length=MOST)] | None = not_null("Each once.")
    etags: dict[AlertId, Annotated[str, Field(max_length=100)]] | None = not_null(
        "For some of the `ids`, what If-Match would be: others are changed whatever they are."
    )
    query: AlertFilters | None = not_null("Filters of the list, by name.")
    touched_before: MomentText | None = not_null(
        "With `query`: leave out what was raised, superseded, reinstated or worked at or after this moment."
    )
    expect: Annotated[int, Field(ge=0, le=MOST)] | None = not_null(
        "With `query`: how many alerts this call must find, else nothing is done."
    )
    cursor: Annotated[str, Field(max_length=100, pattern="^[0-9]{1,19}(-[0-9]{1,19}){3}$")] | None = not_null(
        "With `query`: the `next` of the answer before, to go on."
    )
    set: SetRequest
    note: WorkNote | None = not_null("Why; it is kept in the history of each alert.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        sent = self.model_fields_set
        if ("ids" in sent) == ("query" in sent):
            raise PydanticCustomError("bulk", "must have either ids or query")
        if "ids" in sent and sent & (_QUERY - {"query"}):
            raise PydanticCustomError("bulk", "must have touched_before, expect and cursor only with query")
        if "query" in sent and ("touched_before" not in sent or "etags" in sent):
            raise PydanticCustomError("bulk", "must have touched_before with query, and no etags")
        if self.ids is not None and len({*self.ids}) < len(self.ids):
            raise PydanticCustomError("bulk", "must name each of ids once")
        if self.etags is not None and not {*self.etags} <= {*(self.ids or ())}:
            raise PydanticCustomError("bulk", "must have etags of ids only")
        return self


class BulkItemAnswer(BaseModel):
    """What came of one alert: 200 if it is as wanted now, 404, 409 if that does not fit it, 412 if it has changed."""

    id: AlertId
    status: Literal[200, 404, 409, 412]
    etag: str | None = may_be_absent("Of the alert as it is now.")
    detail: str | None = may_be_absent("Why it stays as it is.")

    @classmethod
    def of(cls, result: BulkResult) -> Self:
        """The answer about what came of one alert."""
        etag = None if result.version is None else f'"{result.version}"'
        return cls(id=alert_id(*result.key), status=result.status, etag=etag, detail=result.why)


class BulkAnswer(BaseModel):
    """What came of many alerts: how many there were, how many were changed, and each of them, in the order of `ids`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "matched": 1,
                    "changed": 1,
                    "results": [
                        {"id": "7-3-123", "status": 200, "etag": '"2"'},
                        {"id": "7-4-123", "status": 404, "detail": "There is no such alert."},
                    ],
                    "next": None,
                }
            ]
        }
    )

    matched: Annotated[int, Field(ge=0, le=MOST)]
    changed: Annotated[int, Field(ge=0, le=MOST)]
    results: list[BulkItemAnswer]
    next: Annotated[str | None, Field(description="With `query`: the cursor to go on with; null: that was all.")]


class NextRequest(Payload):
    """Which alerts are in question."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": {"user_id": 7}}]})

    query: AlertFilters | None = not_null("Filters of the list, by name.")


def key_of(alert_id: str) -> AlertKey:
    """The alert that an id names."""
    return AlertKey._make(map(int, alert_id.split("-")))
