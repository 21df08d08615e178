"""Answers about a user's actions."""

from typing import Annotated, Self, cast

from pydantic import BaseModel, ConfigDict

from database.models import UserAction
from routes.schemas.fields import Id, MoneyText, PageQuery, Seconds, cursor_of
from routes.schemas.words import ActionType
from rules import model


class ActionAnswer(BaseModel):
    """One stored action; `seq` counts its user's actions in order of arrival, from 1."""

    seq: Id
    type: ActionType
    amount: MoneyText
    time: Seconds
    event_id: str | None

    @classmethod
    def of(cls, action: UserAction) -> Self:
        """The answer about a stored action."""
        return cls(
            seq=action.seq,
            type=cast(model.ActionType, action.type),
            amount=str(action.amount),
            time=action.time,
            event_id=action.event_id,
        )


class ActionsAnswer(BaseModel):
    """A page of actions, newest first, and the cursor of the next page (null on the last one)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "actions": [{"seq": 1, "type": "deposit", "amount": "42.00", "time": 10, "event_id": None}],
                    "next": None,
                }
            ]
        }
    )

    actions: list[ActionAnswer]
    next: str | None


class ActionsQuery(PageQuery):
    """Which of a user's actions to list."""

    cursor: Annotated[str, cursor_of(2)] = ""
