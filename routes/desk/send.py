"""Sending an event: as a form or as JSON, judged first without being stored; presets make each rule fire."""

import json
import re
import secrets
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal, NamedTuple

from flask import Blueprint, Response, g, request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from access.caller import ANONYMOUS
from database.actions import seq_of_event
from database.alerts import get_alert
from database.users import free_user_id
from routes.desk.alert_rows import AlertLine
from routes.desk.forms import MAX_FORM, BadForm, read_filters, read_form
from routes.desk.shell import page
from routes.http.access import caller, must_hold
from routes.http.answers import Answer
from routes.http.decisions import PATHS
from routes.http.hooks import service
from routes.http.judged import event_answer, events_answer
from routes.http.operation import needs
from routes.http.pages import DESK
from routes.http.problems import Problem, refused
from routes.schemas.events import EVENT_EXAMPLE
from routes.schemas.fields import Code
from rules.examples import example_events
from rules.model import Event
from rules.payload import BadPayload, FieldProblem, event_of, read_json
from rules.values import Number
from rules.versions import RuleChange

blueprint = Blueprint("desk_send", __name__, template_folder="../templates")

MOST_EVENTS = 200  # sent from the page at once
MOST_CHARACTERS = 48 * 1024  # of JSON, which a form writes larger

_FIELDS = ("type", "amount", "user_id", "time", "event_id")
_NUMBERS = ("user_id", "time")
_DIGITS = re.compile("-?[0-9]{1,19}")
_FIRST_TIME = 100_000  # when examples end on a clock that does not count from 1970: any time will do


class SendQuery(BaseModel):
    """What the page shows at first: the fields of an event, as typed; or the example of a rule."""

    model_config = ConfigDict(frozen=True)

    how: Annotated[Literal["form", "json"], Field(alias="as")] = "form"
    preset: Code | None = None
    type: Annotated[str, Field(max_length=200)] | None = None
    amount: Annotated[str, Field(max_length=200)] | None = None
    user_id: Annotated[str, Field(max_length=200)] | None = None
    time: Annotated[str, Field(max_length=200)] | None = None
    event_id: Annotated[str, Field(max_length=200)] | None = None


class SendForm(SendQuery):
    """The same with what is to be done: try it, which stores nothing, or send it. As JSON the events are in `json`."""

    act: Annotated[Literal["try", "send"], Field(alias="do")] = "try"
    text: Annotated[str, Field(max_length=MOST_CHARACTERS, alias="json")] = ""


class Preset(NamedTuple):
    """A rule in the list of presets, as it is set now."""

    code: int
    title: str
    status: str
    is_possible: bool


class AnswerShown(NamedTuple):
    """An answer of the service as the page shows it: to which call, with what; and the alerts that it raised."""

    call: str
    status: int
    phrase: str
    headers: Mapping[str, str]
    body: str
    codes: Sequence[int]
    is_stored: bool
    alerts: Sequence[AlertLine]


@blueprint.get(f"{DESK}/send")
@needs("read")
def get_send_page() -> Response:
    """The page: with the example of a rule, with what stands in its address, or with an example of its own."""
    query = read_filters(SendQuery)
    events = None if query.preset is None else service().run(lambda session: _preset(session, query.preset))
    if events:
        is_one = len(events) == 1
        return _page("form" if is_one and query.how == "form" else "json", events[0] if is_one else events)
    typed = {name: value for name in _FIELDS if (value := getattr(query, name)) is not None}
    return _page(query.how, _document(typed) if typed else _example())


@blueprint.post(f"{DESK}/send")
@needs("read", max_body=MAX_FORM)
def send_from_page() -> Response:
    """Judge what the page sends, or store it as `POST /event` and `POST /events` do, and show the answers."""
    try:
        form = read_form(SendForm)
    except BadForm as bad:  # nobody can type that into the page
        errors = [FieldProblem(f"/{name}", why) for name, why in bad.faults.items()]
        raise Problem(400, "The form has fields that cannot be.", errors=errors) from None
    if form.act == "send":
        must_hold("ingest")
    if form.how == "form":
        typed = {name: value for name in _FIELDS if (value := getattr(form, name)) is not None}
        document: Any = _document(typed)
    else:
        try:
            document = read_json(form.text.encode())
        except BadPayload as bad:
            return _page("json", None, form.text, [_shown(f"POST {PATHS[0]}", refused(bad))])
    answers = list(_answers(document, is_dry=form.act == "try"))
    return _page(form.how, document, form.text, answers, is_next_real=form.act == "try")


def _page(
    how: str, document: Any, text: str = "", answers: Sequence[AnswerShown] = (), *, is_next_real: bool = False
) -> Response:
    is_one = isinstance(document, dict)
    path = PATHS[0] if document is None or is_one else "/events"
    return page(
        "desk/send.html",
        how=how,
        fields=_typed(document) if is_one else {},
        json=text or ("" if document is None else _written(document)),
        is_one=is_one,
        count=len(document) if isinstance(document, list) else 1,
        command=None if document is None else _command(path, text or json.dumps(document, ensure_ascii=False)),
        answers=answers,
        is_next_real=is_next_real and all(one.status == 200 for one in answers),
        faults=_faults(answers) if how == "form" else {},
        presets=service().run(_presets),
    )


def _example() -> dict[str, Any]:
    """An event to begin with; where times count seconds since 1970, it is of now."""
    times = {"time": int(datetime.now(UTC).timestamp())} if service().policy.time_is_epoch else {}
    return EVENT_EXAMPLE | times | {"event_id": _new_id()}


