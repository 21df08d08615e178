"""Requests to work alerts: what to change, and notes."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from database.alert_filters import NOBODY
from routes.schemas.alerts import AlertDetailAnswer
from routes.schemas.fields import MomentText, optional
from routes.schemas.rules import ChangeRequest
from routes.schemas.words import AlertOutcome, AlertStatus
from rules.payload import Payload
from work.change import Wanted


def _is_somebody(name: str) -> str:
    if name == NOBODY or not name.isprintable() or name != name.strip():
        raise PydanticCustomError("assignee", "must be printable, without space around it, and not none")
    return name


Assignee = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_is_somebody)]
WorkNote = Annotated[str, Field(min_length=1, max_length=4000, pattern=r"^[^\x00]*$")]

_CHANGE: JsonDict = {"status": "acknowledged", "assignee": "Ada", "note": "Called the customer."}


class WorkRequest(Payload):
    """What to make of an alert. What is left out stays as it is."""

    status: Annotated[AlertStatus, optional("Closing needs an outcome; opening again takes it away.")] = "open"
    outcome: Annotated[AlertOutcome, optional("For an alert that is closed.")] = "inconclusive"
    assignee: Annotated[Assignee | None, optional("Who works on it; null: nobody.")] = None
    snoozed_until: Annotated[
        MomentText | None, optional("Until then it is left out of lists. In the future, or null. Closing ends it.")
    ] = None

    def wanted(self) -> Wanted:
        """The fields that were sent."""
        return {name: getattr(self, name) for name in WorkRequest.model_fields if name in self.model_fields_set}


class AlertChangeRequest(WorkRequest, ChangeRequest):
    """What to make of an alert, and why. What is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "examples": [_CHANGE]})

    # What was read can be changed and sent back once these are taken out.
    read_only: ClassVar = frozenset(AlertDetailAnswer.model_fields) - WorkRequest.model_fields.keys()

    note: Annotated[WorkNote | None, Field(description="Why; it is kept in the history.")] = None


class NoteRequest(Payload):
    """Something to be kept in the history of an alert."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": "The customer calls back on Monday."}]})

    note: WorkNote
