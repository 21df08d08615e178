"""Every error as application/problem+json (RFC 9457)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.http import HTTP_STATUS_CODES

from database.errors import cause, is_read_only, is_unfit
from database.session import CommitUncertain, is_away, is_out_of_numbers
from routes.http.answers import Answer
from rules.overload import Overloaded, QueueFull
from rules.payload import BadPayload, FieldProblem

RETRY_AFTER = 1  # seconds; the pool reconnects at once when the database is back

log = structlog.get_logger()


class Problem(Exception):
    """An error answer: an HTTP status, a sentence for the caller, and the bad fields, if any.

    `kind` sets the `type` of the document, if the status alone does not tell two errors apart; `more` has further
    members of the document, and `headers` further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        kind: str | None = None,
        errors: Sequence[FieldProblem] = (),
        more: dict[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.kind, self.errors, self.more = status, detail, kind, errors, more or {}
        self.headers = headers or {}
        self.who: str | None = None  # whom it answers, if that is known where it is raised

    def document(self) -> dict[str, Any]:
        """The problem document as plain data."""
        document: dict[str, Any] = {
            "type": f"urn:problem:{self.kind}" if self.kind else "about:blank",
            "title": HTTP_STATUS_CODES[self.status],
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = [error._asdict() for error in self.errors]
        return document | self.more

    def anew(self) -> "Problem":
        """The same problem, to be raised."""
        return Problem(self.status, self.detail, self.kind, self.errors, self.more, self.headers)

    def answer_headers(self) -> dict[str, str]:
        """The headers of the answer, in whatever form it is given: a 503 says when to try again."""
        return {**self.headers, **({"Retry-After": str(RETRY_AFTER)} if self.status == 503 else {})}

    def answer(self, request_id: str) -> Answer:
        """The whole answer to the request with this id."""
        headers = {"Content-Type": "application/problem+json", **self.answer_headers()}
        if self.status == 408 or self.kind == BODIES_FULL.kind:
            # The rest of the request may still come, and would be taken for the next one.
            headers["Connection"] = "close"
        return Answer(self.status, headers, json.dumps(self.document() | {"request_id": request_id}).encode())


def refused(bad: BadPayload) -> Problem:
    """The problem that answers a payload that cannot be used."""
    return Problem(400, bad.detail, errors=bad.errors)


# Problems that views share. They answer errors and are examples in the OpenAPI document. They are never raised, but
# made anew for that: a shared exception would keep the frames of everything that raised it.
METHOD_NOT_ALLOWED = Problem(405, "The method is not allowed for the requested URL.")
NOT_JSON = Problem(415, "The Content-Type must be application/json.")
DEFECT = Problem(500, "The service has a defect; the log has more under this request id.")
DATABASE_AWAY = Problem(503, "The database is unavailable or too slow; nothing was stored. Try again.")
DATABASE_READ_ONLY = Problem(
    503, "The database is read-only for now; nothing was stored. Try again.", kind="database-read-only"
)
DATABASE_UNFIT = Problem(
    500,
    "The database lacks tables or rights that the service needs; nothing was stored. Trying again does not help: "
    "somebody has to mend it, and the log says what.",
    kind="database-unfit",
)
UNCERTAIN = Problem(
    503, "The connection to the database broke; send the same event_id again to find out what was stored."
)
OUT_OF_MEMORY = Problem(503, "The service is short of memory; nothing was stored. Try again.")
QUEUE_FULL = Problem(503, "Too many events are waiting already; nothing was stored. Try again.", kind="queue-full")
EXHAUSTED = Problem(
    409,
    "A number in the database is as large as it can be: there is no next one. Nothing was stored.",
    kind="exhausted",
)
INCOMPLETE = Problem(400, "The body is incomplete: it breaks off before its end.")
LATE_BODY = Problem(408, "The body did not arrive in time; nothing was stored.")
BODIES_FULL = Problem(
    503, "Too many bodies are being received already; nothing was stored. Try again.", kind="bodies-full"
)
LARGE_BODIES_FULL = Problem(
    503, "Too many large bodies are in hand already; nothing was stored. Try again.", kind="large-bodies-full"
)
REQUESTS_FULL = Problem(
    503, "Too many requests are waiting already; nothing was stored. Try again.", kind="requests-full"
)
READS_FULL = Problem(503, "Too many reads are waiting already. Try again.", kind="reads-full")
STREAMS_FULL = Problem(503, "Enough exports are being sent already. Try again later.", kind="exports-full")
OLD_HTTP = Problem(505, "An export needs HTTP/1.1: with HTTP/1.0, one that breaks off would look like a whole one.")
OVERLOADED = Problem(503, "Too much is under way already; nothing was stored. Try again.", kind="overloaded")


def answer_to(error: Exception, request_id: str, more: dict[str, Any] | None = None) -> Answer:
    """The problem document that answers `error`. Logs whatever is not the caller's fault.

    `more` has further members of the document of an HTTPException.

    A full queue is no line of its own: under overload there would be thousands, and each request has one.
    """
    if isinstance(error, Problem):
        return error.answer(request_id)
    if isinstance(error, BadPayload):
        return refused(error).answer(request_id)
    if isinstance(error, HTTPException):
        return _http(error, request_id, more)
    if isinstance(error, CommitUncertain):
        log.warning("commit_uncertain", request_id=request_id, error=_kind(error.__cause__))
        return UNCERTAIN.answer(request_id)
    if isinstance(error, QueueFull):
        return QUEUE_FULL.answer(request_id)
    if isinstance(error, Overloaded):
        return OVERLOADED.answer(request_id)
    if isinstance(error, SQLAlchemyError) and is_away(error):
        log.warning("database_away", request_id=request_id, error=_kind(error), cause=cause(error))
        return (DATABASE_READ_ONLY if is_read_only(error) else DATABASE_AWAY).answer(request_id)
    if is_unfit(error):
        log.error("database_unfit", request_id=request_id, error=_kind(error), cause=cause(error))
        return DATABASE_UNFIT.answer(request_id)
    if isinstance(error, MemoryError):
        log.warning("out_of_memory", request_id=request_id)
        return OUT_OF_MEMORY.answer(request_id)
    if is_out_of_numbers(error):
        log.error("out_of_numbers", request_id=request_id, error=_kind(error))
        return EXHAUSTED.answer(request_id)
    log.error("defect", request_id=request_id, error=_kind(error), exc_info=error if _may_be_shown(error) else None)
    return DEFECT.answer(request_id)


def _http(error: HTTPException, request_id: str, more: dict[str, Any] | None) -> Answer:
    status = error.code or 500
    answer = Problem(status, error.description or HTTP_STATUS_CODES[status], more=more).answer(request_id)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        allowed = {"Allow": ", ".join(sorted(error.valid_methods))}
        return answer._replace(headers={**answer.headers, **allowed})
    return answer


def _may_be_shown(error: BaseException | None) -> bool:
    # The message of a database error contains the statement's values, including amounts and names; a traceback shows
    # the errors before it too.
    while error is not None and not isinstance(error, SQLAlchemyError):
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return error is None


def _kind(error: BaseException | None) -> str:
    return type(getattr(error, "orig", None) or error).__name__
