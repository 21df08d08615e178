"""Sessions: sign in with a key, see who is signed in, sign out; and the page for it."""

from datetime import UTC, datetime
from urllib.parse import parse_qs

from flask import Blueprint, Response, current_app, make_response, render_template, request
from sqlalchemy.orm import Session

from access.caller import SCOPES
from access.keyring import Keyring, KeysUnknown, LivingKey
from database.log_entries import add_log_entry
from database.session import Transaction
from routes.http.access import BAD_KEY, BAD_KEYS_FULL, KEYS_UNKNOWN, OVER_RATE, Access, caller
from routes.http.answers import json_answer
from routes.http.assets import asset_url
from routes.http.bodies import TOO_LARGE, read_body
from routes.http.hooks import service
from routes.http.json_body import read_model
from routes.http.operation import Nothing, Operation, describe, needs
from routes.http.pages import PAGE_HEADERS, SIGN_IN, SIGN_OUT, lead_to, own_path
from routes.http.problems import DATABASE_AWAY, NOT_JSON, Problem
from routes.http.sessions import begin_session, end_session, session_ends, session_key
from routes.schemas.sessions import SessionAnswer, SessionRequest
from rules.payload import FieldProblem

blueprint = Blueprint("sessions", __name__, template_folder="templates")

BAD_SESSION = Problem(400, "The request has missing or bad fields.", errors=[FieldProblem("/key", "Field required")])
_FORM, MAX_FORM = "application/x-www-form-urlencoded", 8 * 1024  # bytes


@blueprint.post("/session")
@describe(
    Operation(
        needs="nothing",
        body=SessionRequest,
        answers={200: SessionAnswer},
        problems=(BAD_SESSION, BAD_KEY, BAD_KEYS_FULL, OVER_RATE, TOO_LARGE, NOT_JSON, KEYS_UNKNOWN, DATABASE_AWAY),
    )
)
def create_session() -> Response:
    """Sign in with a key.

    The answer sets a cookie, which stands for the key in the requests of a browser for at most 12 hours. The session
    ends sooner if the key expires, is revoked or rotated. Programs send the key itself with each request instead.
    """
    key = _signed_in(read_model(SessionRequest).key)
    return json_answer(_answer(key.name, key.scopes))


@blueprint.get("/session")
@describe(Operation(needs="any", answers={200: SessionAnswer}))
def get_session() -> Response:
    """Read who makes the request.

    That is the holder of the key that it was sent with, or that the session began with.
    """
    return json_answer(_answer(caller().name, caller().scopes))


@blueprint.delete("/session")
@describe(Operation(needs="nothing", answers={204: Nothing("There is no session any more.")}))
def delete_session() -> Response:
    """Sign out.

    Takes the cookie away. The key stays as it is.
    """
    end_session()
    return Response(status=204)


@blueprint.get(SIGN_IN)
@needs("nothing")
def get_sign_in_page() -> Response:
    """The page to sign in, from which one gets to `next`."""
    return _page(request.args.get("next", ""))


@blueprint.post(SIGN_IN)
@needs("nothing", max_body=MAX_FORM)
def sign_in() -> Response:
    """What the form of the page sends: on to `next`, or the page again if the key is not good."""
    if request.mimetype != _FORM:
        raise Problem(415, f"The Content-Type must be {_FORM}.")
    try:
        fields = parse_qs(read_body(MAX_FORM).decode("utf-8", "replace"), max_num_fields=10)
    except ValueError:
        raise Problem(400, "The form has too many fields.") from None
    wanted = fields.get("next", [""])[0]
    try:
        _signed_in(fields.get("key", [""])[0].strip())
    except Problem as problem:
        return _page(wanted, problem)
    return lead_to(own_path(wanted))


@blueprint.post(SIGN_OUT)
@needs("nothing")
def sign_out() -> Response:
    """What the forms of pages send to sign out; on to the page to sign in."""
    end_session()
    return lead_to(SIGN_IN)


def _signed_in(presented: str) -> LivingKey:
    """The key that somebody has signed in with. Raises Problem 401, 429 and 503 as every request with a key does."""
    key = Access.of(current_app.extensions).signed_in(presented, request.environ)

    def note(session: Session) -> None:
        with Transaction(session) as transaction:
            add_log_entry(session, who=key.name, kind="sign-in", subject=key.key_id, what="signed in")
            transaction.commit()

    service().run(note)
    begin_session(key)
    return key


def _answer(name: str, scopes: frozenset[str]) -> SessionAnswer:
    ordered = [scope for scope in SCOPES if scope in scopes]
    return SessionAnswer(name=name, scopes=ordered, expires_at=_end())


def _end() -> datetime | None:
    if "Authorization" not in request.headers and (seconds := session_ends()) is not None:
        return datetime.fromtimestamp(int(seconds), UTC)
    key_id = caller().key_id
    key = None if key_id is None else Keyring.of(current_app.extensions).with_id(key_id)
    return None if key is None else key.expires_at


def _page(wanted: str, problem: Problem | None = None) -> Response:
    shown = render_template(
        "sign_in.html", next=own_path(wanted), problem=problem, who=_who(), sign_out=SIGN_OUT, asset_url=asset_url
    )
    page = make_response(shown, problem.status if problem else 200)
    if problem:
        page.headers.update(problem.answer_headers())
    page.headers.update(PAGE_HEADERS)
    return page


def _who() -> str | None:
    """Who is signed in; None for nobody, or while it is unknown which keys hold."""
    try:
        key = session_key(Keyring.of(current_app.extensions))
    except KeysUnknown:
        return None
    return None if key is None else key.name
