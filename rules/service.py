"""The service without HTTP: what both doors and all commands call."""

import threading
from collections.abc import Callable, MutableMapping, Sequence
from contextvars import copy_context
from copy import copy
from typing import Any, TypeVar

from sqlalchemy import Engine  # noqa: TID251
from sqlalchemy.exc import SQLAlchemyError  # noqa: TID251
from sqlalchemy.orm import Session  # noqa: TID251

from database import rule_versions  # noqa: TID251
from database.engines import REPAIR_SECONDS, Engines  # noqa: TID251
from database.locks import AT_ONCE, Waits, busy_users  # noqa: TID251
from database.models import RuleVersion  # noqa: TID251
from database.pooled_connection import pooled_connections  # noqa: TID251
from database.readiness import Readiness  # noqa: TID251
from database.replica import Replica  # noqa: TID251
from database.session import CommitUncertain, is_lock_timeout, is_settled, is_too_slow, make_sessions, run  # noqa: TID251
from rules.hindsight.verify_user import UserVerifier
from rules.judging.batches import Batches
from rules.judging.engine import RuleEngine
from rules.judging.group_commit import GroupCommit
from rules.judging.lanes import Process, Ways
from rules.judging.observer import Observer
from rules.model import DryRun, Event, Outcome
from rules.overload import Overloaded
from rules.policy import Policy
from rules.rule_settings import PATIENCE, Approve, RequestedChange, set_rules
from rules.together import Together
from rules.versions import RuleChange, WantedSetting

T = TypeVar("T")

_KEY = "transaction-alerts"

ALONE_THREADS = 8  # users whose events are judged alone at the same time
# Dry runs at once, each with a connection, and seconds that others wait for a place.
DRY_RUNS, DRY_RUN_WAIT = 2, 1.0
MOST_CHANGES = 256  # changes of rules that wait at the same time
# How many stored actions the late events of a batch of single ones may change, all users together and, however large
# the batch, each user. Each takes some 20 microseconds, for which everybody in the batch waits.
REPAIR_BUDGET, REPAIR_SHARE = 4_000, 50


