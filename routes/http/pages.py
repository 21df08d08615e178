"""Pages for people in browsers: who prefers one, where it may lead, and how somebody without a key gets to sign in."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from routes.http.answers import Answer
from routes.http.problems import Problem

HTML, JSON = "text/html", "application/json"
SIGN_IN = "/sign-in"
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


class SignInFirst(Problem):
    """The answer to somebody without a key who wants to see a page: the one to sign in, and then that page."""

    def __init__(self, environ: Mapping[str, Any]) -> None:
        super().__init__(401, "A key is needed.", kind="no-key")
        query = environ.get("QUERY_STRING", "")
        path = quote(str(environ.get("PATH_INFO", "")).encode("latin-1"))
        self._wanted = f"{path}?{query}" if query else path

    def answer(self, request_id: str) -> Answer:  # noqa: ARG002
        """A redirection to the page."""
        return Answer(303, {"Location": f"{SIGN_IN}?next={quote(own_path(self._wanted), safe='')}"}, b"")
