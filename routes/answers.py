"""How views answer: JSON with the fields in the order given, each written once."""

import json
from typing import Any

from flask import Response


def json_answer(data: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`data` as an application/json answer."""
    body = json.dumps(data, separators=(",", ":")) + "\n"
    return Response(body, status, headers, content_type="application/json")
