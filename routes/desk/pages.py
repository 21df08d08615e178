"""All pages of the desk, in the order of its rail."""

from types import ModuleType

from routes.desk import alert, alert_work, assets, find, inbox

PAGES: tuple[ModuleType, ...] = (
    inbox,
    alert,
    alert_work,
    find,
    assets,
)
