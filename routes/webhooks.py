"""Webhooks: endpoints that are told of what happens to alerts; what was sent to them, and sending it again."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from flask import Blueprint, Response, current_app
from sqlalchemy.orm import Session

from database import delivery_lists, webhooks
from database.session import CommitUncertain
from database.webhooks import WebhookRow
from routes.http.access import caller
from routes.http.answers import json_answer
from routes.http.bodies import TOO_LARGE
from routes.http.etags import changed, must_match, tagged
from routes.http.hooks import service
from routes.http.json_body import read_model
from routes.http.operation import Nothing, Operation, describe
from routes.http.problems import DATABASE_AWAY, NOT_JSON, Problem
from routes.http.unknown import unknown_webhook
from routes.schemas.webhook_messages import MESSAGES
from routes.schemas.webhooks import (
    MadeWebhookAnswer,
    SecretRotationRequest,
    WebhookAnswer,
    WebhookChange,
    WebhookRequest,
    WebhooksAnswer,
)
from rules.payload import FieldProblem
from work import webhooks as work
from work.webhook_addresses import UrlRefused
from work.webhook_secrets import NoSecretKey
from work.webhooks import UnknownWebhook, Webhooks

T = TypeVar("T")

blueprint = Blueprint("webhooks", __name__)

WEBHOOK = {"webhook_id": {"description": "The number of a webhook.", "example": 1}}
_BAD = "The request has missing or bad fields."


def bad_url(reason: str) -> Problem:
    """The answer to a URL at which nothing may be sent."""
    return Problem(400, _BAD, errors=[FieldProblem("/url", reason)])


BAD_URL = bad_url("127.0.0.1 is not a public address, and settings do not allow it")
BAD_ROTATION = Problem(400, _BAD, errors=[FieldProblem("/overlap_hours", "Input should be greater than or equal to 0")])
TOO_MANY = Problem(409, f"There are {work.MOST} webhooks: delete one first.", kind="too-many-webhooks")
NO_SECRET_KEY = Problem(
    409,
    "The service was started without SECRET_KEY, so no secret of a webhook can be stored: set it and start again.",
    kind="no-secret-key",
)
UNCERTAIN = Problem(503, "The connection to the database broke; GET /webhooks shows what was stored.")
_SHARED = (TOO_LARGE, NOT_JSON, DATABASE_AWAY)


@blueprint.post("/webhooks")
@describe(
    Operation(
        needs="admin",
        body=WebhookRequest,
        answers={201: MadeWebhookAnswer},
        problems=(BAD_URL, TOO_MANY, NO_SECRET_KEY, *_SHARED),
        messages=MESSAGES,
    )
)
def create_webhook() -> Response:
    """Make a webhook.

    From the answer on, every event that it wants is posted to its `url`. `secret` verifies the signatures of messages;
    nobody can read it again. There can be 50 webhooks.
    """
    wanted = read_model(WebhookRequest)
    try:
        made = _run(lambda: _webhooks().make(service().run, wanted.model_dump(), who=caller().name))
    except UrlRefused as refused:
        raise bad_url(refused.reason) from None
    except work.TooManyWebhooks:
        raise TOO_MANY.anew() from None
    answer = MadeWebhookAnswer.made(made.row, _waiting(made.row), made.secret)
    return json_answer(answer, 201, {"Location": f"/webhooks/{made.row.webhook_id}"})


@blueprint.get("/webhooks")
@describe(Operation(needs="admin", answers={200: WebhooksAnswer}, problems=(DATABASE_AWAY,)))
def list_webhooks() -> Response:
    """List all webhooks, and how sending to them goes."""

    def read(session: Session) -> WebhooksAnswer:
        rows = webhooks.all_webhooks(session)
        waiting = delivery_lists.waiting_of(session, [row.webhook_id for row in rows])
        answers = [WebhookAnswer.of(row, waiting[row.webhook_id]) for row in rows]
        return WebhooksAnswer(webhooks=answers, held=webhooks.held(session))

    return json_answer(service().read(read))


@blueprint.get("/webhooks/<id:webhook_id>")
@describe(
    Operation(
        needs="admin",
        path=WEBHOOK,
        answers={200: WebhookAnswer},
        problems=(unknown_webhook(7), DATABASE_AWAY),
        tagged=True,
    )
)
def get_webhook(webhook_id: int) -> Response:
    """Read a webhook, and how sending to it goes."""
    row = service().read(lambda session: webhooks.get_webhook(session, webhook_id))
    if row is None:
        raise unknown_webhook(webhook_id)
    return tagged(WebhookAnswer.of(row, _waiting(row)), row.version)


@blueprint.patch("/webhooks/<id:webhook_id>")
@describe(
    Operation(
        needs="admin",
        path=WEBHOOK,
        body=WebhookChange,
        answers={200: WebhookAnswer},
        problems=(BAD_URL, unknown_webhook(7), changed(), *_SHARED),
        tagged=True,
    )
)
def change_webhook(webhook_id: int) -> Response:
    """Change a webhook, or disable or enable it.

    While it is disabled nothing is sent: what waits goes on when it is enabled again, and what happens meanwhile it is
    never told. With `If-Match`, the answer is a 412 if it was changed in the meantime.
    """
    wanted = read_model(WebhookChange).changes()
    try:
        row = _run(
            lambda: _webhooks().change(service().run, webhook_id, wanted, who=caller().name, must_match=must_match)
        )
    except UrlRefused as refused:
        raise bad_url(refused.reason) from None
    except UnknownWebhook:
        raise unknown_webhook(webhook_id) from None
    return tagged(WebhookAnswer.of(row, _waiting(row)), row.version)


@blueprint.delete("/webhooks/<id:webhook_id>")
@describe(
    Operation(
        needs="admin",
        path=WEBHOOK,
        answers={204: Nothing("It is deleted.")},
        problems=(unknown_webhook(7), DATABASE_AWAY),
    )
)
def delete_webhook(webhook_id: int) -> Response:
    """Delete a webhook.

    What it was still to be sent is not sent, and its deliveries are removed.
    """
    try:
        _run(lambda: service().run(lambda session: work.delete_webhook(session, webhook_id, who=caller().name)))
    except UnknownWebhook:
        raise unknown_webhook(webhook_id) from None
    return Response(status=204)


@blueprint.post("/webhooks/<id:webhook_id>/rotate")
@describe(
    Operation(
        needs="admin",
        path=WEBHOOK,
        body=SecretRotationRequest,
        answers={200: MadeWebhookAnswer},
        problems=(BAD_ROTATION, unknown_webhook(7), NO_SECRET_KEY, *_SHARED),
    )
)
def rotate_webhook_secret(webhook_id: int) -> Response:
    """Give a webhook a new secret.

    Until the overlap has passed, messages carry two signatures, one with either secret, so that the receiver can change
    over at any moment in between. A secret before those two is void at once.
    """
    overlap = timedelta(hours=read_model(SecretRotationRequest).overlap_hours)
    try:
        made = _run(lambda: _webhooks().rotate(service().run, webhook_id, overlap, who=caller().name))
    except UnknownWebhook:
        raise unknown_webhook(webhook_id) from None
    return json_answer(MadeWebhookAnswer.made(made.row, _waiting(made.row), made.secret))


def _webhooks() -> Webhooks:
    return Webhooks.of(current_app.extensions)


def _waiting(row: WebhookRow) -> delivery_lists.WaitingDeliveries:
    return service().read(lambda session: work.waiting_of(session, row))


def _run(change: Callable[[], T]) -> T:
    try:
        return change()
    except NoSecretKey:
        raise NO_SECRET_KEY.anew() from None
    except CommitUncertain:
        raise UNCERTAIN.anew() from None