class Service:
    """Judges events under one policy, and does other work on the same database; one per application.

    Up to `group_commit_max` events that arrive one by one share a transaction (None: each has its own), and at most
    `group_commit_queue` wait for one. `threads` bounds how many events are judged alone at the same time. `observer` is
    called as judging proceeds.
    """

    def __init__(
        self,
        *,
        engines: Engines,
        policy: Policy,
        group_commit_max: int | None,
        group_commit_queue: int,
        threads: int,
        observer: Observer | None = None,
    ) -> None:
        self.engines, self.database = engines, engines.main
        self.readiness = Readiness(self.url)
        self._sessions, self._sessions_of_reads = make_sessions(engines.main), make_sessions(engines.reads)
        self._sessions_of_changes = make_sessions(engines.changes)
        self._sessions_of_long_work = make_sessions(engines.repairs)
        self.policy = policy
        self._engine = RuleEngine(policy, observer)
        self._rules = self._engine.rules
        self._batches = Batches(self._engine.process, engines)
        self.verifier = UserVerifier(self.url)
        self.history_url = self.url
        self._replica: Replica | None = None
        self._sessions_of_replica = self._sessions_of_reads
        self._dry_runs = threading.BoundedSemaphore(DRY_RUNS)
        self._changes = Together(self._set_rules, most=MOST_CHANGES, patience=PATIENCE)
        self._queue = GroupCommit(
            Ways(
                shared=self._way(engines.shared),
                patient=self._way(engines.patient),
                # A little less than a statement may take, or the error would not say what it waited for.
                alone=self._way(engines.main, Waits(lock=0.9 * engines.timeout)),
                large=self._batches.repair,
            ),
            group_commit_max,
            may_try_alone,
            observer,
            held=self._held,
            threads=threads if group_commit_max is None else min(threads, ALONE_THREADS),
            queue=group_commit_queue,
            patience=2 * engines.timeout,
            repair_patience=REPAIR_SECONDS,
        )

    def _way(self, engine: Engine, waits: Waits = AT_ONCE) -> Process:
        """How a batch is judged on this engine's connections."""
        connections = pooled_connections(engine)

        def process(events: Sequence[Event]) -> list[Outcome]:
            limit = max(REPAIR_SHARE, REPAIR_BUDGET // len(events))
            return run(connections, lambda own: self._engine.process(own, events, repair_limit=limit, waits=waits))

        return process

    def _held(self, error: Exception, events: Sequence[Event]) -> frozenset[int] | None:
        if not is_lock_timeout(error):
            return None
        user_ids = {event.user_id for event in events}
        try:
            with self.engines.shared.connect() as connection:
                return busy_users(connection, sorted(user_ids))
        except SQLAlchemyError:
            return frozenset(user_ids)

    def judge(self, event: Event) -> Outcome:
        """Store and judge `event`, perhaps in one transaction with others.

        Raises what `judge_many` raises, and QueueFull if too many events wait already: then nothing is stored.
        """
        return self._queue.submit(event)

    async def judge_soon(self, event: Event) -> Outcome:
        """The same for a coroutine: its event loop keeps running meanwhile."""
        return await self._queue.submit_soon(event)

    def judge_many(self, events: Sequence[Event], *, atomic: bool = False) -> list[Outcome]:
        """Store and judge `events` in one transaction, as if they came one by one in the order given.

        One outcome for each. With `atomic` one refusal is enough to store none of them; without, events of users with
        large repairs are stored in transactions of their own. Raises what the database raises, CommitUncertain when the
        connection broke during the commit, and Overloaded if too much is under way already.
        """
        return self._batches.judge(events, atomic=atomic)

    def dry_run(self, event: Event) -> DryRun:
        """What `judge` would make of `event` now, and why; it stores nothing, counts nothing and locks nobody.

        Raises Overloaded if too many are under way, and what the database raises.
        """
        if not self._dry_runs.acquire(timeout=DRY_RUN_WAIT):
            raise Overloaded("too many dry runs are under way")
        try:
            return self.run(lambda session: self._engine.dry_run(session, event))
        finally:
            self._dry_runs.release()

    def rules(self, session: Session) -> dict[int, RuleChange]:
        """What each rule is set to now, by whom, why and when, by code in the registry's order.

        Makes sure first that what the declarations and the policy say is stored. Not to be called in a transaction.
        """
        return self._rules.now(session)

    def page_of_rule_versions(
        self, session: Session, code: int, limit: int, before: int | None
    ) -> Sequence[RuleVersion]:
        """Up to `limit` versions of a rule, newest first, those older than version `before` unless that is None."""
        self._rules.versions(session)
        return rule_versions.page_of_rule_versions(session, code, limit, before)

    def set_rule(self, code: int, wanted: WantedSetting, must_match: Callable[[int], None]) -> RuleChange:
        """Change what a rule is set to, for all events that are judged from now on; returns the change.

        Those who change rules at the same time do so together. `must_match` is called with the present version; if it
        raises, the rule stays as it is. Raises Overloaded if others' changes take too long.
        """
        self.run(self._rules.versions)  # so that there is something to change
        # Perhaps another request's thread makes the change, but `must_match` looks at this request.
        context = copy_context()

        def ours(version: int) -> None:
            context.run(must_match, version)

        return self._changes.submit(RequestedChange(code=code, wanted=wanted, must_match=ours))

    def _set_rules(self, requested: Sequence[RequestedChange]) -> list[RuleChange | Exception]:
        return run(self._sessions_of_changes, lambda session: set_rules(session, requested))

    def enter_rules(self, approve: Approve | None = None) -> None:
        """Store what the declarations and the policy say of rules that nobody has set, if that has changed.

        It holds for everyone who uses the database, so only the process that starts the service calls it: a worker or a
        command with other settings must not change the rules. `approve` as in `StoredRules.enter_declared`.
        """
        self.run(lambda session: self._rules.enter_declared(session, approve))

    def run(self, work: Callable[[Session], T]) -> T:
        """What `work` returns; it is repeated if the database asks for that or was lost before the commit."""
        return run(self._sessions, work)

    def read(self, work: Callable[[Session], T]) -> T:
        """The same for work that only reads and may be asked for at any time by anybody: it has few connections."""
        if self._replica is not None:
            try:
                return run(self._sessions_of_replica, work)
            except SQLAlchemyError as error:
                if is_too_slow(error):
                    raise
                self._replica.doubt()  # and read from the primary
        return run(self._sessions_of_reads, work)

    def on(self, replica: Replica) -> "Service":
        """The same service, but that its replica is read: by `read`, for all of history, and to verify a user."""
        assert self.engines.replica is not None
        other = copy(self)
        other._replica, other._sessions_of_replica = replica, make_sessions(self.engines.replica)
        other.verifier, other.history_url = UserVerifier(replica.url), replica.url
        return other

    def run_long(self, work: Callable[[Session], T]) -> T:
        """The same for work that may take minutes: it has few connections."""
        return run(self._sessions_of_long_work, work)

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database, with its password."""
        return self.database.url.render_as_string(hide_password=False)

    def dispose(self) -> None:
        """Close the connections that are not in use."""
        for engine in self.engines.all:
            engine.dispose()

    def store_in(self, extensions: MutableMapping[str, Any]) -> None:
        """Put it where `of` finds it among the extensions of an application."""
        extensions[_KEY] = self

    @classmethod
    def of(cls, extensions: MutableMapping[str, Any]) -> "Service":
        """The service of the application with these extensions."""
        found = extensions[_KEY]
        assert isinstance(found, cls)
        return found


def may_try_alone(error: Exception, event: Event) -> bool:
    """Whether an event of a batch that failed with `error` can be tried by itself without being stored twice."""
    return is_settled(error) or (isinstance(error, CommitUncertain) and event.event_id is not None)
