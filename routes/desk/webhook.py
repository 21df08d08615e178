"""The page of a webhook: how sending goes, what was sent; changing, testing and deleting it, and sending again."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated
from urllib.parse import urlencode

from flask import Blueprint, Response, current_app
from pydantic import BaseModel, BeforeValidator

from database import webhooks
from routes.desk.forms import MAX_FORM, BadForm, form_fields, read_filters, read_form
from routes.desk.shell import go
from routes.desk.webhook_form import EnteredWebhook, unshown
from routes.desk.webhook_page import MOVED, NO_KEY, WebhookQuery, show_webhook
from routes.http.access import caller
from routes.http.hooks import service
from routes.http.operation import needs
from routes.http.pages import DESK
from routes.http.unknown import unknown_webhook
from routes.schemas.fields import Id, digits
from routes.schemas.webhooks import OVERLAP_HOURS
from rules.values import read_whole_number, written_moment
from work import webhooks as work
from work.webhook_addresses import UrlRefused
from work.webhook_secrets import NoSecretKey
from work.webhooks import UnknownDelivery, UnknownWebhook, WebhookDisabled, Webhooks

blueprint = Blueprint("desk_webhook", __name__, template_folder="../templates")

BAD_VERSION = "The form was not whole: send it again."
BAD_OVERLAP = f"Must be whole hours, from 0 to {OVERLAP_HOURS}."
BAD_MOMENT = "Enter a day and a time, in UTC."
NOT_ROTATED = "The webhook was changed since you opened this form, perhaps by this very form. Rotate again if need be."
DISABLED = "The webhook is disabled, so nothing is sent to it: enable it first."


class _WebhookMoved(Exception):
    """Somebody else has changed the webhook since the form was made."""


class OverlapForm(BaseModel):
    """For how many hours the secret before signs as well, and the version for which the form was made."""

    overlap_hours: str = ""
    version: str = ""


class ResendForm(BaseModel):
    """Either a delivery; or since when (UTC), and the first of those that were left."""

    delivery: Annotated[Id | None, BeforeValidator(digits)] = None
    since: str = ""
    start: Annotated[Id | None, BeforeValidator(digits)] = None


class ConfirmForm(BaseModel):
    """The number of the webhook once more."""

    confirm: str = ""


@blueprint.get(f"{DESK}/webhooks/<id:webhook_id>")
@needs("admin")
def get_webhook_page(webhook_id: int) -> Response:
    """The page."""
    return show_webhook(webhook_id, query=read_filters(WebhookQuery))


@blueprint.post(f"{DESK}/webhooks/<id:webhook_id>/settings")
@needs("admin", max_body=MAX_FORM)
def change_webhook_from_page(webhook_id: int) -> Response:
    """Change where it leads and what it is told."""
    fields = form_fields()
    entered = EnteredWebhook.sent(fields)
    try:
        version = read_whole_number(fields.get("version", [""])[-1])
    except ValueError:
        return show_webhook(webhook_id, 400, entered=entered, faults={"": BAD_VERSION})
    row = service().read(lambda session: webhooks.get_webhook(session, webhook_id))
    if row is None:
        raise unknown_webhook(webhook_id)
    try:
        wanted = entered.columns(also=unshown(row))
        Webhooks.of(current_app.extensions).change(
            service().run, webhook_id, wanted, who=caller().name, must_match=partial(_must_be, version)
        )
    except BadForm as bad:
        return show_webhook(webhook_id, 400, entered=entered, faults=bad.faults)
    except UrlRefused as refused:
        return show_webhook(webhook_id, 400, entered=entered, faults={"url": refused.reason})
    except _WebhookMoved:
        return show_webhook(webhook_id, 412, entered=entered, faults={"": MOVED})
    except UnknownWebhook:
        raise unknown_webhook(webhook_id) from None
    return _go(webhook_id, "saved")


@blueprint.post(f"{DESK}/webhooks/<id:webhook_id>/disable")
@needs("admin")
def disable_webhook_from_page(webhook_id: int) -> Response:
    """Send it nothing for now."""
    return _enabled(webhook_id, enabled=False)


@blueprint.post(f"{DESK}/webhooks/<id:webhook_id>/enable")
@needs("admin")
def enable_webhook_from_page(webhook_id: int) -> Response:
    """Tell it of what happens again, and send what waits."""
    return _enabled(webhook_id, enabled=True)


@blueprint.post(f"{DESK}/webhooks/<id:webhook_id>/rotate")
@needs("admin", max_body=MAX_FORM)
def rotate_secret_from_page(webhook_id: int) -> Response:
    """Give it a new secret. The answer is the page, with the secret, which is shown this once."""
    wanted = read_form(OverlapForm)
    try:
        hours, version = read_whole_number(wanted.overlap_hours), read_whole_number(wanted.version)
        if hours > OVERLAP_HOURS:
            raise ValueError
    except ValueError:
        return show_webhook(webhook_id, 400, hours=wanted.overlap_hours, faults={"overlap_hours": BAD_OVERLAP})
    try:
        made = Webhooks.of(current_app.extensions).rotate(
            service().run,
            webhook_id,
            timedelta(hours=hours),
            who=caller().name,
            must_match=partial(_must_be, version),
        )
    except UnknownWebhook:
        raise unknown_webhook(webhook_id) from None
    except _WebhookMoved:
        return show_webhook(webhook_id, 412, faults={"": NOT_ROTATED})
    except NoSecretKey:
        return show_webhook(webhook_id, 409, faults={"": NO_KEY})
    return show_webhook(webhook_id, secret=made.secret)


@blueprint.post(f"{DESK}/webhooks/<id:webhook_id>/test")
@needs("admin")
def test_webhook_from_page(webhook_id: int) -> Response:
    """Queue a message that only shows whether messages arrive."""
    try:
        service().run(lambda session: work.send_test(session, webhook_id, who=caller().name))
    except UnknownWebhook:
        raise unknown_webhook(webhook_id) from None
    except WebhookDisabled:
        return show_webhook(webhook_id, 409, faults={"": DISABLED})
    return _go(webhook_id, "tested")


@blueprint.post(f"{DESK}/webhooks/<id:webhook_id>/resend")
@needs("admin", max_body=MAX_FORM)
def resend_from_page(webhook_id: int) -> Response:
    """Send one delivery again, or all since a moment."""
    try:
        wanted = read_form(ResendForm)
    except BadForm:
        return show_webhook(webhook_id, 400, faults={"": BAD_VERSION})
    one, who = wanted.delivery, caller().name
    since = None if one else _read_utc(wanted.since)
    try:
        if one is not None:
            done = service().run(lambda session: work.resend_one(session, webhook_id, one, who=who))
        elif since is not None:
            done = work.resend_since(service().run, webhook_id, since, after=wanted.start, who=who)
        else:
            return show_webhook(webhook_id, 400, since=wanted.since, faults={"since": BAD_MOMENT})
    except UnknownWebhook:
        raise unknown_webhook(webhook_id) from None
    except UnknownDelivery:
        return show_webhook(webhook_id, 404, faults={"": f"There is no delivery {one}, or no longer."})
    more = {"since": written_moment(since), "start": done.next_id} if since and done.next_id else {}
    return _go(webhook_id, "resent", number=done.number, **more)


@blueprint.post(f"{DESK}/webhooks/<id:webhook_id>/delete")
@needs("admin", max_body=MAX_FORM)
def delete_webhook_from_page(webhook_id: int) -> Response:
    """Delete it, if its number was entered once more."""
    if read_form(ConfirmForm).confirm != str(webhook_id):
        return show_webhook(webhook_id, 400, faults={"confirm": f"Enter {webhook_id} to confirm."})
    try:
        service().run(lambda session: work.delete_webhook(session, webhook_id, who=caller().name))
    except UnknownWebhook:
        raise unknown_webhook(webhook_id) from None
    return go(f"{DESK}/webhooks?deleted={webhook_id}")


def _enabled(webhook_id: int, *, enabled: bool) -> Response:
    try:
        Webhooks.of(current_app.extensions).change(
            service().run, webhook_id, {"enabled": enabled}, who=caller().name, must_match=lambda _: None
        )
    except UnknownWebhook:
        raise unknown_webhook(webhook_id) from None
    return _go(webhook_id, "enabled" if enabled else "disabled")


def _must_be(seen: int, version: int) -> None:
    if version != seen:
        raise _WebhookMoved


def _read_utc(text: str) -> datetime | None:
    """The moment that a field for a day and a time has, in UTC; None if it has none."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _go(webhook_id: int, said: str, **more: object) -> Response:
    return go(f"{DESK}/webhooks/{webhook_id}?{urlencode({'said': said, **more})}")
