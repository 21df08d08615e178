"""Which users' events have left the shared batches, and how long they stay away."""

from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic

from rules.judging.lanes import Ticket
from rules.overload import QueueFull

REMEMBERED = 4096  # users who stay although nothing of theirs waits
OF_USER = 256  # events of one user that may wait in later lanes


@dataclass(slots=True)
class _Stay:
    """How many of a user's tickets are in later lanes, the latest of these, and until when it lasts without any."""

    rank: int
    count: int = 0
    until: float = 0.0


class Stays:
    """The users of whom something is in a lane after the first, or has just been. To be used under its owner's lock.

    Of new tickets `most` at most are in later lanes at once (`count`), and OF_USER of one user.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._users: dict[int, _Stay] = {}
        self.count = 0

    def rank_of(self, user_id: int) -> int:
        """The lane that the user's events go to."""
        stay = self._users.get(user_id) if self._users else None
        if stay is None:
            return 0
        if not stay.count and stay.until <= monotonic():
            del self._users[user_id]
            return 0
        return stay.rank

    def enter(self, ticket: Ticket, rank: int, seconds: float = 0.0) -> None:
        """Move a ticket to a later lane; its user stays there for `seconds`, even if nothing waits."""
        user_id = ticket.event.user_id
        stay = self._users.get(user_id)
        if stay is None:
            if len(self._users) >= REMEMBERED:
                self._users = {one: kept for one, kept in self._users.items() if kept.count}
            stay = self._users[user_id] = _Stay(rank)
        stay.rank = max(stay.rank, rank)
        stay.until = max(stay.until, monotonic() + seconds)
        if not ticket.rank:
            stay.count += 1
            self.count += 1
        ticket.rank = rank

    def enter_new(self, ticket: Ticket, rank: int) -> None:
        """Let a new ticket begin in a later lane. Raises QueueFull if there is no room."""
        stay = self._users.get(ticket.event.user_id)
        if self.count >= self._most or (stay is not None and stay.count >= OF_USER):
            raise QueueFull
        self.enter(ticket, rank)

    def leave(self, tickets: Iterable[Ticket], seconds: float = 0.0) -> None:
        """They are done; their users stay for `seconds` more."""
        now = monotonic()
        for ticket in tickets:
            stay = self._users[ticket.event.user_id]
            stay.count -= 1
            self.count -= 1
            if seconds:
                stay.until = now + seconds
            if not stay.count and stay.until <= now:
                del self._users[ticket.event.user_id]
