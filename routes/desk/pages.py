"""All pages of the desk, in the order of its rail."""

from types import ModuleType

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
    user_settings,
    users,
)

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
    send,
    overview,
    log,
    find,
    rules,
    rule,
    assets,
)
