"""Requests to work many alerts at once or to take the next one, and what came of many."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from database.records import AlertKey
from routes.schemas.alert_lists import AlertFilters
from routes.schemas.alert_work import WorkNote, WorkRequest
from routes.schemas.answer_fields import may_be_absent
from routes.schemas.fields import AlertId, MomentText, exactly_one, not_null
from routes.schemas.rules import ChangeRequest
from rules.payload import Payload
from rules.values import alert_id
from work.bulk import MOST, BulkResult

_QUERY = {"query", "touched_before", "expect", "cursor"}
_BULK: JsonDict = {
    "ids": ["7-3-123", "7-4-123"],
    "set": {"status": "closed", "outcome": "false_positive"},
    "note": "The same transfer twice.",
}


# In the query of a URL everything is text; here text is for what is neither a number nor true or false.
_TYPES: dict[str, type] = {
    **dict.fromkeys(("user_id", "code", "from", "to"), int),
    **dict.fromkeys(("late", "superseded", "closed", "shadow"), bool),
}
_SAID = {int: "a whole number", bool: "true or false", str: "text"}
_NAMES = {field.alias or name for name, field in AlertFilters.model_fields.items()}


def _typed(filters: object) -> object:
    for name, value in filters.items() if isinstance(filters, dict) else ():
        expected = _TYPES.get(name, str)
        if name in _NAMES and type(value) is not expected:
            raise PydanticCustomError("filter", "{name} must be {said}", {"name": name, "said": _SAID[expected]})
    return filters


Filters = Annotated[AlertFilters, BeforeValidator(_typed)]


_Ids = Annotated[list[AlertId], Field(min_length=1, max_length=MOST, json_schema_extra={"uniqueItems": True})]


def _each_once(ids: list[str] | None) -> list[str] | None:
    if ids is not None and len({*ids}) < len(ids):
        raise PydanticCustomError("ids", "must name each alert once")
    return ids


def _of_ids(etags: dict[str, str] | None, info: ValidationInfo) -> dict[str, str] | None:
    # If the ids are bad, that is said of them.
    ids = info.data.get("ids")
    if etags is not None and ids is not None and not {*etags} <= {*ids}:
        raise PydanticCustomError("etags", "must be of ids only")
    return etags


class SetRequest(WorkRequest, ChangeRequest):
    """What to make of each of the alerts. What is left out stays as it is."""


class BulkRequest(Payload):
    """Which alerts to work, by `ids` or by `query`, and what to make of each.

    A query is that of the list; with `touched_before` nothing is changed that its sender cannot have seen.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [_BULK],
            "dependentSchemas": exactly_one("set", ["ids"], ["query"]),
            "dependentRequired": {
                "touched_before": ["query"],
                "expect": ["query"],
                "cursor": ["query"],
                "etags": ["ids"],
            },
        }
    )

    ids: Annotated[_Ids | None, AfterValidator(_each_once)] = not_null("Each once.")
    etags: Annotated[dict[str, Annotated[str, Field(max_length=100)]] | None, AfterValidator(_of_ids)] = not_null(
        "For some of the `ids`, what If-Match would be: others are changed whatever they are."
    )
    query: Filters | None = not_null("Filters of the list, by name.")
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
    note: Annotated[WorkNote | None, Field(description="Why; it is kept in the history of each alert.")] = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        sent = self.model_fields_set
        if any(getattr(self, name) is None for name in sent - {"note"}):
            raise PydanticCustomError("bulk", "must have null for note alone")
        if ("ids" in sent) == ("query" in sent):
            raise PydanticCustomError("bulk", "must have either ids or query")
        if "ids" in sent and sent & (_QUERY - {"query"}):
            raise PydanticCustomError("bulk", "must have touched_before, expect and cursor only with query")
        if "query" in sent and "etags" in sent:
            raise PydanticCustomError("bulk", "must have etags only with ids")
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

    query: Annotated[Filters | None, Field(description="Filters of the list, by name.")] = None


def key_of(alert_id: str) -> AlertKey:
    """The alert that an id names."""
    return AlertKey._make(map(int, alert_id.split("-")))
