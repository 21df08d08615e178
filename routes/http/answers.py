"""What is answered: JSON with the fields in the order given, each written once."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from flask import Response

_ENCODER = json.JSONEncoder(separators=(",", ":"))  # one for all: making it takes as long as writing an answer


class Answer(NamedTuple):
    """A whole answer, whoever sends it: Flask, or the server itself."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def response(self) -> Response:
        """The same as Flask's response."""
        return Response(self.body, self.status, self.headers)


def json_bytes(data: Mapping[str, Any]) -> bytes:
    """`data` as compact JSON on a line of its own."""
    return (_ENCODER.encode(data) + "\n").encode()


def json_answer(data: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`data` as an application/json answer."""
    return Answer(status, {"Content-Type": "application/json"} | dict(headers or {}), json_bytes(data)).response()
