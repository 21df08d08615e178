"""Requests to mute a user's alerts of a rule, and answers about mutes."""

from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from routes.schemas.answer_fields import Moment
from routes.schemas.fields import Code, Id, MomentText
from routes.schemas.rules import Note
from rules.payload import Payload
from work.mutes import LONGEST, MuteInForce

_MUTE: JsonDict = {
    "user_id": 7,
    "code": 1100,
    "until": "2026-03-01T00:00:00.000000Z",
    "note": "Sells a house.",
    "who": "ada",
    "created_at": "2026-01-31T12:00:00.000000Z",
}


class MuteAnswer(BaseModel):
    """A user's alerts of one rule stay out of lists, counts and the queue until a moment."""

    model_config = ConfigDict(json_schema_extra={"examples": [_MUTE]})

    user_id: Id
    code: Code
    until: Moment
    note: str | None
    who: Annotated[str, Field(description="Who has set it.")]
    created_at: Annotated[Moment, Field(description="When that was.")]

    @classmethod
    def of(cls, mute: MuteInForce) -> Self:
        """The answer about a stored mute."""
        return cls(**mute._asdict())


class MutesAnswer(BaseModel):
    """A user's mutes in force, by code."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"mutes": [_MUTE]}]})

    mutes: list[MuteAnswer]


class MuteRequest(Payload):
    """Until when, and why."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"until": _MUTE["until"], "note": _MUTE["note"]}]})

    # What was read can be changed and sent back once these are taken out.
    read_only: ClassVar = frozenset(MuteAnswer.model_fields) - {"until", "note"}

    until: Annotated[MomentText, Field(description=f"In the future, and at most {LONGEST.days} days ahead.")]
    note: Annotated[Note | None, Field(description="Why.")] = None
