"""GET /metrics, for Prometheus."""

from flask import Blueprint, Response

from routes.context import context
from routes.openapi import Operation, Text, describe

EXAMPLE = 'alerts_total{code="1100"} 1.0\n'

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@describe(Operation(answers={200: Text("text/plain", "Prometheus' text format.", EXAMPLE)}))
def metrics() -> Response:
    """Read what all workers have counted."""
    text, content_type = context().exposition()
    return Response(text, content_type=content_type)
