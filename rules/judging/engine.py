"""Judging: from posted events to stored actions and alerts, in one transaction.

The transaction adds the events to their users' counts, which locks the users (one statement, users in order,
so that two batches cannot deadlock), reads the bounded history that the active rules declare (one statement,
after the lock: it sees all that others committed while this one waited), judges in plain Python, and stores
actions and alerts (one statement each). The number of statements does not grow with events, users or rules; only big
batches are stored in pieces, while they are judged (`pipeline`).
"""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from database import dry_run, judging_forms, storing
from database.actions import newest_times
from database.judging import MOST_ACTIONS
from database.locks import AT_ONCE, Waits, hold_rules
from database.pooled_connection import PooledConnection
from database.session import Transaction, is_lock_timeout
from rules.judging import pipeline, store
from rules.judging.ahead import Repairs
from rules.judging.batch import Batch, BatchUser, KnownEvent, signed
from rules.judging.batches import BIG, RulesChanged
from rules.judging.kept import KeptHistory
from rules.judging.late import LargeRepair
from rules.judging.observer import HarmlessObserver, Observer, Stage
from rules.judging.parts import repair_in_parts
from rules.judging.reads import begin_and_read
from rules.judging.repair import repair
from rules.model import DryRun, Event, Outcome, Refusal, Verdict
from rules.policy import Policy
from rules.rule_settings import StoredRules
from rules.values import LAST_TIME


