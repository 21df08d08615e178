"""What all pages of the desk share: the frame around them, parts of them, and where a form leads."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from flask import Response, make_response, render_template, request

from access.caller import ANONYMOUS
from database.alert_counts import count_each
from routes.desk import done, words
from routes.desk.inbox_query import InboxQuery, Tab
from routes.http.access import caller
from routes.http.assets import asset_url
from routes.http.hooks import service
from routes.http.pages import DESK, PAGE_HEADERS, is_for_part, lead_to
from routes.http.sessions import session_ends

RAIL: tuple[Tab, ...] = ("open", "mine")
MAIN = "main#main"  # the part that holds a whole page but for its frame


class Section(NamedTuple):
    """An entry of the rail: its name, and whether a page is all of it, and not just one within."""

    name: str
    is_whole: bool


def page(template: str, status: int = 200, **values: Any) -> Response:
    """A page made from `template`, which extends `layout`: whole, or only its main part if a page asks for that.

    Who swaps the main part gets the address of the page it now shows.
    """
    layout = "desk/part.html" if is_part() else "desk/frame.html"
    is_swapped = is_part() and request.headers.get("HX-Target") == MAIN
    rail = None if is_part() and not is_swapped else rail_counts()
    shown = make_response(
        render_template(template, layout=layout, is_swapped=is_swapped, rail=rail, **_shared(), **values), status
    )
    shown.headers.update(PAGE_HEADERS)
    if is_swapped and request.method == "GET":
        here = request.full_path.rstrip("?")
        is_same = request.headers.get("HX-Current-URL", "").removeprefix(request.host_url.rstrip("/")) == here
        shown.headers["HX-Replace-Url" if is_same else "HX-Push-Url"] = here
    return shown


def rail_counts() -> Mapping[str, str]:
    """How many alerts there are to work, and how many of these the caller has, as the rail shows them."""
    me = caller()
    lists = {tab: InboxQuery(tab=tab).filter(me) for tab in RAIL}
    counted = service().read(lambda session: count_each(session, list(lists.values())))
    return {tab: words.capped(one.number, one.more) for tab, one in zip(lists, counted, strict=True)}


def part(template: str, status: int = 200, **values: Any) -> Response:
    """A part of a page, made from a `template` of its own."""
    shown = make_response(render_template(template, **_shared(), **values), status)
    shown.headers.update(PAGE_HEADERS)
    return shown


def go(path: str) -> Response:
    """Where a form leads that was accepted: to the page at `path`, a path of this service."""
    found = lead_to(path)
    found.headers["Cache-Control"] = "private, no-store"
    return found


def is_part() -> bool:
    """Whether a page asks for a part of itself."""
    return is_for_part(request.environ)


def _shared() -> Mapping[str, Any]:
    who = caller()
    return {
        "caller": who,
        "is_anonymous": who.name == ANONYMOUS,
        "may": who.may,
        "has_dates": service().policy.time_is_epoch,
        "now": datetime.now(UTC),
        "asset_url": asset_url,
        "words": words,
        "desk": DESK,
        "here": request.full_path.rstrip("?"),
        "section": _section(),
        "has_session": session_ends() is not None,
        "done": done.shown(request.args["done"], who.name) if "done" in request.args else None,
        "way_back": done.way_back(),
    }


def _section() -> Section:
    name, _, within = request.path.removeprefix(f"{DESK}/").partition("/")
    if not name:
        return Section("mine" if request.args.get("tab") == "mine" else "inbox", is_whole=True)
    return Section("inbox" if name == "alerts" else name, is_whole=not within)
