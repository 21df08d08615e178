"""What a caller who asked at the wrong place, or in the wrong way, probably wanted: so that the answer can say it."""

import json
from collections.abc import Iterator
from itertools import product

from flask import current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import RequestRedirect, Rule

from routes.http.operation import Operation
from rules.spelling import near

LISTED_AT = "GET / says what there is."
_READS = ("GET", "HEAD")
_MOST_PARTS = 4  # of a path that may be meant; the service's own have three


def wrong_path() -> str:
    """The detail of a 404 for a path that there is not."""
    right = next((path for path in _similar(request.path) if _exists(path)), None)
    return "There is no such path. " + (f"Did you mean {right}?" if right else LISTED_AT)


def wrong_method(error: MethodNotAllowed) -> str:
    """The detail of a 405: for somebody who looks at a path that only takes posts, also how to post there."""
    detail = str(error.description)
    found = _match(request.path, "POST") if request.method in _READS else None
    operation: Operation | None = (
        getattr(current_app.view_functions[found.endpoint], "operation", None) if found else None
    )
    if operation is None or operation.body is None:
        return detail
    example = json.dumps(operation.body.model_json_schema()["examples"][0])
    here = request.root_url.rstrip("/") + request.path
    return f"{detail} Post here: curl {here} -H 'Content-Type: application/json' -d '{example}'"


def _similar(path: str) -> Iterator[str]:
    """Paths that somebody may have meant who asked for `path`, whether there are such or not."""
    parts = [part for part in path.split("/") if part]
    yield "/" + "/".join(parts)
    if len(parts) > _MOST_PARTS:
        return
    known = sorted({part for rule in current_app.url_map.iter_rules() for part in rule.rule.split("/")})
    meant = [[part] if any(map(str.isdigit, part)) else [*near(part, known), part] for part in parts]
    yield from ("/" + "/".join(chosen) for chosen in product(*meant))
    if parts[1:]:
        yield "/" + "/".join(parts[1:])  # what stands before it may be /api or a version


def _exists(path: str) -> bool:
    return any(_match(path, method) for method in ("GET", "POST"))


def _match(path: str, method: str) -> Rule | None:
    try:
        rule, _ = current_app.url_map.bind("").match(path, method, return_rule=True)
    except (HTTPException, RequestRedirect):
        return None
    return rule
