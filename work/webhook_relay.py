"""The relay: makes a delivery of each event in the outbox for each webhook that wants it.

One process at a time does, so that the deliveries of a user are stored in the order in which the events happened.
"""

import structlog
from sqlalchemy.orm import Session

from database.alerts import alerts_by_key
from database.records import AlertKey
from database.session import Transaction
from database.webhook_relay import (
    Happened,
    NewDelivery,
    Wanted,
    last_messages,
    lock_relay,
    read_outbox,
    store_deliveries,
)
from work.webhook_messages import ToldAlert, alert_message, new_message_id

BATCH = 200  # events of one transaction

log = structlog.get_logger()


class Relay:
    """Works through the outbox from user to user, and then from the first one again.

    Who is served first would otherwise depend on the number of the user. `time_is_epoch`: times are seconds since 1970.
    """

    def __init__(self, *, time_is_epoch: bool) -> None:
        self._time_is_epoch = time_is_epoch
        self._first_user = 0

    def move(self, session: Session) -> bool:
        """Make deliveries of up to BATCH events. Returns whether there may be more of them now.

        A message that cannot be made is left out, with a line in the log.
        """
        with Transaction(session) as transaction:
            if not lock_relay(transaction.connection):
                return False
            # All that is left of a user is read from its beginning: an event that was stored later may belong before.
            events, wanted = read_outbox(transaction.connection, self._first_user, BATCH)
            if events:
                deliveries = self._deliveries(session, wanted)
                store_deliveries(transaction.connection, events, deliveries)
                transaction.commit()
        may_be_more = len(events) == BATCH or self._first_user > 0
        self._first_user = events[-1].user_id + 1 if len(events) == BATCH else 0
        return may_be_more

    def _deliveries(self, session: Session, wanted: list[Wanted]) -> list[NewDelivery]:
        if not wanted:
            return []
        facts = {key: _facts(row) for key, row in _alerts(session, wanted).items()}
        previous = last_messages(session.connection(), wanted)
        deliveries: list[NewDelivery] = []
        for one in wanted:
            happened = one.happened
            if (alert := facts.get(_key(happened))) is None:
                log.warning("webhook_message_dropped", cause="the alert is gone", happened=happened.event)
                continue
            message_id, pair = new_message_id(), (one.webhook_id, happened.user_id)
            try:
                body = alert_message(
                    happened.event,
                    happened.created_at,
                    alert,
                    change=happened.change,
                    previous_id=previous.get(pair),
                    amounts=one.amounts,
                    time_is_epoch=self._time_is_epoch,
                )
            except Exception:
                # It would fail again each time, and hold up all the others for good.
                alert_id = "-".join(map(str, (happened.user_id, happened.seq, happened.code)))
                log.exception(
                    "webhook_message_dropped", webhook=one.webhook_id, alert=alert_id, happened=happened.event
                )
                continue
            previous[pair] = message_id
            deliveries.append(
                NewDelivery(
                    position=len(deliveries),
                    webhook_id=one.webhook_id,
                    message_id=message_id,
                    event=happened.event,
                    user_id=happened.user_id,
                    seq=happened.seq,
                    code=happened.code,
                    body=body,
                )
            )
        return deliveries


def _facts(row: object) -> ToldAlert:
    return ToldAlert(*(getattr(row, name) for name in ToldAlert._fields))


def _key(happened: Happened) -> AlertKey:
    return AlertKey(user_id=happened.user_id, seq=happened.seq, code=happened.code)


def _alerts(session: Session, wanted: list[Wanted]) -> dict[AlertKey, object]:
    rows = alerts_by_key(session, {_key(one.happened) for one in wanted})
    return {AlertKey(user_id=row.user_id, seq=row.seq, code=row.code): row for row in rows}
