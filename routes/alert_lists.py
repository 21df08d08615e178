"""Lists of alerts: page by page, what is next to one, how many there are, and all of them as CSV."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import cast

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from database import alert_counts, alert_lists, alerts, rule_versions
from database.alert_counts import CountOfKind
from database.alert_filters import AlertPlace
from database.alert_lists import Neighbour, page_of_alerts, place_of
from database.alerts import AlertRow
from routes.http.answers import json_answer
from routes.http.csv_answer import CSV, PAGE
from routes.http.exports import export
from routes.http.hooks import service
from routes.http.operation import Operation, Text, describe
from routes.http.paging import BAD_QUERY, cut, place, read_query
from routes.http.problems import DATABASE_AWAY, Problem
from routes.http.unknown import unknown_alert
from routes.schemas.alert_csv import EXAMPLE, columns
from routes.schemas.alert_lists import (
    OLDEST,
    AlertsQuery,
    AroundAnswer,
    CountAnswer,
    CountsAnswer,
    CountsQuery,
    OrderedAlerts,
    Side,
)
from routes.schemas.alerts import AlertAnswer, AlertsAnswer
from rules.payload import FieldProblem
from rules.registry import REGISTRY
from rules.values import alert_id

blueprint = Blueprint("alerts lists", __name__)


@blueprint.get("/alerts")
@describe(Operation(needs="read", query=AlertsQuery, answers={200: AlertsAnswer}, problems=(BAD_QUERY, DATABASE_AWAY)))
def list_alerts() -> Response:
    """List alerts, newest first.

    An alert must match all filters given. `from` and `to` bound the time of the action (in seconds, both included).
    Alerts that are snoozed or muted now are left out unless they are asked for. `next` is the cursor of the next page,
    to be sent with the same filters and the same `sort`. `shadow=true` lists the alerts of rules in shadow, and only
    those. A page can be shorter than `limit`, even empty, and not be the last one: looking through very many alerts for
    few takes several requests. Only a `next` of null ends the list.
    """
    query = read_query(AlertsQuery)
    if query.cursor and query.cursor.startswith(OLDEST) != query.oldest_first:
        raise Problem(400, BAD_QUERY.detail, errors=[FieldProblem("/cursor", "is of a list with another sort")])
    begins = OLDEST if query.oldest_first else ""
    after = cast(AlertPlace | None, place(query.model_copy(update={"cursor": query.cursor.removeprefix(OLDEST)})))
    found = service().read(
        lambda session: page_of_alerts(
            session,
            query.filter(),
            query.to_read,
            after,
            oldest_first=query.oldest_first,
        )
    )
    page, following = cut(found.rows, query, place_of, found.broke_off_at)
    has_dates = service().policy.time_is_epoch
    listed = [AlertAnswer.of(row, time_is_epoch=has_dates) for row in page]
    return json_answer(AlertsAnswer(alerts=listed, next=following and begins + following))


@blueprint.get("/alerts/counts")
@describe(Operation(needs="read", query=CountsQuery, answers={200: CountsAnswer}, problems=(BAD_QUERY, DATABASE_AWAY)))
def count_alerts() -> Response:
    """Count alerts, by status or rule if asked for.

    The filters are those of the list. Counting stops at 1,000, and where looking further would take too long; then
    `more` is true, and there are at least so many. Kinds without any alert are left out.
    """
    query = read_query(CountsQuery)

    def count(session: Session) -> list[CountOfKind]:
        others = [code for code in rule_versions.rule_codes(session) if code not in REGISTRY]
        return alert_counts.count_wanted(
            session,
            query.filter(),
            by_status="status" in query.by,
            by_code="code" in query.by,
            codes=(*REGISTRY, *others),
        )

    counts = [
        CountAnswer(status=one.status, code=one.code, count=one.number, more=one.more) for one in service().read(count)
    ]
    return json_answer(CountsAnswer(counts=counts))


@blueprint.get("/alerts/<alert:alert_id>/around")
@describe(
    Operation(
        needs="read",
        query=OrderedAlerts,
        answers={200: AroundAnswer},
        problems=(BAD_QUERY, unknown_alert(7, 3, 123), DATABASE_AWAY),
    )
)
def get_alerts_around(alert_id: tuple[int, int, int]) -> Response:
    """Read which alerts come before and after an alert in a list.

    The filters and the order are those of the list. The alert itself need not match them. If looking for a neighbour
    would take too long, it is null and `broke_off` names its side; the list itself goes on from there.
    """
    query = read_query(OrderedAlerts)

    def read(session: Session) -> tuple[Neighbour, Neighbour]:
        alert = alerts.get_alert(session, *alert_id)
        if alert is None:
            raise unknown_alert(*alert_id)
        return alert_lists.neighbours(session, query.filter(), place_of(alert), oldest_first=query.oldest_first)

    previous, following = service().read(read)
    sides: dict[Side, Neighbour] = {"previous": previous, "next": following}
    broke_off = [side for side, one in sides.items() if one.broke_off]
    return json_answer(
        AroundAnswer(previous=_id(previous.place), next=_id(following.place), broke_off=broke_off or None)
    )


@blueprint.get("/alerts.csv")
@describe(
    Operation(
        needs="read",
        query=OrderedAlerts,
        answers={200: Text(CSV, "All alerts that match, one a line.", EXAMPLE)},
        problems=(BAD_QUERY, DATABASE_AWAY),
        streams=True,
    )
)
def export_alerts() -> Response:
    """Export alerts as CSV: all that match.

    The filters and the order are those of the list; there is no limit. The file is read and sent page by page, so it is
    no picture of one moment: each alert is as it was when its page was read. If the database is lost in between, the
    connection is cut, so that no HTTP client takes a part for the whole. Text that a spreadsheet would take for a
    formula has an apostrophe before it. At most two exports at a time; each is an entry in the log.
    """
    query = read_query(OrderedAlerts)
    ours, wanted, oldest_first = service(), query.filter(), query.oldest_first

    def pages() -> Iterator[Sequence[AlertRow]]:
        after: AlertPlace | None = None
        while True:
            page = partial(page_of_alerts, wanted=wanted, limit=PAGE, after=after, oldest_first=oldest_first)
            found = ours.read(page)
            yield found.rows
            if found.broke_off_at is None and len(found.rows) < PAGE:
                return
            after = found.broke_off_at or place_of(found.rows[-1])

    return export("alerts", query, columns(time_is_epoch=ours.policy.time_is_epoch), pages())


def _id(found: AlertPlace | None) -> str | None:
    return None if found is None else alert_id(*found[1:])
