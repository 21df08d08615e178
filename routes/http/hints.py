"""What a caller who asked at the wrong place, or in the wrong way, probably wanted: so that the answer can say it."""

from collections.abc import Iterator
from itertools import product
from typing import Any

from flask import current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import RequestRedirect

from routes.http.operation import Operation
from routes.http.pages import DESK
from routes.schemas.json_schema import BodySchema
from routes.schemas.start import example_command
from rules.spelling import near

LISTED_AT = "GET / says what there is."
_READS = ("GET", "HEAD")
_MOST_PARTS = 4  # of a path that may be meant; the service's own have three


def wrong_path() -> str:
    """The detail of a 404 for a path that there is not."""
    if request.path.startswith(f"{DESK}/"):
        return "There is no such page."
    right = next((path for path in _similar(request.path) if _exists(path)), None)
    return "There is no such path. " + (f"Did you mean {right}?" if right else LISTED_AT)


def is_there(error: MethodNotAllowed) -> bool:
    """Whether the path is one by another method.

    Werkzeug compares methods before it reads what is in a path, such as an id that is too large.
    """
    adapter = current_app.create_url_adapter(request)
    assert adapter is not None
    return any(adapter.test(method=method) for method in error.valid_methods or ())


def wrong_method(error: MethodNotAllowed) -> tuple[str, dict[str, Any]]:
    """The detail of a 405, and more members of its document.

    For somebody who looks at a path that only takes posts they say how to post there.
    """
    body = example(request.path) if request.method in _READS else None
    if body is None:
        return str(error.description), {}
    command = example_command(request.root_url.rstrip("/"), request.path)
    return f"{error.description} To post what is in example: {command}", {"example": body}


def example(path: str) -> Any:
    """An example of what is posted to `path`, or None if nothing is."""
    operation = _operation(path, "POST")
    if operation is None or operation.body is None:
        return None
    return operation.body.model_json_schema(schema_generator=BodySchema)["examples"][0]


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
    return any(_operation(path, method) for method in ("GET", "POST"))


def _operation(path: str, method: str) -> Operation | None:
    try:
        endpoint, _ = current_app.url_map.bind("").match(path, method)
    except (HTTPException, RequestRedirect):
        return None
    return getattr(current_app.view_functions[endpoint], "operation", None)
