"""The thread that reads how webhooks are doing, for the metrics of its process: whether or not anything delivers."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from database.session import make_asking_engine
from database.webhook_figures import WebhookFigures, read_webhook_figures

INTERVAL = 10.0  # seconds
STATEMENT = 5.0  # the longest that a statement may take, in seconds


def watch(url: str, when_known: Callable[[WebhookFigures], None]) -> None:
    """Start the thread, which reads from the database at `url` for as long as this process lives."""
    threading.Thread(target=_watch, args=(url, when_known), name="webhooks", daemon=True).start()


def _watch(url: str, when_known: Callable[[WebhookFigures], None]) -> None:
    engine = make_asking_engine(url, "webhooks", timeout=STATEMENT)
    while True:
        # While the database is away what is known grows old; that it is away, others say.
        with suppress(SQLAlchemyError), engine.connect() as connection:
            when_known(read_webhook_figures(connection))
        time.sleep(INTERVAL)
