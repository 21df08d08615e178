"""Queries and answers about the log of all changes."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from database.change_log import ALERT, LogFilter, LogLine
from database.log_entries import KINDS
from routes.schemas.answer_fields import Moment
from routes.schemas.fields import MomentText, Name, Page, Query, optional, query_filter
from rules.values import WHOLE_NUMBER

LogKind = Literal["alert", "rule", "user", "key", "mute", "view", "backtest", "export", "sign-in", "prune", "webhook"]
assert LogKind.__args__ == (ALERT, *KINDS)  # type: ignore[attr-defined]

_LINE: JsonDict = {
    "at": "2026-01-31T12:00:00.000000Z",
    "who": "Ada",
    "kind": "alert",
    "subject": "7-3-123",
    "what": "status",
    "from": "open",
    "to": "acknowledged",
    "note": "I know this customer.",
}
CSV_EXAMPLE = ",".join(_LINE) + "\r\n" + ",".join(map(str, _LINE.values())) + "\r\n"


def _not_before(end: datetime | None, info: ValidationInfo) -> datetime | None:
    start = info.data.get("start")
    if end is not None and start is not None and end < start:
        raise PydanticCustomError("period", "must not be before from")
    return end


class LogFilters(Query):
    """Which changes: those that match all filters given."""

    who: Annotated[Name | None, query_filter("Changes by this caller.", "Ada")] = None
    kind: Annotated[LogKind | None, query_filter("Changes of this kind.", "rule")] = None
    start: Annotated[MomentText | None, query_filter("The earliest moment (RFC 3339).", "2026-01-31T12:00:00Z")] = (
        Field(None, alias="from")
    )
    end: Annotated[
        MomentText | None,
        AfterValidator(_not_before),
        query_filter("The latest moment (RFC 3339), included.", "2999-01-31T12:00:00Z"),
    ] = Field(None, alias="to")

    def filter(self) -> LogFilter:
        """The filters as the database takes them."""
        return LogFilter(who=self.who, kind=self.kind, start=self.start, end=self.end)


CURSOR = f"^{WHOLE_NUMBER}-(0-{WHOLE_NUMBER}|1-{'-'.join([WHOLE_NUMBER] * 4)})$"


class LogQuery(LogFilters, Page):
    """Which page of the log."""

    cursor: Annotated[
        str, optional("The `next` of the previous page.", pattern=CURSOR, example="1769860800000000-0-17")
    ] = ""


class LogLineAnswer(BaseModel):
    """Who did what, when; from and to are what it was and is, null for nothing."""

    at: Moment
    who: Annotated[str, Field(description="The name of the key; `anonymous` without keys.")]
    kind: LogKind
    subject: Annotated[str, Field(description="Of what kind says: the id of an alert, user, key, … or a rule's code.")]
    what: Annotated[str, Field(description="What was done; of an alert, what of it was changed.")]
    before: Annotated[Any, Field(alias="from", description="What it was.")]
    after: Annotated[Any, Field(alias="to", description="What it is.")]
    note: str | None

    @classmethod
    def of(cls, line: LogLine) -> Self:
        """The answer about a line."""
        return cls.model_validate(
            {
                "at": line.at,
                "who": line.who,
                "kind": line.kind,
                "subject": subject_of(line),
                "what": line.what,
                "from": _value(line, line.before),
                "to": _value(line, line.after),
                "note": line.note,
            }
        )


def subject_of(line: LogLine) -> str:
    """What was changed; of alerts, the alert's id."""
    return "-".join(map(str, line.place[:3])) if line.kind == ALERT else line.subject or ""


def _value(line: LogLine, text: str | None) -> Any:
    return text if text is None or line.kind == ALERT else json.loads(text)


COLUMNS: Mapping[str, Callable[[LogLine], Any]] = {
    "at": lambda line: line.at,
    "who": lambda line: line.who,
    "kind": lambda line: line.kind,
    "subject": subject_of,
    "what": lambda line: line.what,
    "from": lambda line: line.before,
    "to": lambda line: line.after,
    "note": lambda line: line.note,
}


class LogAnswer(BaseModel):
    """A page of the log, newest first, and the cursor of the next page (null on the last one)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"log": [_LINE], "next": None}]})

    log: list[LogLineAnswer]
    next: str | None
