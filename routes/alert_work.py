"""Alerts at work: change what people make of them, note something, read what has been done."""

from collections.abc import Sequence

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from database import alert_work
from database.models import AlertChange
from database.records import AlertKey
from routes.http.access import caller
from routes.http.answers import json_answer
from routes.http.bodies import TOO_LARGE
from routes.http.etags import changed, fits, versioned
from routes.http.hooks import service
from routes.http.json_body import read_model
from routes.http.operation import Operation, describe
from routes.http.paging import BAD_QUERY, cut, place, read_query
from routes.http.problems import DATABASE_AWAY, NOT_JSON, Problem
from routes.http.unknown import unknown_alert
from routes.schemas.alert_history import HistoryAnswer, HistoryLineAnswer, HistoryQuery
from routes.schemas.alert_work import AlertChangeRequest, NoteRequest
from routes.schemas.alerts import AlertDetailAnswer
from rules.payload import FieldProblem
from work import alerts as work
from work.change import Wanted

blueprint = Blueprint("alerts work", __name__)

DOES_NOT_FIT = "The change does not fit the alert as it is; nothing was stored."
BAD_WORK = Problem(
    400,
    "The request has missing or bad fields.",
    errors=[FieldProblem("/status", "Input should be 'open', 'acknowledged' or 'closed'")],
)
BAD_NOTE = Problem(400, BAD_WORK.detail, errors=[FieldProblem("/note", "String should have at least 1 character")])
_WORK_PROBLEMS = (unknown_alert(7, 3, 123), changed(), TOO_LARGE, NOT_JSON, DATABASE_AWAY)


@blueprint.patch("/alerts/<alert:alert_id>")
@describe(
    Operation(
        needs="work",
        body=AlertChangeRequest,
        answers={200: AlertDetailAnswer},
        problems=(BAD_WORK, *_WORK_PROBLEMS),
        tagged=True,
    )
)
def change_alert(alert_id: tuple[int, int, int]) -> Response:
    """Change what people make of an alert.

    Closing needs an outcome; opening again takes it away. What is left out stays as it is. Each field that changes is a
    line of the alert's history, and the note stands on the first. With `If-Match`, the answer is a 412 if somebody else
    has changed the alert in the meantime: `current` is the alert as it is now. Late events do not count. Without
    `If-Match` the last change wins, and the history shows both.
    """
    wanted = read_model(AlertChangeRequest)
    return _work(AlertKey._make(alert_id), wanted.wanted(), wanted.note)


@blueprint.post("/alerts/<alert:alert_id>/notes")
@describe(
    Operation(
        needs="work",
        body=NoteRequest,
        answers={200: AlertDetailAnswer},
        problems=(BAD_NOTE, *_WORK_PROBLEMS),
        tagged=True,
    )
)
def add_note(alert_id: tuple[int, int, int]) -> Response:
    """Note something about an alert.

    It is a line of the alert's history.
    """
    return _work(AlertKey._make(alert_id), {}, read_model(NoteRequest).note)


@blueprint.get("/alerts/<alert:alert_id>/history")
@describe(
    Operation(
        needs="read",
        query=HistoryQuery,
        answers={200: HistoryAnswer},
        problems=(BAD_QUERY, unknown_alert(7, 3, 123), DATABASE_AWAY),
    )
)
def list_history(alert_id: tuple[int, int, int]) -> Response:
    """List everything that has been done about an alert, newest first.

    `next` is the cursor of the next page. The newest 100 lines come with the alert itself.
    """
    key, query = AlertKey._make(alert_id), read_query(HistoryQuery)
    before = place(query)

    def read(session: Session) -> Sequence[AlertChange]:
        if not alert_work.read_work(session, [key]):
            raise unknown_alert(*key)
        return alert_work.page_of_history(session, key, query.to_read, before[0] if before else None)

    page, following = cut(service().read(read), query, lambda line: (line.n,))
    return json_answer(HistoryAnswer(history=[HistoryLineAnswer.of(line) for line in page], next=following))


def _work(key: AlertKey, wanted: Wanted, note: str | None) -> Response:
    who = caller().name
    try:
        found = service().run(
            lambda session: work.change_alert(session, key, wanted, who=who, note=note, version_fits=fits)
        )
    except work.UnknownAlert:
        raise unknown_alert(*key) from None
    except work.Stale:
        raise changed(_answer(service().read(lambda session: work.read_alert(session, key)))) from None
    except work.BadChange as bad:
        errors = [FieldProblem(f"/{field}", sentence) for field, sentence in bad.faults.items()]
        raise Problem(400, DOES_NOT_FIT, errors=errors) from None
    return versioned(_answer(found), found.alert.work_version)


def _answer(found: work.AlertAndHistory) -> AlertDetailAnswer:
    return AlertDetailAnswer.with_history(found, time_is_epoch=service().policy.time_is_epoch)
