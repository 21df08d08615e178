"""The service without HTTP: what both doors and all commands call."""

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Engine  # noqa: TID251
from sqlalchemy.orm import Session  # noqa: TID251

from database import rule_versions  # noqa: TID251
from database.models import RuleVersion  # noqa: TID251
from database.session import CommitUncertain, is_settled, make_sessions, run  # noqa: TID251
from rules.judging.engine import RuleEngine
from rules.judging.group_commit import EachAlone, GroupCommit
from rules.judging.observer import Observer
from rules.model import Event, Outcome
from rules.policy import Policy
from rules.rule_settings import patiently, set_rule
from rules.versions import RuleChange, WantedSetting

T = TypeVar("T")

_KEY = "transaction-alerts"


class Service:
    """Judges events under one policy, and does other work on the same database; one per application.

    `read_database` is an engine on the same database for what only reads: events do not wait for its connections.
    Up to `group_commit_max` events that arrive one by one share a transaction (None: each has its own), and at most
    `group_commit_queue` wait for one. `threads` bounds how many events are judged alone at the same time. `observer` is
    called as judging proceeds.
    """

    def __init__(
        self,
        *,
        database: Engine,
        read_database: Engine,
        policy: Policy,
        group_commit_max: int | None,
        group_commit_queue: int,
        threads: int,
        observer: Observer | None = None,
    ) -> None:
        self.database, self.read_database = database, read_database
        self._sessions, self._read_sessions = make_sessions(database), make_sessions(read_database)
        self._engine = RuleEngine(policy, observer)
        self._rules = self._engine.rules
        self._queue: GroupCommit | EachAlone
        if group_commit_max is None:
            self._queue = EachAlone(self.judge_many, threads=threads, queue=group_commit_queue)
        else:
            self._queue = GroupCommit(
                self.judge_many, group_commit_max, may_try_alone, observer, threads=threads, queue=group_commit_queue
            )

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

        One outcome for each. With `atomic` one refusal is enough to store none of them. Raises what the database
        raises, and CommitUncertain when the connection broke during the commit.
        """
        return self.run(lambda session: self._engine.process(session, events, atomic))

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

        `must_match` is called with the present version; if it raises, the rule stays as it is.
        """
        self.run(self._rules.versions)  # so that there is something to change
        return patiently(lambda: self.run(lambda session: set_rule(session, code, wanted, must_match)))

    def enter_rules(self) -> None:
        """Store what the declarations and the policy say of rules that nobody has set, if that has changed.

        It holds for everyone who uses the database, so only the process that starts the service calls it: a worker or a
        command with other settings must not change the rules.
        """
        self.run(self._rules.enter_declared)

    def run(self, work: Callable[[Session], T]) -> T:
        """What `work` returns; it is repeated if the database asks for that or was lost before the commit."""
        return run(self._sessions, work)

    def read(self, work: Callable[[Session], T]) -> T:
        """The same for work that only reads and may be asked for at any time by anybody: it has few connections."""
        return run(self._read_sessions, work)

    def dispose(self) -> None:
        """Close all connections that are not in use."""
        self.database.dispose()
        self.read_database.dispose()

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database, with its password."""
        return self.database.url.render_as_string(hide_password=False)

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
