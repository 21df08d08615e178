"""`GET /healthz` and `GET /readyz`, for what keeps the service running."""

import structlog
from flask import Blueprint, Response

from database import migrations, readiness
from routes.http.answers import json_answer
from routes.http.hooks import service
from routes.http.operation import Operation, describe
from routes.http.problems import Problem
from routes.schemas.health import HealthAnswer, ReadinessAnswer

log = structlog.get_logger()

# Examples of its answers: as every shared problem, never raised.
NOT_READY = tuple(
    Problem(503, reason)
    for reason in (
        readiness.AWAY,
        readiness.FULL,
        readiness.READ_ONLY,
        *filter(None, map(migrations.explain, migrations.MigrationState)),
        readiness.UNFIT,
        readiness.NOT_UNIQUE,
    )
)

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
@describe(Operation(needs="nothing", answers={200: HealthAnswer}))
def get_health() -> Response:
    """Check that the process is alive.

    This says nothing about the database.
    """
    return json_answer(HealthAnswer(status="ok"))


@blueprint.get("/readyz")
@describe(Operation(needs="nothing", answers={200: ReadinessAnswer}, problems=NOT_READY))
def get_readiness() -> Response:
    """Check that the service can take events.

    It can when the migrations of the database are current, or newer and still for this release, its tables and rights
    are there, and something can be stored, which is tried for real at most once a second. The `detail` of a 503 says
    what is wrong. `warnings` in a 200 name indexes that are missing or invalid: lists may be slow, but events are
    taken.
    """
    if reason := service().readiness.problem():
        raise Problem(503, reason)
    if warnings := service().readiness.warnings:
        return json_answer(ReadinessAnswer(status="ok", warnings=list(warnings)))
    return json_answer(HealthAnswer(status="ok"))


def log_warnings(warnings: tuple[str, ...]) -> None:
    """Log what readiness warns of now, after it has changed."""
    if warnings:
        log.warning("indexes_unusable", warnings=warnings)
    else:
        log.info("indexes_usable")
