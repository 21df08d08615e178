"""`GET /`: where to go from here; and what browsers ask for by themselves."""

from flask import Blueprint, Response, abort, request, url_for

from routes.http import hints
from routes.http.answers import json_answer
from routes.http.operation import Operation, describe, needs
from routes.http.pages import DESK, lead_to, prefers_page
from routes.schemas.start import StartAnswer

blueprint = Blueprint("start", __name__)

_A_DAY = "public, max-age=86400"


@blueprint.get("/")
@describe(Operation(needs="any", answers={200: StartAnswer}))
def get_start() -> Response:
    """Find out what there is.

    Callers that prefer HTML, as browsers do, are sent on to the desk, the pages on which people work.
    """
    wants_page = prefers_page(request.headers.get("Accept", ""))
    answer = lead_to(f"{DESK}/", 302) if wants_page else json_answer(StartAnswer.at(request.root_url.rstrip("/")))
    answer.headers["Vary"] = "Accept"
    return answer


@blueprint.get("/docs/")
@blueprint.get("/docs/index.html", endpoint="docs_index")
@needs("any")
def docs_with_a_slash() -> Response:
    """The page of the document under other names that people type."""
    return lead_to(url_for("docs.get_docs_page"), 302)


@blueprint.get("/docs/examples/<path:posted>.json")
@needs("any")
def example(posted: str) -> Response:
    """An example of what is posted to a path: for the commands that answers show."""
    found = hints.example(f"/{posted}")
    if found is None:
        abort(404)
    return json_answer(found)


@blueprint.get("/favicon.ico")
@needs("nothing")  # browsers ask for it beside the page to sign in, too
def icon() -> Response:
    """No icon, which browsers ask for beside every page; they need not ask again today."""
    return Response(status=204, headers={"Cache-Control": _A_DAY})
