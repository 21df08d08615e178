"""The list of webhooks: where each leads, what it is told, how that goes; and the form that makes one."""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app
from pydantic import BaseModel
from sqlalchemy.orm import Session

from database import delivery_lists, webhooks
from database.delivery_lists import WaitingDeliveries
from database.webhooks import WebhookRow
from routes.desk.forms import MAX_FORM, BadForm, form_fields, read_filters
from routes.desk.shell import page
from routes.desk.webhook_form import EVENTS, EnteredWebhook, rule_titles
from routes.desk.webhook_health import WebhookHealth
from routes.desk.webhook_page import NO_KEY, show_webhook
from routes.http.access import caller
from routes.http.hooks import service
from routes.http.operation import needs
from routes.http.pages import DESK
from rules.values import read_whole_number
from work import webhooks as work
from work.webhook_addresses import UrlRefused
from work.webhook_secrets import NoSecretKey
from work.webhooks import MadeAlready, TooManyWebhooks, Webhooks

blueprint = Blueprint("desk_webhooks", __name__, template_folder="../templates")


class ListedWebhook(NamedTuple):
    """A webhook as a line of the list."""

    row: WebhookRow
    host: str
    health: WebhookHealth
    waiting: WaitingDeliveries


class WebhooksQuery(BaseModel):
    """What was done just now: the webhook that was deleted."""

    deleted: int | None = None


@blueprint.get(f"{DESK}/webhooks")
@needs("admin")
def list_webhooks() -> Response:
    """All webhooks, in the order in which they were made."""
    return _shown(deleted=read_filters(WebhooksQuery).deleted)


@blueprint.post(f"{DESK}/webhooks")
@needs("admin", max_body=MAX_FORM)
def make_webhook_from_page() -> Response:
    """Make a webhook. The answer is its page, with the secret, which is shown this once."""
    fields = form_fields()
    entered = EnteredWebhook.sent(fields)
    try:
        newest = read_whole_number(fields.get("newest", [""])[-1])
    except ValueError:
        return _shown(400, entered=entered, faults={"": "The form was not whole: send it again."})
    try:
        wanted = entered.columns()
        made = Webhooks.of(current_app.extensions).make(service().run, wanted, who=caller().name, newest=newest)
    except BadForm as bad:
        return _shown(400, entered=entered, faults=bad.faults)
    except UrlRefused as refused:
        return _shown(400, entered=entered, faults={"url": refused.reason})
    except NoSecretKey:
        return _shown(409, entered=entered, faults={"": NO_KEY})
    except TooManyWebhooks:
        return _shown(409, entered=entered, faults={"": f"There are {work.MOST} webhooks: delete one first."})
    except MadeAlready as already:
        return _shown(409, already=already.webhook_id)
    return show_webhook(made.row.webhook_id, secret=made.secret)


def _shown(
    status: int = 200,
    *,
    entered: EnteredWebhook | None = None,
    faults: Mapping[str, str] | None = None,
    already: int | None = None,
    deleted: int | None = None,
) -> Response:
    """The page; `already` is a webhook that was made by the same form before, `deleted` one that is gone."""

    def read(session: Session) -> tuple[list[ListedWebhook], str | None, Mapping[int, str]]:
        rows, held = webhooks.all_webhooks(session), webhooks.held(session)
        waiting = delivery_lists.waiting_of(session, [row.webhook_id for row in rows])
        lines = [
            ListedWebhook(row, urlsplit(row.url).netloc, WebhookHealth.of(row, held), waiting[row.webhook_id])
            for row in rows
        ]
        return lines, held, rule_titles(session)

    lines, held, titles = service().read(read)
    return page(
        "desk/webhooks.html",
        status,
        webhooks=lines,
        held=held,
        titles=titles,
        events=EVENTS,
        entered=entered or EnteredWebhook(),
        faults=faults or {},
        already=already,
        deleted=deleted,
        newest=max((line.row.webhook_id for line in lines), default=0),
        most=work.MOST,
    )
