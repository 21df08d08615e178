"""Backtests over users that come as Arrow, such as from Spark: what a process does with its share. Needs pyarrow.

A share is rows in order of user, kind, time and seq, cut into batches anywhere. Each row is of one of the KINDS, and
has the columns of COLUMNS. `amount` is in cents; `number` is the version of an action's or of a user's settings, or the
code of an alert; `more` is the outcome of an alert, and of settings and checkpoints what else there is, as JSON. So a
user's settings, checkpoints and alerts come before the actions.
"""

import json
import pickle
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from database.checkpoint_rows import StoredCheckpoint
from database.records import StoredSettings
from rules.columns import Ints
from rules.hindsight.backtest import BacktestPlan, BacktestResult
from rules.hindsight.backtester import Backtester
from rules.hindsight.stored_columns import OUTCOMES, StoredActions, StoredAlerts
from rules.pruned import pruned_by_user
from rules.versions import settings_by_user

SETTINGS, CHECKPOINT, ALERT, ACTION = KINDS = range(4)
COLUMNS = ("user_id", "kind", "time", "seq", "is_deposit", "amount", "number", "more")

# What of a checkpoint is no whole number.
_READ: dict[str, Callable[[str], Any]] = {"type": str, "total": Decimal, "first_amount": Decimal}


def judge_share(
    plan: BacktestPlan, batches: Iterable[pa.RecordBatch], done: Callable[[int], None]
) -> Iterator[pa.RecordBatch]:
    """What a backtest finds over a share of the users, as one row with one column: a pickled BacktestResult.

    `done` is called with the numbers of actions that were judged.
    """
    backtester, result = Backtester(plan), None
    for users in whole_users(batches, plan.part):
        found = judge_users(backtester, users)
        if result is None:
            result = found
        else:
            result.add(found)
        done(found.actions)
    if result is not None:
        yield pa.record_batch([pa.array([pickle.dumps(result)], pa.binary())], names=["result"])


def whole_users(batches: Iterable[pa.RecordBatch], at_least: int) -> Iterator[pa.Table]:
    """The rows of `batches` as tables that never split a user, of `at_least` rows but for the last one.

    No more is held than such a table and the user that follows it.
    """
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        users = batch.column("user_id")
        last = users[-1]
        cut = batch.num_rows - pc.sum(pc.equal(users, last)).as_py()
        begins = cut > 0 or (bool(held) and held[-1].column("user_id")[-1] != last)
        if begins and rows + cut >= at_least:
            yield pa.Table.from_batches([*held, batch.slice(0, cut)])
            held, rows, batch = [], 0, batch.slice(cut)
        held.append(batch)
        rows += batch.num_rows
    if held:
        yield pa.Table.from_batches(held)


def judge_users(backtester: Backtester, users: pa.Table) -> BacktestResult:
    """What the backtest finds over whole users."""

    def rows(kind: int) -> pa.Table:
        return users.filter(pc.equal(users.column("kind"), kind))

    return backtester.judge(
        _actions(rows(ACTION)),
        settings_by_user(map(_settings, rows(SETTINGS).to_pylist())),
        _alerts(rows(ALERT)),
        pruned_by_user(map(_checkpoint, rows(CHECKPOINT).to_pylist())),
    )


def _actions(rows: pa.Table) -> StoredActions:
    return StoredActions(
        user_id=_numbers(rows.column("user_id")),
        seq=_numbers(rows.column("seq")),
        is_deposit=_numbers(rows.column("is_deposit")).astype(bool),
        amount=_numbers(rows.column("amount")),
        time=_numbers(rows.column("time")),
        settings_version=_numbers(rows.column("number")),
    )


def _alerts(rows: pa.Table) -> StoredAlerts:
    return StoredAlerts(
        user_id=_numbers(rows.column("user_id")),
        seq=_numbers(rows.column("seq")),
        code=_numbers(rows.column("number")),
        time=_numbers(rows.column("time")),
        outcome=_numbers(pc.index_in(rows.column("more"), pa.array(OUTCOMES, pa.string()))),
    )


def _numbers(column: pa.ChunkedArray) -> Ints:
    if column.null_count:
        raise ValueError("a number is missing")
    numbers: Ints = column.to_numpy().astype(np.int64)
    return numbers


def _settings(row: dict[str, Any]) -> StoredSettings:
    more = json.loads(row["more"])
    return StoredSettings(user_id=row["user_id"], version=row["number"], risk=more["risk"], overrides=more["overrides"])


def _checkpoint(row: dict[str, Any]) -> StoredCheckpoint:
    # All values are text there: JSON has no decimals.
    more: dict[str, Any] = {name: _READ.get(name, int)(value) for name, value in json.loads(row["more"]).items()}
    return StoredCheckpoint(user_id=row["user_id"], **more)
