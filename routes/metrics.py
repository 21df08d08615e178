"""GET /metrics, for Prometheus."""

from flask import Blueprint, Response

from routes.context import context

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def metrics() -> Response:
    """What all workers have counted, in Prometheus' text format."""
    text, content_type = context().exposition()
    return Response(text, content_type=content_type)
