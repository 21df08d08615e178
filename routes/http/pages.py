"""Pages for people in browsers: who prefers one, where it may lead, what errors look like, and how to sign in."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Response, redirect
from jinja2 import Environment, FileSystemLoader
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from routes.http.answers import Answer
from routes.http.assets import asset_url
from routes.http.problems import Problem
from routes.http.safe_headers import STRICT_PAGE_POLICY

HTML, JSON = "text/html", "application/json"
PROBLEM_JSON = "application/problem+json"
TEMPLATES = Path(__file__).parent.parent / "templates"
DESK = "/desk"  # how the paths of all pages of the desk begin
# The headers of every page. With "no-referrer" browsers send a form to its own origin with `Origin: null`.
PAGE_HEADERS = {
    "Content-Security-Policy": STRICT_PAGE_POLICY,
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}
SIGN_IN, SIGN_OUT = "/sign-in", f"{DESK}/sign-out"
START = "/"
LONGEST_NEXT = 2_000  # characters

# A path of this host: browsers take what begins with two slashes, forward or back, for another host.
_OWN_PATH = re.compile(r"/(?![/\\])[^\x00-\x20\x7f\\]*")


def prefers_page(accept: str) -> bool:
    """Whether who sends this `Accept` header would rather have HTML than JSON, as browsers do."""
    return parse_accept_header(accept, MIMEAccept).best_match((JSON, HTML)) == HTML


def own_path(wanted: str) -> str:
    """Where to go next: the path of this service that is `wanted`, or the start if it is none."""
    return wanted if len(wanted) <= LONGEST_NEXT and _OWN_PATH.fullmatch(wanted) else START


# Errors are shown by both doors, so this does without Flask.
_templates = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)


def shown(answer: Answer, environ: Mapping[str, Any]) -> Answer:
    """`answer`, but an error of the desk's as a page; or as a card, for a page that asked for a part of itself.

    The part of the page that was asked for stays as it is: the card has a place of its own.
    """
    path, is_part = str(environ.get("PATH_INFO", "")), is_for_part(environ)
    if answer.headers.get("Content-Type") != PROBLEM_JSON or not f"{path}/".startswith(f"{DESK}/"):
        return answer
    if not is_part and not prefers_page(environ.get("HTTP_ACCEPT", "")):
        return answer
    template = _templates.get_template("desk/problem_card.html" if is_part else "desk/problem.html")
    body = template.render(
        problem=json.loads(answer.body),
        heading="h2" if is_part else "h1",
        is_part=is_part,
        again=_address(environ) if environ.get("REQUEST_METHOD") == "GET" else None,
        asset_url=asset_url,
        sign_in=SIGN_IN,
    )
    place = {"HX-Retarget": "#notices", "HX-Reswap": "innerHTML"} if is_part else {}
    headers = {**answer.headers, **PAGE_HEADERS, "Content-Type": f"{HTML}; charset=utf-8", **place}
    return Answer(answer.status, headers, body.encode())


def is_for_part(environ: Mapping[str, Any]) -> bool:
    """Whether a page asks for a part of itself, and not a browser for a whole page."""
    return "HTTP_HX_REQUEST" in environ and "HTTP_HX_HISTORY_RESTORE_REQUEST" not in environ


def _address(environ: Mapping[str, Any]) -> str:
    query = environ.get("QUERY_STRING", "")
    path = quote(str(environ.get("PATH_INFO", "")).encode("latin-1"))
    return f"{path}?{query}" if query else path


def lead_to(path: str, status: int = 303) -> Response:
    """The answer that leads a browser on to `path`; with 303, after what it sent was accepted."""
    found = redirect(path, status)
    assert isinstance(found, Response)
    return found


class SignInFirst(Problem):
    """The answer to somebody without a key who wants to see a page: the one to sign in, and then that page."""

    def __init__(self, environ: Mapping[str, Any]) -> None:
        super().__init__(401, "A key is needed.", kind="no-key")
        self._wanted = _address(environ)

    def answer(self, request_id: str) -> Answer:  # noqa: ARG002
        """A redirection to the page."""
        return Answer(303, {"Location": f"{SIGN_IN}?next={quote(own_path(self._wanted), safe='')}"}, b"")
