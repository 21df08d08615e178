"""The tables: the one place where a column has its name.

`user_id` comes first in every key of what belongs to users, so that the data can be spread over servers by user.
"""

from database.models.base import MONEY, NOW, Base
from database.models.checkpoints import Checkpoint
from database.models.events import (
    USER_IDS,
    Alert,
    Backtest,
    LateOffset,
    RuleVersion,
    User,
    UserAction,
    UserSettings,
)
from database.models.figures import DailyFigure, DailyUsers, FiguresProgress, MinuteFigure
from database.models.people import AlertChange, Erasure, Key, KeyUse, LogEntry, Mute, SavedView
from database.models.webhooks import Delivery, DeliveryAttempt, OutboxEvent, Webhook, WebhookRelay, WebhookState

__all__ = [
    "MONEY",
    "NOW",
    "USER_IDS",
    "Alert",
    "AlertChange",
    "Backtest",
    "Base",
    "Checkpoint",
    "DailyFigure",
    "DailyUsers",
    "Delivery",
    "DeliveryAttempt",
    "Erasure",
    "FiguresProgress",
    "Key",
    "KeyUse",
    "LateOffset",
    "LogEntry",
    "MinuteFigure",
    "Mute",
    "OutboxEvent",
    "RuleVersion",
    "SavedView",
    "User",
    "UserAction",
    "UserSettings",
    "Webhook",
    "WebhookRelay",
    "WebhookState",
]
