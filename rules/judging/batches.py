"""Batches that come as such: `POST /events` and replays. Big ones take turns, and none waits long with locks held."""

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from random import uniform
from time import monotonic, sleep

import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from database.engines import REPAIR_SECONDS, Engines
from database.locks import Waits
from database.session import CommitUncertain, is_away, is_lock_timeout, make_sessions, run
from rules.judging.late import LargeRepair
from rules.model import Event, Outcome, Refusal
from rules.overload import Overloaded

BIG = 256  # events; what has more takes turns
BIG_AT_ONCE = 8  # big batches of one process, under way or waiting for their turn
REPAIRED_AT_ONCE = 4  # batches of one process with large repairs, under way or waiting
# The most stored actions that the late events of one user may change in a batch of many users: some 0.1 s of work.
REPAIR_LIMIT = 5_000

# Seconds that a batch waits for a user while it holds others. Most big batches are in nobody's way and need no turn: by
# a glance they find that out.
_GLANCE, WAIT = 0.05, 0.5
TRIES = 3  # of a large repair, if rules are changed meanwhile

_UNAVAILABLE = "The database is unavailable or too slow, or too much is under way; it was not stored. Try again."
_UNCERTAIN = "The connection to the database broke; send the same event_id again to find out what was stored."


log = structlog.get_logger()


class RulesChanged(Exception):
    """A rule was changed while a batch was judged that did not hold the rules; nothing was stored."""


class Batches:
    """Judges batches by `process`, which is RuleEngine.process; any number of threads may share it."""

    def __init__(self, process: Callable[..., list[Outcome]], engines: Engines) -> None:
        self._process = process
        self._main, self._repairs = make_sessions(engines.main), make_sessions(engines.repairs)
        self._timeout = engines.timeout
        self._turn = threading.Lock()  # so that a process has one connection that waits for the turn of all processes
        self._big = threading.BoundedSemaphore(BIG_AT_ONCE)
        self._repaired = threading.BoundedSemaphore(REPAIRED_AT_ONCE)

    def judge(self, events: Sequence[Event], *, atomic: bool) -> list[Outcome]:
        """Store and judge `events` as if they came one by one in the order given; one outcome for each.

        It is one transaction, and with `atomic` one refusal is enough to store nothing. Without `atomic`, users with
        large repairs have transactions of their own, after it; if one fails, its events are refused as `unavailable`.
        Raises Overloaded if too many wait already or it has waited for too long, and what `process` raises.
        """
        apart: frozenset[int] = frozenset()
        shared, outcomes = events, list[Outcome]()
        while shared:
            try:
                outcomes = self._take_place_and_judge(shared, atomic)
                break
            except LargeRepair as large:
                if atomic:
                    with _place(self._repaired):
                        return self.repair(events, atomic=True)
                apart |= large.user_ids
                shared = [event for event in events if event.user_id not in apart]
        if not apart:
            return outcomes
        rest, repaired = iter(outcomes), self._repair_apart(events, apart)
        return [next(repaired[event.user_id]) if event.user_id in apart else next(rest) for event in events]

    def repair(self, events: Sequence[Event], *, atomic: bool = False) -> list[Outcome]:
        """The same with large repairs, in one transaction with a time limit of its own."""
        waits = Waits(hold_rules=False)  # a change of a rule does not wait for it, so it may have to begin anew
        for _ in range(TRIES):
            with suppress(RulesChanged):
                return run(self._repairs, lambda session: self._process(session, events, atomic, waits=waits))
        raise Overloaded("rules were changed again and again")

    def _take_place_and_judge(self, events: Sequence[Event], atomic: bool) -> list[Outcome]:
        if len(events) <= BIG:
            return self._patiently(events, atomic, is_big=False)
        with _place(self._big):
            return self._patiently(events, atomic, is_big=True)

    def _patiently(self, events: Sequence[Event], atomic: bool, *, is_big: bool) -> list[Outcome]:
        """Try until it has all of its users, for as long as any request may wait, without the locks in between."""
        end = monotonic() + self._timeout
        # A change of a rule does not wait for a big batch, unless another one has spoilt the batch's first try.
        hold_rules, has_turn = not is_big, False
        while True:
            left = max(_GLANCE, end - monotonic())
            lock = _GLANCE if is_big and not has_turn else min(WAIT, left)
            waits = Waits(lock=lock, turn=left if has_turn else None, hold_rules=hold_rules)
            try:
                with ExitStack() as stack:
                    if has_turn:
                        stack.enter_context(self._turn_of_process(left))
                    return self._once(events, atomic, waits)
            except RulesChanged:
                hold_rules = True
            except DBAPIError as error:
                if not is_lock_timeout(error) or monotonic() >= end:
                    raise
                if has_turn == is_big:
                    sleep(uniform(0.01, 0.1))  # noqa: S311
                has_turn = is_big

    def _once(self, events: Sequence[Event], atomic: bool, waits: Waits) -> list[Outcome]:
        return run(
            self._main,
            lambda session: self._process(session, events, atomic, repair_limit=REPAIR_LIMIT, waits=waits),
        )

    @contextmanager
    def _turn_of_process(self, seconds: float) -> Iterator[None]:
        if not self._turn.acquire(timeout=seconds):
            raise Overloaded("it waited for its turn for too long")
        try:
            yield
        finally:
            self._turn.release()

    def _repair_apart(self, events: Sequence[Event], users: Collection[int]) -> dict[int, Iterator[Outcome]]:
        """The outcomes of the events of each of `users`, in order."""
        of_user: dict[int, list[Event]] = defaultdict(list)
        for event in events:
            if event.user_id in users:
                of_user[event.user_id].append(event)
        found: dict[int, Iterator[Outcome]] = {}
        end = monotonic() + REPAIR_SECONDS
        for user_id, own in sorted(of_user.items()):
            try:
                with _place(self._repaired):
                    if monotonic() > end:
                        raise Overloaded("those before it took too long")
                    found[user_id] = iter(self.repair(own))
            except CommitUncertain:
                found[user_id] = iter([Refusal("unavailable", _UNCERTAIN)] * len(own))
            except Exception as error:
                # Whatever it is, the others are stored, and their answers must not be lost.
                expected = is_away(error) if isinstance(error, SQLAlchemyError) else isinstance(error, Overloaded)
                if not expected:
                    # The message of a database error can contain values.
                    shown = None if isinstance(error, SQLAlchemyError) else error
                    log.error("repair_failed", error=type(error).__name__, exc_info=shown)
                found[user_id] = iter([Refusal("unavailable", _UNAVAILABLE)] * len(own))
        return found


@contextmanager
def _place(places: threading.Semaphore) -> Iterator[None]:
    """One of the places, for as long as the block takes. Raises Overloaded if all are taken."""
    if not places.acquire(blocking=False):
        raise Overloaded("too many are under way already")
    try:
        yield
    finally:
        places.release()