def _document(typed: Mapping[str, str]) -> dict[str, Any]:
    """An event as JSON data, from its fields as they were typed; what is no number stays text, which is refused."""
    return {
        name: int(value) if name in _NUMBERS and _DIGITS.fullmatch(value) else value for name, value in typed.items()
    }


def _typed(document: Mapping[str, Any]) -> dict[str, str]:
    """The fields of an event as the form has them, from JSON data; what no field can hold is left out."""
    texts = {name: value.text if isinstance(value, Number) else value for name, value in document.items()}
    return {name: _encodable(str(texts[name])) for name in _FIELDS if isinstance(texts.get(name), str | int)}


def _encodable(text: str) -> str:
    """`text` with halves of characters, which JSON can name and no page can hold, as JSON writes them."""
    return text.encode("utf-8", "backslashreplace").decode()


def _answers(document: Any, *, is_dry: bool) -> Iterator[AnswerShown]:
    """What the service answers to an event, or to several: tried one by one, or stored together."""
    items = document if isinstance(document, list) else [document]
    if len(items) > MOST_EVENTS:
        yield _shown("POST /events", Problem(413, f"The page sends at most {MOST_EVENTS} events at once."))
    elif isinstance(document, list) and not is_dry:
        yield _shown("POST /events", lambda: events_answer(items, atomic=False), items)
    else:
        for item in items:
            call = f"POST {PATHS[0]}{'?dry_run=true' if is_dry else ''}"
            yield _shown(call, lambda item=item: event_answer(event_of(item), is_dry=is_dry), [] if is_dry else [item])


def _shown(call: str, made: Any, items: Sequence[Any] = ()) -> AnswerShown:
    try:
        answer: Answer = made.answer(g.exchange.request_id) if isinstance(made, Problem) else made()
    except BadPayload as bad:
        answer = refused(bad).answer(g.exchange.request_id)
    except Problem as problem:
        answer = problem.answer(g.exchange.request_id)
    body = json.loads(answer.body)
    results = body.get("results", [body])
    raised = [one.get("alert_codes", []) for one in results]
    return AnswerShown(
        call=call,
        status=answer.status,
        phrase=HTTPStatus(answer.status).phrase,
        headers=answer.headers,
        body=_encodable(json.dumps(body, indent=2, ensure_ascii=False)),
        codes=[code for codes in raised for code in codes],
        is_stored=bool(items) and any("alert_codes" in one for one in results),
        alerts=service().run(lambda session: _alerts(session, items, raised)),
    )


def _alerts(session: Session, items: Sequence[Any], raised: Sequence[Sequence[int]]) -> list[AlertLine]:
    """The alerts with these codes that the events have raised, as far as their ids tell."""
    found = []
    for item, codes in zip(items, raised, strict=False):
        if not codes or not item.get("event_id"):
            continue
        seq = seq_of_event(session, item["user_id"], item["event_id"])
        rows = [] if seq is None else [get_alert(session, item["user_id"], seq, code) for code in codes]
        found += [AlertLine.of(row) for row in rows if row is not None]
    return found


def _faults(answers: Sequence[AnswerShown]) -> dict[str, str]:
    errors = [error for one in answers for error in json.loads(one.body).get("errors", [])]
    return {error["pointer"].removeprefix("/"): error["detail"] for error in errors}


def _presets(session: Session) -> list[Preset]:
    return [
        Preset(
            code=code,
            title=change.setting.rule.titled(change.written),
            status=change.setting.status,
            is_possible=bool(_examples(change, 1)),
        )
        for code, change in service().rules(session).items()
    ]


def _preset(session: Session, code: int | None) -> list[dict[str, Any]]:
    """The example of a rule as JSON data, by a user that there is not yet; nothing if it has none."""
    change = service().rules(session).get(code or 0)
    if change is None:
        return []
    first = _new_id()
    return [
        {
            "type": event.type,
            "amount": str(event.amount),
            "user_id": event.user_id,
            "time": event.time,
            "event_id": f"{first}-{number}",
        }
        for number, event in enumerate(_examples(change, free_user_id(session)), start=1)
    ]


def _examples(change: RuleChange, user_id: int) -> Sequence[Event]:
    policy = service().policy
    end = int(datetime.now(UTC).timestamp()) if policy.time_is_epoch else _FIRST_TIME
    return example_events(change.setting, user_id=user_id, time=end, may_overdraw=policy.allow_overdraft)


def _new_id() -> str:
    """An id for an event, so that a page that is loaded again does not store it twice."""
    return f"desk-{secrets.token_hex(4)}"


def _written(document: Any) -> str:
    """Events as JSON: one as an object over several lines, several one a line."""
    if isinstance(document, list):
        lines = ",\n".join(f"  {json.dumps(one, ensure_ascii=False)}" for one in document)
        return f"[\n{lines}\n]"
    return json.dumps(document, indent=2, ensure_ascii=False)


def _command(path: str, body: str) -> str:
    """The same as a command for a shell."""
    key = "" if caller().name == ANONYMOUS else ' -H "Authorization: Bearer $KEY"'
    sent = shlex.quote(body.replace("\r\n", "\n"))
    return f"curl -i {request.host_url.rstrip('/')}{path}{key} -H 'Content-Type: application/json' \\\n  -d {sent}"
