"""Entity tags: how a caller sees that nothing has changed, and changes nothing that somebody else has changed.

A tag is the version of what can be changed and a checksum of the whole answer. `If-None-Match` needs both, since
balances and figures move without a new version; `If-Match` compares the version alone, for the same reason.
"""

import re
import zlib

from flask import Response, request
from pydantic import BaseModel

from routes.http.answers import Answer, model_bytes
from routes.http.problems import Problem

_TAG = re.compile(r'(W/)?"([^"]*)"')


def changed() -> Problem:
    """The answer to a change of what somebody else has changed meanwhile."""
    return Problem(412, "It has changed since it was read: read it again. Nothing was stored.", kind="changed")


def tagged(answer: BaseModel, version: int) -> Response:
    """`answer` as JSON with its ETag; 304 without it where the caller of a GET has it already."""
    body = model_bytes(answer)
    tag = f"{version}-{zlib.crc32(body):08x}"
    headers = {"ETag": f'"{tag}"'}
    if request.method in ("GET", "HEAD") and request.if_none_match.contains_weak(tag):
        return Response(status=304, headers=headers)
    return Answer(200, {"Content-Type": "application/json"} | headers, body).response()


def must_match(version: int) -> None:
    """Raise Problem 412 where the request has an `If-Match` without a tag of this version."""
    given = request.headers.get("If-Match", "*")
    # A weak tag never matches here (RFC 9110).
    strong = {tag.partition("-")[0] for weak, tag in _TAG.findall(given) if not weak}
    if given.strip() != "*" and str(version) not in strong:
        raise changed()
