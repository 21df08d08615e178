"""`GET /healthz` and `GET /readyz`, for what keeps the service running."""

from flask import Blueprint, Response

from database import migrations
from routes.http.answers import json_answer
from routes.http.hooks import service
from routes.http.operation import Operation, describe
from routes.http.problems import DATABASE_AWAY, Problem
from routes.schemas.health import HealthAnswer

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
@describe(Operation(answers={200: HealthAnswer}))
def healthz() -> Response:
    """Check that the process is alive.

    This says nothing about the database.
    """
    return json_answer(HealthAnswer(status="ok"))


@blueprint.get("/readyz")
@describe(Operation(answers={200: HealthAnswer}, problems=(DATABASE_AWAY,)))
def readyz() -> Response:
    """Check that the service can take events.

    It can when the database answers and its migrations are current.
    """
    if service().run(migrations.migration_at) != migrations.head():
        raise Problem(503, "The migrations of the database are not current: run alembic upgrade head.")
    return json_answer(HealthAnswer(status="ok"))
