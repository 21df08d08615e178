"""A backtest as work that reads the history of all users.

Whoever asks for one loads this; only the processes that do the work load numpy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from database import history
from database.records import Users
from rules.hindsight.backtest import BacktestPlan, BacktestResult
from rules.pruned import pruned_by_user
from rules.versions import settings_by_user

if TYPE_CHECKING:
    from rules.hindsight.backtester import Backtester


@dataclass(frozen=True)
class BacktestWork:
    """A backtest over all of history: `rules.hindsight.all_users` runs it."""

    plan: BacktestPlan

    @property
    def modules(self) -> Sequence[str]:
        """What judges, with numpy."""
        return (__name__, "rules.hindsight.backtester")

    @property
    def size(self) -> int:
        """What the plan says: smaller if that takes longer."""
        return self.plan.part

    def prepared(self, connection: Connection) -> "BacktestWork":  # noqa: ARG002
        """Unchanged: the plan says everything."""
        return self

    def part(self, connection: Connection, users: Users) -> BacktestResult:
        """What the candidates find for `users`."""
        from rules.hindsight.stored_columns import StoredActions, StoredAlerts

        start, end = self.plan.start, self.plan.end
        return self._backtester.judge(
            StoredActions.copied(history.actions_to_backtest(connection, users, end)),
            settings_by_user(history.settings(connection, users)),
            StoredAlerts.copied(history.standing_alerts(connection, users, self.plan.codes, start=start, end=end)),
            pruned_by_user(history.checkpoints(connection, users)),
        )

    def complete(self, connection: Connection, result: BacktestResult) -> None:
        """Give the samples of removed alerts the evidence that is stored."""
        result.removed = [one._replace(evidence=history.evidence(connection, *one.key)) for one in result.removed]

    @cached_property
    def _backtester(self) -> "Backtester":
        from rules.hindsight.backtester import Backtester

        return Backtester(self.plan)
