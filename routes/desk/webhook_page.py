"""What the page of a webhook shows: how sending goes, what was sent and waits, and the forms as they were entered."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from flask import Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from sqlalchemy.orm import Session

from database import delivery_lists, webhooks
from database.delivery_lists import AttemptRow, DeliveryPage, DeliveryRow, WaitingDeliveries
from database.webhooks import WebhookRow
from routes.desk.shell import page
from routes.desk.webhook_form import EVENTS, EnteredWebhook, rule_titles
from routes.desk.webhook_health import WebhookHealth
from routes.http.hooks import service
from routes.http.pages import DESK
from routes.http.unknown import unknown_webhook
from routes.schemas.deliveries import DeliveryStatus
from routes.schemas.fields import Id, MomentText, digits
from rules.values import MAX_ID, alert_id, written_moment

SIZE = 25  # deliveries on a page
OVERLAP = "24"  # hours, unless something else is entered
MOVED = (
    "Somebody has changed the webhook since you opened this form. Look at how it is now; what you entered is kept, and "
    "saving again puts it in the place of that."
)
NO_KEY = "The service was started without SECRET_KEY, so no secret can be stored. Set it and start the service again."
STATUSES: Mapping[DeliveryStatus, str] = {"waiting": "Waiting", "delivered": "Delivered", "given_up": "Given up"}
SAID: Mapping[str, str] = {
    "saved": "Saved.",
    "enabled": "Enabled. What waits is sent.",
    "disabled": "Disabled. Nothing is sent until it is enabled; what happens meanwhile it is never told.",
    "tested": "A test is to be sent. It is the newest delivery.",
}


class WebhookQuery(BaseModel):
    """Which deliveries: those with a status, older than one; and what was done just now.

    After deliveries were sent again: how many, and if there were more of them, since when and which is the next one.
    """

    model_config = ConfigDict(frozen=True)

    status: DeliveryStatus | None = None
    before: Annotated[Id | None, BeforeValidator(digits)] = None
    said: str = ""
    number: Annotated[int, Field(ge=0, le=MAX_ID)] = 0
    since: MomentText | None = None
    start: Annotated[Id | None, BeforeValidator(digits)] = None

    def path(self, webhook_id: int, **changes: Any) -> str:
        """The path of a page of the deliveries of a webhook."""
        asked = {"status": self.status, "before": self.before} | changes
        query = urlencode({name: value for name, value in asked.items() if value})
        return f"{DESK}/webhooks/{webhook_id}{'?' if query else ''}{query}"

    @property
    def done(self) -> str | None:
        """What was done just now, in words."""
        if self.said != "resent":
            return SAID.get(self.said)
        if not self.number:
            return "There was nothing to send again."
        return f"{self.number:,} {'delivery waits' if self.number == 1 else 'deliveries wait'} to be sent again."

    @property
    def left(self) -> Mapping[str, str] | None:
        """The fields of the form that goes on with what was left, if something was."""
        if self.said != "resent" or self.since is None or self.start is None:
            return None
        return {"since": written_moment(self.since), "start": str(self.start)}


class ShownDelivery(NamedTuple):
    """A delivery as a line, with the id of its alert (None: it is about none) and its attempts, newest first."""

    row: DeliveryRow
    alert: str | None
    attempts: list[AttemptRow]


class _ReadWebhook(NamedTuple):
    row: WebhookRow
    held: str | None
    waiting: WaitingDeliveries
    found: DeliveryPage
    attempts: dict[int, list[AttemptRow]]
    titles: Mapping[int, str]


def show_webhook(
    webhook_id: int,
    status: int = 200,
    *,
    query: WebhookQuery | None = None,
    secret: str | None = None,
    entered: EnteredWebhook | None = None,
    faults: Mapping[str, str] | None = None,
    hours: str = OVERLAP,
    since: str = "",
) -> Response:
    """The page of a webhook; with a new `secret`, which no other answer has. Raises Problem 404.

    `entered`, `hours` and `since` stand in its forms, `faults` beside their fields ("" for the page as a whole).
    """
    query = query or WebhookQuery()

    def read(session: Session) -> _ReadWebhook:
        row = webhooks.get_webhook(session, webhook_id)
        if row is None:
            raise unknown_webhook(webhook_id)
        found = delivery_lists.page_of_deliveries(session, webhook_id, SIZE + 1, query.before, query.status)
        return _ReadWebhook(
            row=row,
            held=webhooks.held(session),
            waiting=delivery_lists.waiting_of(session, [webhook_id])[webhook_id],
            found=found,
            attempts=delivery_lists.attempts_of(session, [one.delivery_id for one in found.rows[:SIZE]]),
            titles=rule_titles(session),
        )

    read_all = service().read(read)
    rows, row = read_all.found.rows, read_all.row
    ends = rows[SIZE - 1].delivery_id if len(rows) > SIZE else read_all.found.broke_off_at
    shown = page(
        "desk/webhook.html",
        status,
        webhook=row,
        host=urlsplit(row.url).netloc,
        health=WebhookHealth.of(row, read_all.held),
        held=read_all.held,
        waiting=read_all.waiting,
        deliveries=[_shown(one, read_all.attempts) for one in rows[:SIZE]],
        broke_off=read_all.found.broke_off_at,
        older=ends and query.path(webhook_id, before=ends),
        query=query,
        statuses=STATUSES,
        titles=read_all.titles,
        events=EVENTS,
        secret=secret,
        entered=entered or EnteredWebhook.of(row),
        is_entered=entered is not None,
        faults=faults or {},
        hours=hours,
        since=since,
    )
    if secret is not None:  # who loads the page again gets it without
        shown.headers["HX-Push-Url"] = query.path(webhook_id)
    return shown


def _shown(row: DeliveryRow, attempts: Mapping[int, list[AttemptRow]]) -> ShownDelivery:
    about = None if row.user_id is None else alert_id(row.user_id, row.seq or 0, row.code or 0)
    return ShownDelivery(row, about, attempts.get(row.delivery_id, []))
