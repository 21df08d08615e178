"""Removing old actions of all users, out of the way of live events: see docs/pruning.md."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from database import pruning
from database.log_entries import add_log_entry
from database.pruning import Removal
from database.session import Transaction, is_lock_timeout, make_asking_engine, make_sessions, sqlstate

STATEMENT = 60  # seconds that a statement may take
USERS = 1_000  # that are looked at in one statement
# Actions that are removed in one transaction, while events of their user wait: some 0.1 s. Those of one time go
# together, however many they are.
ACTIONS = 1_000
RESTS = 1.0  # after each transaction it rests for so many times as long as that took
# Users who are in use are tried again at the end, so often, and so many of them; all others in the next run.
TRIES, MOST_BUSY = 3, 10_000
WAIT = 1.0  # seconds before they are tried again
_DEADLOCK = "40P01"

Progress = Callable[[int, int], None]


@dataclass
class PruneReport:
    """What was removed: of how many users, and how many actions and alerts; `open_alerts` of these were still open.

    `held` users have old actions and a legal hold, `busy` ones were in use all the time: of these, some may be left.
    """

    users: int = 0
    actions: int = 0
    alerts: int = 0
    open_alerts: int = 0
    held: int = 0
    busy: int = 0

    def add(self, one: Removal) -> None:
        """Add what one transaction has removed."""
        self.actions += one.actions
        self.alerts += one.alerts
        self.open_alerts += one.open_alerts

    def data(self) -> dict[str, int]:
        """Its numbers as JSON."""
        return {
            "users": self.users,
            "actions": self.actions,
            "alerts": self.alerts,
            "open_alerts": self.open_alerts,
            "held_users": self.held,
            "busy_users": self.busy,
        }


class Pruning:
    """Removes all actions with `time` before `before` from the database at `url`, or counts them (`is_dry`).

    `report` always says how far it has come. It may end anywhere: each transaction leaves everything right, and the
    next run removes the rest.
    """

    def __init__(self, url: str, before: int, *, is_dry: bool = False) -> None:
        self._before, self._is_dry = before, is_dry
        self._engine: Engine = make_asking_engine(url, "prune", timeout=STATEMENT, keep=True)
        self._sessions = make_sessions(self._engine)
        self.report = PruneReport()

    def rights_lacking(self) -> str:
        """What the role of the connection may not do, of what this takes; empty if it may do all."""
        if self._is_dry:
            return ""
        with self._engine.connect() as connection:
            return ", ".join(pruning.rights_lacking(connection))

    def would_keep_something(self) -> bool:
        """Whether any action of anybody is not older."""
        with self._engine.connect() as connection:
            return pruning.has_newer(connection, self._before, USERS)

    def run(self, progress: Progress) -> PruneReport:
        """Do it, user by user; `progress` is called with the users done so far and the total."""
        with self._engine.connect() as connection:
            total = pruning.count_users(connection)
        done, after = 0, 0
        progress(done, total)
        busy: list[int] = []
        while True:
            with self._engine.connect() as connection:
                stretch = pruning.stretch_of_users(connection, after, USERS, self._before)
            if not stretch.users:
                break
            self.report.held += len(stretch.held)
            for user_id in stretch.old:
                if not self._user(user_id):
                    self.report.busy += 1
                    if len(busy) < MOST_BUSY:
                        busy.append(user_id)
                done += 1
                progress(done, total)
            done, after = done + stretch.users - len(stretch.old), stretch.last
            progress(min(done, total), total)
        for _ in range(TRIES):
            if busy:
                time.sleep(WAIT)
                left = [user_id for user_id in busy if not self._user(user_id)]
                self.report.busy -= len(busy) - len(left)
                busy = left
        return self.report

    def _user(self, user_id: int) -> bool:
        """Remove what is old of a user. Returns whether that could be done; else somebody else uses the user."""
        if self._is_dry:
            with self._engine.connect() as connection:
                self.report.add(pruning.survey_user(connection, user_id, self._before))
            self.report.users += 1
            return True
        is_counted = False
        while True:
            began = time.monotonic()
            try:
                removed = self._remove(user_id)
            except DBAPIError as error:
                if is_lock_timeout(error) or sqlstate(error) == _DEADLOCK:
                    return False
                raise
            if removed.is_held:
                self.report.held += 1
            self.report.add(removed)
            if removed.actions and not is_counted:
                self.report.users += 1
                is_counted = True
            time.sleep(RESTS * (time.monotonic() - began))
            if removed.is_done:
                return True

    def _remove(self, user_id: int) -> Removal:
        with self._sessions() as session, Transaction(session) as transaction:
            removed = pruning.prune_user(transaction.connection, user_id, self._before, ACTIONS)
            transaction.commit()
        return removed

    def note(self, who: str, what: str, after: dict[str, int] | None = None) -> None:
        """Note in the log that `who` has begun or ended this."""
        with self._sessions() as session, Transaction(session) as transaction:
            add_log_entry(session, who=who, kind="prune", subject=f"before {self._before}", what=what, after=after)
            transaction.commit()

    def close(self) -> None:
        """Close its connection."""
        self._engine.dispose()
