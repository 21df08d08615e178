"""The answers to requests for something that is not there."""

from routes.http.problems import Problem
from rules.values import alert_id


def unknown_alert(user_id: int, seq: int, code: int) -> Problem:
    """The answer when there is no such alert."""
    return Problem(404, f"There is no alert {alert_id(user_id, seq, code)}.", kind="unknown-alert")


def unknown_user(user_id: int) -> Problem:
    """The answer when there is no such user."""
    return Problem(404, f"There is no user {user_id}.", kind="unknown-user")


def unknown_backtest(backtest_id: int) -> Problem:
    """The answer when there is no such backtest."""
    return Problem(404, f"There is no backtest {backtest_id}.", kind="unknown-backtest")


def unknown_rule(code: int) -> Problem:
    """The answer when there is no such rule."""
    return Problem(404, f"There is no rule {code}.", kind="unknown-rule")


def unknown_webhook(webhook_id: int) -> Problem:
    """The answer when there is no such webhook."""
    return Problem(404, f"There is no webhook {webhook_id}.", kind="unknown-webhook")
