"""A verification as work that reads the history of all users."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy import Connection

from database import history
from database.records import StoredAlert, Users
from rules.hindsight.verify import Verifier
from rules.hindsight.verify_report import VerifyReport
from rules.pruned import pruned_by_user
from rules.rule_settings import read_versions
from rules.versions import RuleVersions, settings_by_user

# Actions of one part: some tens of megabytes of memory, and about a second of work, so that progress is shown
# often. A user is never split, so one with more of them is a part by itself.
PART = 20_000


@dataclass(frozen=True)
class StoredSource:
    """What `connection` sees, read so many rows `at_once` (None: many)."""

    connection: Connection
    at_once: int | None = None

    def actions(self, users: Users, *, as_they_came: bool = False) -> Iterator[str]:
        return history.actions_to_verify(self.connection, users, as_they_came=as_they_came, at_once=self.at_once)

    def alerts(self, users: Users) -> Iterator[StoredAlert]:
        return history.alerts(self.connection, users, at_once=self.at_once)


@dataclass(frozen=True)
class VerifyWork:
    """A verification by all changes of the rules so far."""

    versions: RuleVersions = field(default_factory=RuleVersions)

    @property
    def modules(self) -> Sequence[str]:
        """What verifies."""
        return (__name__,)

    @property
    def size(self) -> int:
        """The usual one."""
        return PART

    def prepared(self, connection: Connection) -> "VerifyWork":
        """The same, by the changes in the state that `connection` sees."""
        return VerifyWork(read_versions(connection))

    def part(self, connection: Connection, users: Users) -> VerifyReport:
        """What is stored for `users` and does not follow, or follows and is not stored."""
        return self._verifier.verify(
            users,
            StoredSource(connection),
            settings_by_user(history.settings(connection, users)),
            history.totals(connection, users),
            pruned_by_user(history.checkpoints(connection, users)),
        )

    def complete(self, connection: Connection, result: VerifyReport) -> None:
        """There is nothing to add."""

    @cached_property
    def _verifier(self) -> Verifier:
        return Verifier(self.versions)
