"""Writing answers: compact ASCII JSON on one line, with the members in the order given."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from flask import Response
from pydantic import BaseModel

_ENCODER = json.JSONEncoder(separators=(",", ":"))  # shared: making one takes as long as writing an answer


class Answer(NamedTuple):
    """A whole answer, to be sent by Flask or by the server itself."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def response(self) -> Response:
        """The answer as a Flask response."""
        return Response(self.body, self.status, self.headers)


def json_bytes(data: Mapping[str, Any]) -> bytes:
    """`data` as JSON, with a newline at the end."""
    return (_ENCODER.encode(data) + "\n").encode()


def model_bytes(model: BaseModel) -> bytes:
    """`model` as JSON, byte for byte as `json_bytes` would write its data, except for floats under 0.0001."""
    # The json module escapes DEL; pydantic does not.
    text = model.model_dump_json(by_alias=True, ensure_ascii=True).replace("\x7f", "\\u007f")
    return (text + "\n").encode()


def json_answer(
    data: BaseModel | Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """`data` as an application/json answer."""
    body = model_bytes(data) if isinstance(data, BaseModel) else json_bytes(data)
    return Answer(status, {"Content-Type": "application/json"} | dict(headers or {}), body).response()
