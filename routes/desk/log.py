"""The log: every change by people and keys, newest first, with filters."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Self
from urllib.parse import urlencode

from flask import Blueprint, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from database.change_log import LogFilter, LogPlace, page_of_log
from routes.desk.forms import read_filters
from routes.desk.log_rows import KINDS, LogRow
from routes.desk.shell import page
from routes.http.access import caller
from routes.http.hooks import service
from routes.http.operation import needs
from routes.http.pages import DESK
from routes.schemas.fields import Name
from routes.schemas.log import CURSOR, LogKind
from rules.values import MAX_ID, written_moment

blueprint = Blueprint("desk_log", __name__, template_folder="../templates")

ROWS = 50

_LAST_MOMENT = timedelta(days=1) - timedelta(microseconds=1)  # of a day, from its beginning


class LogPageQuery(BaseModel):
    """Which changes, and which page of them; days are whole ones in UTC, both included."""

    model_config = ConfigDict(frozen=True)

    who: Name | None = None
    kind: LogKind | None = None
    start: date | None = Field(None, alias="from")
    end: date | None = Field(None, alias="to")
    cursor: Annotated[str, Field(pattern=CURSOR)] = ""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start and self.end and self.end < self.start:
            raise ValueError("The last day must not be before the first.")
        return self

    def filter(self) -> LogFilter:
        """The filters as the database takes them."""
        start = None if self.start is None else datetime.combine(self.start, time(), UTC)
        end = None if self.end is None else datetime.combine(self.end, time(), UTC) + _LAST_MOMENT
        return LogFilter(who=self.who, kind=self.kind, start=start, end=end)

    @property
    def before(self) -> LogPlace | None:
        """The place behind which the page begins; None for the first page."""
        return tuple(min(int(part), MAX_ID) for part in self.cursor.split("-")) if self.cursor else None

    def path(self, **changes: Any) -> str:
        """The path of this list with changes, from its first page on."""
        asked = self.model_copy(update={"cursor": ""} | changes).model_dump(mode="json", by_alias=True)
        query = urlencode({name: value for name, value in asked.items() if value})
        return f"{DESK}/log?{query}" if query else f"{DESK}/log"

    @property
    def csv(self) -> str:
        """The path of the same list as CSV."""
        wanted = self.filter()
        moments = {"from": wanted.start, "to": wanted.end}
        asked = {"who": self.who, "kind": self.kind} | {name: at and written_moment(at) for name, at in moments.items()}
        query = urlencode({name: value for name, value in asked.items() if value})
        return f"/log.csv?{query}" if query else "/log.csv"


@blueprint.get(f"{DESK}/log")
@needs("read")
def get_log_page() -> Response:
    """A page of the log."""
    query = read_filters(LogPageQuery)
    found = service().read(lambda session: page_of_log(session, query.filter(), ROWS + 1, query.before))
    following = "-".join(map(str, found[ROWS - 1].in_log)) if len(found) > ROWS else None
    me = caller()
    return page(
        "desk/log.html",
        query=query,
        kinds=KINDS,
        rows=[LogRow.of(line, me) for line in found[:ROWS]],
        older=following and query.path(cursor=following),
    )
