"""Entity tags: how a caller sees that nothing has changed, and avoids overwriting somebody else's change.

A tag is made of the version of what can be changed and a checksum of the whole answer. `If-None-Match` needs both,
since balances and figures change without a new version; for the same reason, `If-Match` compares only the version.
The tag of an alert is its version alone, as the contract has it: there is no `If-None-Match` for it.
"""

import re
import zlib

from flask import Response, request
from pydantic import BaseModel

from routes.http.answers import Answer, json_answer, model_bytes
from routes.http.problems import Problem

_TAG = re.compile(r'(W/)?"([^"]*)"')


def changed(current: BaseModel | None = None) -> Problem:
    """The answer to a change of something that has been changed in the meantime; `current` is what it is now."""
    more = {} if current is None else {"current": current.model_dump(mode="json", by_alias=True)}
    return Problem(
        412, "It has changed since it was read: read it again. Nothing was stored.", kind="changed", more=more
    )


def tagged(answer: BaseModel, version: int) -> Response:
    """`answer` as JSON with its ETag; for a GET whose caller already has it, a 304 with no body."""
    return tagged_bytes(model_bytes(answer), version)


def tagged_bytes(body: bytes, version: int | str) -> Response:
    """The same for JSON that is written already."""
    tag = f"{version}-{zlib.crc32(body):08x}"
    headers = {"ETag": f'"{tag}"'}
    if request.method in ("GET", "HEAD") and request.if_none_match.contains_weak(tag):
        return Response(status=304, headers=headers)
    return Answer(200, {"Content-Type": "application/json"} | headers, body).response()


def versioned(answer: BaseModel, version: int) -> Response:
    """`answer` as JSON with an ETag for `If-Match` alone: late events change the answer, and not the tag."""
    return json_answer(answer, headers={"ETag": f'"{version}"'})


def fits(version: int) -> bool:
    """Whether the request has no `If-Match`, or one of its tags is of this version."""
    named = request.headers.get("If-Match", "*")
    return named.strip() == "*" or has_version(named, version)


def has_version(tags: str, version: int) -> bool:
    """Whether one of the entity tags in this text is of this version."""
    # A weak tag never matches here (RFC 9110).
    return str(version) in {tag.partition("-")[0] for weak, tag in _TAG.findall(tags) if not weak}


def must_match(version: int) -> None:
    """Raise Problem 412 if the request has an `If-Match` and none of its tags is of this version."""
    if not fits(version):
        raise changed()
