"""The address of the inbox: what it asks for, how it is written, and what it is as a saved view."""

from itertools import product
from typing import Any

import pytest
from pydantic import ValidationError

from access.caller import Caller
from database.alert_filters import AlertFilter
from routes.desk.inbox_query import TABS, InboxQuery
from routes.schemas.views import SavedQuery

ADA = Caller("Ada", frozenset({"read"}))
FULL = (
    "tab=closed&code=30&user_id=7&risk=high&assignee=Bob+%26+co&outcome=true_positive&late=false&superseded=true"
    "&closed=true&snoozed=any&muted=true&touched_from=2026-01-31T12%3A00%3A00.000000Z&from=5&to=9&sort=oldest&size=25"
    "&by=user&cursor=7-1-2-30"
)


def test_an_address_is_read_and_written() -> None:
    """All that can stand in one comes back; what is default does not stand in it."""
    assert InboxQuery.read(FULL).written() == FULL
    assert InboxQuery.read("tab=open&size=50&sort=newest&from=0").written() == ""
    assert InboxQuery().path() == "/desk/"


def test_what_changes_begins_with_the_first_page() -> None:
    """Another filter has other pages; the next page has the same filters."""
    query = InboxQuery.read("code=30&cursor=7-1-2-30")
    assert query.written(tab="mine") == "tab=mine&code=30"
    assert query.path(cursor="5-1-1-30") == "/desk/?code=30&cursor=5-1-1-30"
    assert query.written(code=None) == ""


@pytest.mark.parametrize("written", ["tab=none", "size=7", "from=9&to=8", "cursor=1-2", "%ff=%00&code=x", "late=1"])
def test_where_one_came_from_is_never_refused(written: str) -> None:
    """What cannot be is refused in the address of the inbox, and taken for the inbox itself elsewhere."""
    assert InboxQuery.read(written) == InboxQuery()


def test_a_size_is_one_of_those_offered() -> None:
    """Others are refused by name."""
    with pytest.raises(ValidationError, match="one of 25, 50, 100"):
        InboxQuery.model_validate({"size": "7"})


def test_the_inbox_leaves_out_what_is_in_the_way() -> None:
    """By itself it has what is not closed, superseded, snoozed, muted or in shadow."""
    assert InboxQuery().filter(ADA) == AlertFilter(closed=False, superseded=False, start=0, end=2**63 - 1)


def wanted(asked: AlertFilter) -> AlertFilter:
    """The filter without what follows from the rest of it."""
    status = "closed" if asked.status is None and asked.closed else asked.status
    closed = None if status and asked.closed == (status == "closed") else asked.closed
    return asked._replace(status=status, closed=closed)


def test_every_page_is_a_view_and_back() -> None:
    """A view that is saved on a page lists the same in the API, and opens as a page that lists the same."""
    choices: dict[str, tuple[Any, ...]] = {
        "tab": TABS,
        "status": (None, "acknowledged"),
        "assignee": (None, "none", "Ada", "Bob"),
        "superseded": (None, "any", "true"),
        "snoozed": (None, "any", "false"),
        "muted": (None, "true"),
        "sort": ("newest", "oldest"),
        "outcome": (None, "true_positive"),
    }
    for values in product(*choices.values()):
        query = InboxQuery.model_validate(dict(zip(choices, values, strict=True)))
        view = query.as_view(ADA)
        assert view.filter() == query.filter(ADA)
        opened = InboxQuery.of_view(SavedQuery.model_validate(view.written()), ADA)
        assert wanted(opened.filter(ADA)) == wanted(query.filter(ADA)), query
        assert opened.sort == query.sort


def test_every_view_is_a_page() -> None:
    """Whatever a view saved over the API asks for, the page that it opens lists just that."""
    choices: dict[str, tuple[Any, ...]] = {
        "status": (None, "open", "closed"),
        "closed": (None, True, False),
        "shadow": (None, True),
        "assignee": (None, "none", "Ada", "Bob"),
        "superseded": (None, True, False),
        "snoozed": (None, "any", "true"),
        "muted": (None, "any"),
        "late": (None, True),
        "touched_from": (None, "2026-01-31T13:00:00+01:00"),
        "from": (None, 9),
    }
    for values in product(*choices.values()):
        named = {name: value for name, value in zip(choices, values, strict=True) if value is not None}
        view = SavedQuery.model_validate(named)
        opened = InboxQuery.of_view(view, ADA)
        assert wanted(opened.filter(ADA)) == wanted(view.filter()), view
        assert InboxQuery.read(opened.written()) == opened
