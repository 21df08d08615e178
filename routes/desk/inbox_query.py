"""What the inbox is asked for: a tab, filters, an order and a page, all of which stand in its address."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import parse_qsl, urlencode

from flask import Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from access.caller import Caller
from database.alert_filters import NOBODY, AlertFilter, AlertPlace
from routes.http.pages import DESK
from routes.schemas.fields import Code, Id, MomentText, Name, Seconds, digits, flag, not_before
from routes.schemas.views import SavedQuery
from routes.schemas.words import AlertOutcome, AlertStatus, Order, Risk, WhichOnes
from rules.values import LAST_TIME, MAX_ID, WHOLE_NUMBER, written_moment

Tab = Literal["open", "mine", "unassigned", "snoozed", "closed", "shadow", "all"]
TABS: tuple[Tab, ...] = get_args(Tab)
SIZES = (25, 50, 100)
PLACE = "-".join([WHOLE_NUMBER] * 4)  # as it is written

_WHICH: dict[WhichOnes, bool | None] = {"true": True, "false": False, "any": None}
# What a tab lists if nothing else is asked for. What is closed, superseded or in shadow is in nobody's way.
_UNCLOSED = AlertFilter(closed=False, superseded=False)
_LISTS: dict[Tab, AlertFilter] = {
    "open": _UNCLOSED,
    "mine": _UNCLOSED,
    "unassigned": _UNCLOSED._replace(assignee=NOBODY),
    "snoozed": _UNCLOSED._replace(snoozed=True),
    "closed": AlertFilter(status="closed", snoozed=None, muted=None),
    "shadow": AlertFilter(shadow=True, superseded=False, snoozed=None, muted=None),
    "all": AlertFilter(snoozed=None, muted=None),
}


def place_at(written: str) -> AlertPlace | None:
    """The place that was written as a cursor; None if nothing was."""
    if not written:
        return None
    time, user_id, seq, code = (min(int(part), MAX_ID) for part in written.split("-"))
    return time, user_id, seq, code


def _size(value: int) -> int:
    if value not in SIZES:
        raise ValueError(f"must be one of {', '.join(map(str, SIZES))}")
    return value


class InboxQuery(BaseModel):
    """What a page of the inbox shows. A filter of None is none, or what the tab has it be."""

    model_config = ConfigDict(frozen=True)

    tab: Tab = "open"
    status: AlertStatus | None = None
    code: Annotated[Code | None, BeforeValidator(digits)] = None
    user_id: Annotated[Id | None, BeforeValidator(digits)] = None
    risk: Risk | None = None
    assignee: Name | None = None
    outcome: AlertOutcome | None = None
    late: Annotated[bool | None, BeforeValidator(flag)] = None
    superseded: WhichOnes | None = None
    closed: Annotated[bool | None, BeforeValidator(flag)] = None
    snoozed: WhichOnes | None = None
    muted: WhichOnes | None = None
    touched_from: MomentText | None = None
    start: Annotated[Seconds, BeforeValidator(digits)] = Field(0, alias="from")
    end: Annotated[Seconds, BeforeValidator(digits), AfterValidator(not_before)] = Field(LAST_TIME, alias="to")
    sort: Order = "newest"
    size: Annotated[int, BeforeValidator(digits), AfterValidator(_size)] = 50
    by: Literal["alert", "user"] = "alert"
    cursor: Annotated[str, Field(pattern=f"^({PLACE})?$")] = ""

    def filter(self, me: Caller) -> AlertFilter:
        """Which alerts these are for the caller, as the database takes it."""
        lists = _LISTS[self.tab]
        status = lists.status or self.status
        assignee = me.name if self.tab == "mine" else lists.assignee or self.assignee
        return lists._replace(
            user_id=self.user_id,
            code=self.code,
            status=status,
            closed=lists.closed if self.closed is None and not status else self.closed,
            outcome=self.outcome,
            assignee=assignee,
            risk=self.risk,
            late=self.late,
            touched_from=self.touched_from,
            start=self.start,
            end=self.end,
            superseded=_WHICH[self.superseded] if self.superseded else lists.superseded,
            snoozed=_WHICH[self.snoozed] if self.snoozed else lists.snoozed,
            muted=_WHICH[self.muted] if self.muted else lists.muted,
        )

    @property
    def oldest_first(self) -> bool:
        """Whether that is the order."""
        return self.sort == "oldest"

    @property
    def after(self) -> AlertPlace | None:
        """The place behind which the page begins; None for the first page."""
        return place_at(self.cursor)

    def written(self, **changes: Any) -> str:
        """The query string of this page, or of one with changes, which is then the first: without what is default."""
        query = self.model_copy(update={"cursor": ""} | changes) if changes else self
        fields = type(self).model_fields
        asked = {
            fields[name].alias or name: _written(value) for name, value in query if value != fields[name].get_default()
        }
        return urlencode(asked)

    def path(self, **changes: Any) -> str:
        """The path of this page, or of one with changes."""
        written = self.written(**changes)
        return f"{DESK}/?{written}" if written else f"{DESK}/"

    def on_tab(self, tab: Tab) -> Self:
        """The same filters on another tab, without those that say what a tab does by itself."""
        return self if tab == self.tab else self.model_copy(update={"tab": tab, "cursor": ""} | _OF_TAB)

    def cleared(self) -> Self:
        """The same tab without any filter."""
        return type(self)(tab=self.tab, sort=self.sort, size=self.size, by=self.by)

    @property
    def is_plain(self) -> bool:
        """Whether it lists all that there is to work, without a filter."""
        return self.tab == "open" and self.cleared().written() == self.written(cursor="")

    @property
    def end_asked(self) -> int | None:
        """The latest time that was asked for, if one was."""
        return None if self.end == LAST_TIME else self.end

    @classmethod
    def read(cls, written: str) -> Self:
        """What was written; the inbox as it is by itself if that cannot be read, for it is only where one came from."""
        return cls.of_list(written, may_have_more=True) or cls()

    @classmethod
    def of_list(cls, written: str, *, may_have_more: bool = False) -> Self | None:
        """What was written; None if that cannot be read, or has a filter that is unknown."""
        named = {name: value for name, value in parse_qsl(written) if value}
        known = {field.alias or name for name, field in cls.model_fields.items()}
        if not (may_have_more or known >= named.keys()):
            return None
        try:
            return cls.model_validate(named)
        except ValidationError:
            return None

    def as_view(self, me: Caller) -> SavedQuery:
        """The same as a saved view has it, in the terms of `GET /alerts`: it lists the same to everybody."""
        asked = self.filter(me)
        named: dict[str, Any] = {"sort": self.sort, "from": self.start, "to": self.end, "shadow": asked.shadow}
        named |= {name: _which(getattr(asked, name)) for name in ("snoozed", "muted")}
        named["touched_from"] = asked.touched_from and written_moment(asked.touched_from)
        for name in ("user_id", "code", "status", "closed", "outcome", "assignee", "risk", "late", "superseded"):
            named[name] = getattr(asked, name)
        unasked = SavedQuery().model_dump(mode="json", by_alias=True)
        return SavedQuery.model_validate({name: one for name, one in named.items() if one != unasked[name]})

    def csv(self, me: Caller) -> str:
        """The path of all that is listed as CSV."""
        asked = {name: _written(value) for name, value in self.as_view(me).written().items() if value is not None}
        return f"/alerts.csv?{urlencode(asked)}" if asked else "/alerts.csv"

    @classmethod
    def of_view(cls, query: SavedQuery, me: Caller) -> Self:
        """The page that lists what a saved view does."""
        asked = query.filter()
        tab = _tab_of(asked, me)
        lists = _LISTS[tab]
        named: dict[str, Any] = {
            "tab": tab,
            "sort": query.sort,
            "from": query.start,
            "to": query.end,
            "touched_from": query.touched_from and written_moment(query.touched_from),
            **{name: getattr(query, name) for name in ("user_id", "code", "risk", "outcome", "late")},
        }
        if asked.closed not in (None, lists.closed):
            named["closed"] = asked.closed
        if asked.status != lists.status:
            named["status"] = asked.status
        if tab != "mine" and asked.assignee != lists.assignee:
            named["assignee"] = asked.assignee
        for name in ("superseded", "snoozed", "muted"):
            if getattr(asked, name) != getattr(lists, name):
                named[name] = _which(getattr(asked, name))
        return cls.model_validate(named)


_OF_TAB = dict.fromkeys(("status", "closed", "superseded", "snoozed", "muted"))


def list_of(request: Request) -> InboxQuery:
    """The list from which a page was opened, whose address says so: `?list=...`."""
    return InboxQuery.read(request.args.get("list", ""))


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return written_moment(value) if isinstance(value, datetime) else str(value)


def _which(value: bool | None) -> WhichOnes:
    return "any" if value is None else "true" if value else "false"


def _tab_of(asked: AlertFilter, me: Caller) -> Tab:
    """The tab that comes nearest to a filter: the others that it has are named besides."""
    if asked.shadow:
        return "shadow"
    if asked.status == "closed" or (asked.status is None and asked.closed):
        return "closed"
    if asked.status is None and asked.closed is None:
        return "all"
    if asked.snoozed:
        return "snoozed"
    if asked.assignee == NOBODY:
        return "unassigned"
    return "mine" if asked.assignee == me.name else "open"