class RuleEngine:
    """Judges events under one policy. Any number of threads may share it.

    `observer` is called as each transaction proceeds, and `clock` returns the seconds since 1970.

    Between calls it keeps what the rules are set to, as far as it has been read (`rules`), and, with `keep`, the last
    actions of users whom it has judged. Every transaction asks which change of a rule is the newest, and what came
    since of its users.
    """

    def __init__(
        self,
        policy: Policy,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.time,
        *,
        keep: bool = True,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._observer = HarmlessObserver(observer or Observer())
        self._kept = KeptHistory() if keep else None
        self.rules = StoredRules(active=(rule.code for rule in policy.rules))

    def process(
        self,
        session: Session | PooledConnection,
        events: Sequence[Event],
        atomic: bool = False,
        *,
        repair_limit: int | None = None,
        waits: Waits = AT_ONCE,
    ) -> list[Outcome]:
        """Store and judge `events` as if they came one by one in the order given; one outcome for each.

        With `atomic` one refusal is enough to store none of them: the verdicts next to it say what would have been.
        Ends the database's transaction: committed, or rolled back if no event was stored. Raises what the
        database raises, and CommitUncertain when the connection broke during the commit.

        With `repair_limit` it raises LargeRepair as soon as it sees that late events of some users change more stored
        actions than that, each user taken alone: those whose numbers are rewritten and those that are judged again.

        `waits` says how it waits for others. If that does not hold the rules, it raises RulesChanged, storing nothing,
        if one was changed while it judged.
        """
        begun = perf_counter()
        self._observer.begun(len(events))
        try:
            outcomes = self._transact(session, events, atomic, begun, repair_limit, waits)
        except BaseException as error:
            if self._kept is not None and not _is_harmless(error):
                self._kept.forget()
            self._observer.ended(error)
            raise
        self._observer.ended(None)
        return outcomes

    def _transact(
        self,
        session: Session | PooledConnection,
        events: Sequence[Event],
        atomic: bool,
        begun: float,
        repair_limit: int | None,
        waits: Waits,
    ) -> list[Outcome]:
        """`process`, which began at `begun` (perf_counter)."""
        expected = self.rules.versions(session).newest
        kept = self._kept if len(events) <= BIG else None  # a big batch would drive out all others
        times_forgotten = 0 if kept is None else kept.times_forgotten
        with Transaction(session, by_message=True) as transaction:
            connection = transaction.connection
            batch = begin_and_read(
                connection,
                events,
                create_users=self._policy.create_users,
                late_limit=self._policy.late_limit,
                expected=expected,
                snapshot=lambda number: self.rules.at(connection, number),
                begin=partial(judging_forms.begin_lock_and_read, waits=waits),
                kept=kept,
            )
            begun = self._done("lock_and_read", begun)
            self._observer.read(batch.kept_users, len(batch.users) - batch.kept_users)
            latest = self._latest(connection, batch)
            ahead = pipeline.Pipeline(batch, events, lambda event: self._settle(batch, event, latest), atomic=atomic)
            if len(events) < pipeline.LEAST:
                outcomes = [self._settle(batch, event, latest) for event in events]
            else:
                outcomes = ahead.run(connection)
            if not batch.stored or (atomic and any(isinstance(outcome, Refusal) for outcome in outcomes)):
                return outcomes  # nothing is stored: neither counts nor new users may stay
            late_users = batch.late_users
            if late_users:
                self._repair(connection, batch, late_users, repair_limit)
            begun = self._done("judge", begun)
            store.give_back_unused(connection, batch)
            batch.check()
            if late_users:
                store.store_late(connection, batch, late_users)
            left = [user for user in batch.users.values() if user.user_id not in ahead.users]
            rows = last = store.new_rows(batch, batch.stored[ahead.stored :], left, ahead.outbox)
            if not waits.hold_rules:
                # A change of a rule waits for this no longer than a COMMIT takes.
                storing.store(connection, rows)
                if hold_rules(connection) != batch.rules_number:
                    raise RulesChanged
                last = storing.NewRows()
            with transaction.committing():
                storing.store_and_commit(connection, last)
            if kept is not None:
                kept.put(batch, times_forgotten)
            self._observer.raised([*ahead.raised, *(alert.code for alert in rows.alerts if not alert.shadow)])
            self._done("write_and_commit", begun)
        return outcomes

    def dry_run(self, session: Session, event: Event) -> DryRun:
        """What `process` would make of `event` now, with the evidence for each code; nothing is stored or counted.

        It reads one state of the database, and neither locks anybody nor waits for a lock.
        """
        expected = self.rules.would_be(session).newest
        with Transaction(session, by_message=True) as transaction:
            connection = transaction.connection
            batch = begin_and_read(
                connection,
                [event],
                create_users=self._policy.create_users,
                late_limit=self._policy.late_limit,
                expected=expected,
                snapshot=lambda number: self.rules.at(connection, number) if number else expected,
                begin=dry_run.begin_and_read,
            )
            outcome = self._settle(batch, event, self._latest(connection, batch))
            if isinstance(outcome, Refusal):
                return DryRun(outcome, {})
            if outcome.replayed:
                first = batch.known[event.user_id, event.event_id or ""].action
                return DryRun(outcome, dry_run.evidence(connection, event.user_id, first.seq))
            alerts = batch.users[event.user_id].alerts
            return DryRun(outcome, {code: json.loads(state.evidence or "") for (_, code), state in alerts.items()})

    def _done(self, stage: Stage, begun: float) -> float:
        now = perf_counter()
        self._observer.done(stage, now - begun)
        return now

    def _latest(self, connection: Connection, batch: Batch) -> int:
        """The latest time that an event may have now.

        Actions stored with a later one, before there was a bound, do not count for the order of arrival: else their
        users' events would be refused until that time has come.
        """
        if self._policy.max_ahead is None:
            return LAST_TIME
        latest = int(self._clock()) + self._policy.max_ahead
        if not self._policy.accept_out_of_order:
            beyond = [user for user in batch.users.values() if user.newest_time > latest]
            found = newest_times(connection, [user.user_id for user in beyond], latest) if beyond else {}
            for user in beyond:
                user.newest_in_time = found.get(user.user_id, -1)
        return latest

    def _settle(self, batch: Batch, event: Event, latest: int) -> Outcome:
        """Judge one event and make it a part of the batch, or say why it is refused."""
        user = batch.users.get(event.user_id)
        if user is None:
            return Refusal("unknown_user", f"There is no user {event.user_id}.")
        if event.event_id is not None and (known := batch.known.get((event.user_id, event.event_id))):
            first, codes = known
            if (first.type, first.amount, first.time) == (event.type, event.amount, event.time):
                return Verdict(event.user_id, codes, replayed=True)
            return Refusal("event_id_conflict", "This event_id came before with another payload.")
        if user.pruned_before is not None and event.time < user.pruned_before:
            return Refusal("pruned", f"The user's actions before time {user.pruned_before} have been removed.")
        if user.is_full or user.last_seq >= MOST_ACTIONS:
            return Refusal("user_full", "The user has as many actions, or as large a balance, as there can be.")
        if not self._policy.allow_overdraft and event.type == "withdraw" and user.balance + signed(event) < 0:
            return Refusal("overdraft", "The withdrawal is larger than the balance.")
        if not self._policy.accept_out_of_order and event.time < user.newest_time:
            return Refusal("out_of_order", f"The user's newest action is at time {user.newest_time}.")
        if event.time > latest:
            most = self._policy.max_ahead
            return Refusal("too_far_ahead", f"The event is more than {most:,} s ahead of the clock.")
        if self._is_too_late(user, event):
            most = self._policy.late_limit
            return Refusal("too_late", f"At most {most:,} of the user's actions may be later than an event.")

        action = user.accept(event)
        codes = user.arrive(action, user.rule_set)
        batch.stored.append((event, action, codes))
        if event.event_id is not None:
            batch.known[event.user_id, event.event_id] = KnownEvent(action, codes)
        return Verdict(event.user_id, codes)

    def _is_too_late(self, user: BatchUser, event: Event) -> bool:
        most = self._policy.late_limit
        return user.last_seq > most and user.timeline.count_after(event.time) > most

    def _repair(self, connection: Connection, batch: Batch, late_users: Sequence[BatchUser], limit: int | None) -> None:
        """Judge again what late events can change. Raises LargeRepair beyond `limit`."""
        repairs = Repairs(batch, late_users, self.rules.known)
        repairs.read(connection, limit)
        for user in late_users:
            repair(user, repairs.reaches[user.user_id])
            if user.user_id in repairs.in_parts:
                new = [action for event, action, _ in batch.stored if event.user_id == user.user_id]
                repair_in_parts(connection, repairs, user, new)


def _is_harmless(error: BaseException) -> bool:
    """Whether certainly nothing was stored, and the users of other batches are as they were."""
    return isinstance(error, LargeRepair | RulesChanged) or (isinstance(error, Exception) and is_lock_timeout(error))
