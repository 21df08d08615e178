"""Requests and answers about saved views."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from database.models import SavedView
from routes.schemas.alert_lists import OrderedAlerts
from routes.schemas.answer_fields import AsStored, Moment
from routes.schemas.fields import Id, Page, cursor_of, optional
from rules.payload import Payload

_QUERY: JsonDict = {"status": "open", "risk": "high", "sort": "oldest"}
ViewName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]  # PostgreSQL stores no NUL


class SavedQuery(OrderedAlerts):
    """Filters and order of the list of alerts, by name: what `GET /alerts` takes, except for the page."""

    model_config = ConfigDict(strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_there(cls, value: object) -> object:
        if value is None:
            raise PydanticCustomError("null", "must not be null: leave it out")
        return value

    def written(self) -> dict[str, Any]:
        """What was asked for, as JSON that can be read again."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class ViewRequest(Payload):
    """A view to be saved: its name, which no other one of yours has, and whether others see it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "High risk, oldest first", "query": _QUERY, "shared": True}]}
    )

    name: ViewName
    query: SavedQuery
    shared: Annotated[bool, optional("Whether others see it too; false if it is left out.")] = False


class ViewAnswer(BaseModel):
    """A saved view: its `query` is what to send to `GET /alerts`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 1,
                    "name": "High risk, oldest first",
                    "owner": "Ada",
                    "shared": True,
                    "query": _QUERY,
                    "created_at": "2026-01-31T12:00:00.000000Z",
                }
            ]
        }
    )

    id: Id
    name: str
    owner: Annotated[str, Field(description="Who saved it: the name of a key.")]
    shared: bool
    query: Annotated[dict[str, Any], AsStored(SavedQuery)]
    created_at: Moment

    @classmethod
    def of(cls, view: SavedView) -> Self:
        """The answer about a stored view."""
        return cls(
            id=view.view_id,
            name=view.name,
            owner=view.owner,
            shared=view.shared,
            query=view.query,
            created_at=view.created_at,
        )


class ViewsAnswer(BaseModel):
    """A page of views, newest first, and the cursor of the next page (null on the last one)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "views": [
                        {
                            "id": 1,
                            "name": "Mine",
                            "owner": "Ada",
                            "shared": False,
                            "query": {"assignee": "Ada"},
                            "created_at": "2026-01-31T12:00:00.000000Z",
                        }
                    ],
                    "next": None,
                }
            ]
        }
    )

    views: list[ViewAnswer]
    next: str | None


class ViewsQuery(Page):
    """Which page of the views."""

    cursor: Annotated[str, cursor_of(1)] = ""
