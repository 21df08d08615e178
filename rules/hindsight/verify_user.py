"""Verifying one user for somebody who waits for it: bounded, and out of the way of live events."""

import threading
from time import sleep, thread_time

from database import history
from database.records import Users
from rules.hindsight.verify import Verifier
from rules.hindsight.verify_report import VerifyReport
from rules.hindsight.verify_work import StoredSource
from rules.overload import Overloaded
from rules.pruned import pruned_by_user
from rules.rule_settings import read_versions
from rules.versions import settings_by_user

MOST_ACTIONS = 100_000  # of the user
AT_ONCE = 2  # in one process
WORK = 30.0  # seconds that one works; with its rests it takes twice as long
WAIT = 60.0  # seconds that it waits for the database at once
STRETCH = 10  # actions that are judged in one go: about half a millisecond


class TooManyActions(Exception):
    """The user has more than MOST_ACTIONS actions."""


class TookTooLong(Exception):
    """It would take more than WORK: many late events of one user are judged again as they came, one by one."""


class UserVerifier:
    """Verifies users of the database at `url`, at most AT_ONCE at once; any number of threads may share it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def verify(self, user_id: int, seq: int, code: int) -> VerifyReport | None:
        """What is stored of the user who has this alert, in one state of the database; None if there is no such alert.

        Raises TooManyActions, TookTooLong, Overloaded if as many are under way as may be, and what the database raises.
        """
        if not self._places.acquire(blocking=False):
            raise Overloaded("others are being verified")
        try:
            with history.snapshot(self._url, seconds=WAIT) as connection:
                actions = history.actions_of_alert(connection, user_id, seq, code)
                if actions is None:
                    return None
                if actions > MOST_ACTIONS:
                    raise TooManyActions
                user = Users(first=user_id, last=user_id, actions=actions)
                unproved: set[tuple[int, int, int]] = set()
                asked = (user_id, seq, code)
                verifier = Verifier(
                    read_versions(connection), _Pace(), lambda key: unproved.add(key) if key == asked else None
                )
                report = verifier.verify(
                    user,
                    StoredSource(connection, at_once=2 * STRETCH),
                    settings_by_user(history.settings(connection, user)),
                    history.totals(connection, user),
                    pruned_by_user(history.checkpoints(connection, user)),
                )
                report.asked_is_unproved = asked in unproved
                return report
        finally:
            self._places.release()


class _Pace:
    """Called for every action: after each stretch it rests for as long as that took, as reads do.

    Python runs one thread at a time, so what is done here is taken from the threads that judge events
    (docs/decisions/reads-rest.md).
    """

    def __init__(self) -> None:
        self._count = 0
        self._worked = thread_time()
        self._end = self._worked + WORK

    def __call__(self) -> None:
        self._count += 1
        if self._count % STRETCH:
            return
        now = thread_time()
        if now > self._end:
            raise TookTooLong
        sleep(now - self._worked)
        self._worked = thread_time()
