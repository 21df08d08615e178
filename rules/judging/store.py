"""Storing the outcome of a batch: what was counted in vain is subtracted, then the rest goes in one message."""

from collections.abc import Iterable

from sqlalchemy import Connection

from database import judging, late_counts, late_events
from database.prepared import array
from database.records import Deltas, LateAction, NewAction, NewAlert, NewOutboxEvent, Standing
from database.storing import NewRows
from rules.judging.batch import Accepted, Batch, BatchUser


def give_back_unused(connection: Connection, batch: Batch) -> None:
    """Subtract what was added to users, before any event was judged, for events that are refused or replayed."""
    back: list[Deltas] = []
    gone: list[int] = []
    for user in batch.users.values():
        if user.unused_actions:
            actions, net = user.give_back()
            if user.has_nothing:
                gone.append(user.user_id)
            else:
                back.append(Deltas(user_id=user.user_id, actions=actions, net=net))
    if back:
        judging.take_back(connection, back)
    if gone:
        judging.forget_users(connection, gone)


def store_late(connection: Connection, batch: Batch, late_users: Iterable[BatchUser]) -> None:
    """Store what late events changed in the stored actions and alerts of their users."""
    added: list[LateAction] = []
    changed: list[Standing] = []
    for user in late_users:
        for late in user.late:
            added.append(
                LateAction(user_id=user.user_id, type=late.type, time=late.time, seq=late.seq, amount=late.amount)
            )
        for (seq, code), state in user.alerts.items():
            if state.changed and state.evidence is None:
                changed.append(Standing(user_id=user.user_id, seq=seq, code=code, superseded=not state.stands))
    if added:
        late_counts.count_in(connection, added, batch.offsets)
    if changed:
        late_events.supersede(connection, changed)


def new_rows(
    batch: Batch, stored: Iterable[Accepted], users: Iterable[BatchUser], outbox: Iterable[NewOutboxEvent] = ()
) -> NewRows:
    """What a batch stores of the events in `stored`, which are all of those of `users`; also `outbox`.

    What its late events change must have been stored before.
    """
    actions: list[NewAction] = []
    for event, action, codes in stored:
        user = batch.users[event.user_id]
        ordinal, running_total = user.timeline.numbers(action)
        if event.user_id in batch.offsets.user_ids:
            count, total = batch.offsets.added(event.user_id, action.type, action.place)
            ordinal, running_total = ordinal - count, running_total - total
        actions.append(
            NewAction(
                user_id=event.user_id,
                seq=action.seq,
                type=event.type,
                amount=event.amount,
                time=event.time,
                event_id=event.event_id,
                alert_codes=array(codes) if codes else "{}",
                rules_number=batch.rules_number,
                settings_version=user.settings_version,
                ordinal=ordinal,
                running_total=running_total,
            )
        )
    alerts: list[NewAlert] = []
    happened = [*outbox]
    for user in users:
        for (seq, code), state in user.alerts.items():
            if state.evidence is not None:
                alerts.append(
                    NewAlert(
                        user_id=user.user_id,
                        seq=seq,
                        code=code,
                        time=user.times[seq],
                        evidence=state.evidence,
                        late=state.late,
                        superseded=not state.stands,
                        shadow=state.shadow,
                        high_risk=user.risk == "high",
                    )
                )
            # Nobody is told of shadow alerts.
            if state.shadow:
                continue
            if state.evidence is not None:
                happened.append(_happened(user, seq, code, 0, "alert.created"))
                if not state.stands:
                    happened.append(_happened(user, seq, code, 1, "alert.superseded"))
            elif state.changed:
                what = "alert.reinstated" if state.stands else "alert.superseded"
                happened.append(_happened(user, seq, code, 1, what))
    return NewRows(actions, alerts, happened)


def _happened(user: BatchUser, seq: int, code: int, n: int, event: str) -> NewOutboxEvent:
    return NewOutboxEvent(
        user_id=user.user_id, at_seq=user.last_seq, n=n, seq=seq, code=code, event=event, risk=user.risk
    )
