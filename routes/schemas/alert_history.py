"""Answers about what has been done about an alert."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from typing_extensions import TypeAliasType

from database.models import AlertChange
from routes.schemas.answer_fields import Moment
from routes.schemas.fields import Id, Page, cursor_of

LINE: JsonDict = {
    "n": 1,
    "at": "2026-01-31T12:00:00.000000Z",
    "who": "Ada",
    "what": "assignee",
    "from": None,
    "to": "Ada",
    "note": "I know this customer.",
}

What = TypeAliasType(
    "What",
    Annotated[
        Literal["status", "outcome", "assignee", "snoozed_until", "note"],
        Field(description="What of an alert was changed; `note`: nothing, but something was noted."),
    ],
)


class HistoryLineAnswer(BaseModel):
    """One change of one thing, or a note; `n` counts an alert's lines from 1, without gaps."""

    n: Id
    at: Moment
    who: Annotated[str, Field(description="The name of the key; `service`: the service by itself.")]
    what: What
    before: Annotated[str | None, Field(alias="from")]
    after: Annotated[str | None, Field(alias="to")]
    note: str | None

    @classmethod
    def of(cls, line: AlertChange) -> Self:
        """The answer about a stored line."""
        return cls.model_validate(
            {
                "n": line.n,
                "at": line.at,
                "who": line.who,
                "what": line.what,
                "from": line.before,
                "to": line.after,
                "note": line.note,
            }
        )


class HistoryAnswer(BaseModel):
    """A page of an alert's history, newest first, and the cursor of the next page (null on the last one)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"history": [LINE], "next": None}]})

    history: list[HistoryLineAnswer]
    next: str | None


class HistoryQuery(Page):
    """Which page of an alert's history."""

    cursor: Annotated[str, cursor_of(1)] = ""
