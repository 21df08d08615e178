"""Judging a big batch while PostgreSQL stores what has been judged of it: both work, and a user's rows lie together.

Users never affect each other, so events are judged user by user, and the answers are the same. What is stored on the
way belongs to the batch's transaction: whatever fails later undoes it too. Only users whose events are in order go this
way, since a late event changes what is stored of others. See docs/decisions/pipeline.md.
"""

from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence

from sqlalchemy import Connection

from database import storing
from database.records import NewOutboxEvent
from rules.judging import store
from rules.judging.batch import Batch, BatchUser
from rules.model import Event, Outcome, Refusal

LEAST = 256  # events; with fewer, further messages to the database take longer than they save
PIECE = 1_000  # events, or those of one user if they are more, that are judged while PostgreSQL stores others


class Pipeline:
    """The events of one batch on their way: those of users whose events are in order are judged and stored.

    `settle` judges an event and makes it a part of the batch, or says why it is refused. With `atomic` nothing more is
    stored once one is refused.
    """

    def __init__(
        self, batch: Batch, events: Sequence[Event], settle: Callable[[Event], Outcome], *, atomic: bool
    ) -> None:
        self._batch, self._events, self._settle, self._atomic = batch, events, settle, atomic
        self._outcomes: dict[int, Outcome] = {}  # by place in `events`
        self._is_refused = False
        self._actions, self._alerts = b"", b""  # judged and not stored yet
        self._sent = 0  # actions
        self._pieces: Generator[None] | None = None
        # How many events have been stored, and whose; and what is still to be stored for them.
        self.stored = 0
        self.users: set[int] = set()
        self.outbox: list[NewOutboxEvent] = []
        self.raised: list[int] = []  # codes that are no shadow alerts

    def run(self, connection: Connection) -> list[Outcome]:
        """Judge all events, and store the actions and alerts of those in order. The outcomes, one for each event."""
        self._pieces = pieces = self._judge()
        try:
            for _ in pieces:
                self._store(connection)
        finally:  # it refers to this object: only the collector could free the two, and it runs rarely
            pieces.close()
            self._pieces = None
        for at, event in enumerate(self._events):
            if at not in self._outcomes:
                self._outcomes[at] = self._settle(event)
        return [self._outcomes[at] for at in range(len(self._events))]

    def _store(self, connection: Connection) -> None:
        """Store what has been judged, and what is judged meanwhile."""
        while self._actions and not (self._atomic and self._is_refused):
            actions, alerts = self._actions, self._alerts
            self._actions = self._alerts = b""
            self._sent += storing.ACTIONS_BY_COPY.store(connection, actions, self._go_on)
            if alerts:
                storing.ALERTS_BY_COPY.store(connection, alerts, self._go_on)
        assert self._sent + self._actions.count(b"\n") == self.stored, "other actions were stored than were judged"

    def _go_on(self) -> None:
        assert self._pieces is not None
        next(self._pieces, None)

    def _judge(self) -> Generator[None]:
        """Judge the events that are in order, a piece each time, and write what is stored of it."""
        piece: list[BatchUser] = []
        count = 0
        for user, places in self._in_order():
            for at in places:
                self._outcomes[at] = outcome = self._settle(self._events[at])
                self._is_refused = self._is_refused or isinstance(outcome, Refusal)
            piece.append(user)
            count += len(places)
            if count >= PIECE:
                self._write(piece)
                piece, count = [], 0
                yield
        self._write(piece)
        yield

    def _in_order(self) -> Iterator[tuple[BatchUser, list[int]]]:
        """The users none of whose events is late, in the order of their ids, with the places of their events."""
        places: dict[int, list[int]] = defaultdict(list)
        for at, event in enumerate(self._events):
            places[event.user_id].append(at)
        for user_id in sorted(self._batch.users):
            user, own = self._batch.users[user_id], places[user_id]
            times = [self._events[at].time for at in own]
            newest = user.timeline.newest()
            if times == sorted(times) and (newest is None or newest.time <= times[0]):
                yield user, own

    def _write(self, users: list[BatchUser]) -> None:
        rows = store.new_rows(self._batch, self._batch.stored[self.stored :], users)
        self.stored = len(self._batch.stored)
        self.users.update(user.user_id for user in users)
        self._actions += storing.ACTIONS_BY_COPY.written(rows.actions)
        self._alerts += storing.ALERTS_BY_COPY.written(rows.alerts)
        self.outbox += rows.outbox
        self.raised += [alert.code for alert in rows.alerts if not alert.shadow]
