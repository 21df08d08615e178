"""`GET /metrics`, for Prometheus."""

from flask import Blueprint, Response

import metrics  # noqa: TID251
from routes.http.operation import Operation, Text, describe
from routes.http.problems import Problem

OFF = "There was no room for metrics when the service started."
EXAMPLE = 'transaction_alerts_alerts_total{code="1100"} 1.0\n'

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@describe(
    Operation(
        needs="read",
        answers={200: Text("text/plain", "Prometheus' text format.", EXAMPLE)},
        problems=(Problem(503, OFF),),
    )
)
def get_metrics() -> Response:
    """Read the metrics of all workers."""
    if not metrics.are_kept():
        raise Problem(503, OFF)
    text, content_type = metrics.exposition()
    return Response(text, content_type=content_type)
