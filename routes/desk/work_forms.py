"""What forms say of how to work alerts, one or many."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from database.alert_filters import NOBODY
from routes.schemas.alert_work import Assignee, WorkNote
from routes.schemas.words import AlertOutcome
from rules.payload import validator
from rules.values import MAX_ID, read_moment
from work.change import Faults, Wanted, faults, faults_of_taking

Do = Literal["take", "close", "open", "assign", "mine", "drop", "note", "snooze", "wake", "undo"]
Then = Literal["next", "stay", "list", "row"]

SNOOZES = {"1h": timedelta(hours=1), "4h": timedelta(hours=4), "tomorrow": timedelta(days=1), "week": timedelta(days=7)}
LONGEST_LIST = 2_000  # characters of the query of a list
_WITHOUT_ZONE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}")  # as browsers send a moment


def _until(written: object) -> object:
    if not isinstance(written, str):
        return written
    if written in SNOOZES:
        return datetime.now(UTC) + SNOOZES[written]
    # Without a script nobody knows the reader's zone, and the form says UTC.
    return _moment(f"{written}:00Z" if _WITHOUT_ZONE.fullmatch(written) else written)


_moment = validator(read_moment)


def _one_kind_of_line(note: object) -> object:
    return note.replace("\r\n", "\n") if isinstance(note, str) else note


def _somebody(name: object) -> object:
    return None if name == NOBODY else name


class WorkForm(BaseModel):
    """What to make of alerts, and why. A button says `do`, or that one means to close them, or to snooze them."""

    model_config = ConfigDict(frozen=True)

    do: Do | None = None
    outcome: AlertOutcome | None = None
    assignee: Annotated[Assignee | None, BeforeValidator(_somebody)] = None
    until: Annotated[datetime | None, BeforeValidator(_until)] = None
    note: Annotated[WorkNote | None, BeforeValidator(_one_kind_of_line)] = None

    @property
    def act(self) -> Do:
        """What to do."""
        return self.do or ("close" if self.outcome else "snooze" if self.until else "note")

    @model_validator(mode="after")
    def _has_what_it_takes(self) -> Self:
        field, why = _NEEDED.get(self.act, (None, ""))
        if field and field not in self.model_fields_set:
            raise PydanticCustomError("needed", "{why}", {"why": why})
        return self

    def wanted(self, who: str) -> Wanted:
        """What `who` sends it wants; nothing for a note alone, nor for undoing, which depends on the history."""
        changes: dict[Do, Wanted] = {
            "take": {"status": "acknowledged", "assignee": who},
            "close": {"status": "closed", "outcome": self.outcome},
            "open": {"status": "open"},
            "assign": {"assignee": self.assignee},
            "mine": {"assignee": who},
            "drop": {"assignee": None},
            "snooze": {"snoozed_until": self.until},
            "wake": {"snoozed_until": None},
        }
        return changes.get(self.act, {})

    @property
    def faults_of(self) -> Faults:
        """What says whether that can be done with an alert as it is."""
        return faults_of_taking if self.act == "take" else faults


_NEEDED: dict[Do, tuple[str, str]] = {
    "close": ("outcome", "Say with which outcome."),
    "assign": ("assignee", "Say to whom."),
    "snooze": ("until", "Say until when."),
    "note": ("note", "There is no note."),
}


class AlertForm(WorkForm):
    """What to make of one alert that was seen at the version `etag`, and where to go then.

    `list` is the query of the list one came from. To undo is to undo the lines of history from `first` to `last`.
    """

    etag: Annotated[int, Field(ge=0, le=MAX_ID)]
    first: Annotated[int, Field(ge=1, le=MAX_ID)] = 1
    last: Annotated[int, Field(ge=0, lt=MAX_ID)] = 0
    list: Annotated[str, Field(max_length=LONGEST_LIST)] = ""
    then: Then = "stay"
