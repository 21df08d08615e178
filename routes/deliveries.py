"""What is sent to webhooks: a test, the list of it, and sending some again."""

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from database import delivery_lists, webhooks
from database.delivery_lists import AttemptRow, DeliveryPage
from routes.http.access import caller
from routes.http.answers import json_answer
from routes.http.bodies import TOO_LARGE
from routes.http.hooks import service
from routes.http.json_body import read_model
from routes.http.operation import Operation, describe
from routes.http.paging import BAD_QUERY, cut, place, read_query
from routes.http.problems import DATABASE_AWAY, NOT_JSON, Problem
from routes.http.unknown import unknown_webhook
from routes.schemas.deliveries import (
    DeliveriesAnswer,
    DeliveriesQuery,
    DeliveryAnswer,
    QueuedAnswer,
    ResendRequest,
    ResentAnswer,
)
from rules.payload import FieldProblem
from work import webhooks as work
from work.webhooks import UnknownDelivery, UnknownWebhook, WebhookDisabled

blueprint = Blueprint("webhooks deliveries", __name__)

WEBHOOK = {"webhook_id": {"description": "The number of a webhook.", "example": 1}}
BAD_RESEND = Problem(
    400,
    "The request has missing or bad fields.",
    errors=[FieldProblem("", "must have either since or delivery")],
)
DISABLED = Problem(409, "The webhook is disabled, so nothing is sent to it: enable it first.", kind="webhook-disabled")


def unknown_delivery(delivery_id: int) -> Problem:
    """The answer when the webhook has no such delivery."""
    return Problem(404, f"The webhook has no delivery {delivery_id}, or no longer.", kind="unknown-delivery")


@blueprint.post("/webhooks/<id:webhook_id>/test")
@describe(
    Operation(
        needs="admin",
        path=WEBHOOK,
        answers={202: QueuedAnswer},
        problems=(unknown_webhook(7), DISABLED, DATABASE_AWAY),
    )
)
def test_webhook(webhook_id: int) -> Response:
    """Send a webhook a test.

    A message of the type `webhook.test` is queued; the list of deliveries, at `Location`, shows what came of it.
    """
    try:
        delivery = service().run(lambda session: work.send_test(session, webhook_id, who=caller().name))
    except UnknownWebhook:
        raise unknown_webhook(webhook_id) from None
    except WebhookDisabled:
        raise DISABLED.anew() from None
    return json_answer(QueuedAnswer(delivery=delivery), 202, {"Location": f"/webhooks/{webhook_id}/deliveries"})


@blueprint.get("/webhooks/<id:webhook_id>/deliveries")
@describe(
    Operation(
        needs="admin",
        path=WEBHOOK,
        query=DeliveriesQuery,
        answers={200: DeliveriesAnswer},
        problems=(BAD_QUERY, unknown_webhook(7), DATABASE_AWAY),
    )
)
def list_deliveries(webhook_id: int) -> Response:
    """List what was sent to a webhook or waits to be, newest first, with the attempts.

    `next` is the cursor of the next page; a page of those with one `status` can be shorter than `limit`, even empty,
    and still have one. Deliveries that ended are kept for some time only.
    """
    query = read_query(DeliveriesQuery)
    before = place(query)

    def read(session: Session) -> tuple[DeliveryPage, dict[int, list[AttemptRow]]]:
        if webhooks.get_webhook(session, webhook_id) is None:
            raise unknown_webhook(webhook_id)
        found = delivery_lists.page_of_deliveries(
            session, webhook_id, query.to_read, before[0] if before else None, query.status
        )
        return found, delivery_lists.attempts_of(session, [row.delivery_id for row in found.rows[: query.limit]])

    found, attempts = service().read(read)
    broke_off = None if found.broke_off_at is None else (found.broke_off_at,)
    page, following = cut(found.rows, query, lambda row: (row.delivery_id,), broke_off)
    shown = [DeliveryAnswer.of(row, attempts.get(row.delivery_id, [])) for row in page]
    return json_answer(DeliveriesAnswer(deliveries=shown, next=following))


@blueprint.post("/webhooks/<id:webhook_id>/resend")
@describe(
    Operation(
        needs="admin",
        path=WEBHOOK,
        body=ResendRequest,
        answers={200: ResentAnswer},
        problems=(BAD_RESEND, unknown_webhook(7), unknown_delivery(17), TOO_LARGE, NOT_JSON, DATABASE_AWAY),
    )
)
def resend(webhook_id: int) -> Response:
    """Send messages again: one delivery, or all that were made since a moment.

    They have the ids and bodies that they had, are signed anew, and wait to be sent as if they never had been; those
    that wait already are due at once. Of those since a moment one call takes 10,000: with a `next` in the answer, send
    it as `from`, with the same `since`, for the others.
    """
    wanted, who = read_model(ResendRequest), caller().name
    try:
        if wanted.delivery is not None:
            one = wanted.delivery
            done = service().run(lambda session: work.resend_one(session, webhook_id, one, who=who))
        else:
            assert wanted.since is not None
            since = wanted.since
            done = work.resend_since(service().run, webhook_id, since, after=wanted.start, who=who)
    except UnknownWebhook:
        raise unknown_webhook(webhook_id) from None
    except UnknownDelivery:
        raise unknown_delivery(wanted.delivery or 0) from None
    return json_answer(ResentAnswer.of(done))
