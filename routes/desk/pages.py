"""All pages of the desk, in the order of its rail."""

from types import ModuleType

from flask import request

from routes.desk import (
    alert,
    alert_bulk,
    alert_proof,
    alert_work,
    assets,
    find,
    inbox,
    log,
    next_alert,
    overview,
    pulse,
    rule,
    rules,
    send,
    user,
    user_data,
    user_settings,
    users,
    webhook,
    webhooks,
)
from routes.http.access import must_hold

PAGES: tuple[ModuleType, ...] = (
    inbox,
    pulse,
    alert,
    alert_proof,
    alert_work,
    alert_bulk,
    next_alert,
    users,
    user,
    user_settings,
    user_data,
    send,
    overview,
    log,
    webhooks,
    webhook,
    find,
    rules,
    rule,
    assets,
)


def _must_read() -> None:
    """Whatever else a page is for, it shows what is stored; so does one that is shown again since a form was bad."""
    if request.method != "OPTIONS":
        must_hold("read")


for _page in PAGES:
    if _page is not assets:
        _page.blueprint.before_request(_must_read)
