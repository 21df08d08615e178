"""How a transaction that judges waits for others, and what it finds out about those that make it wait."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, any_, func, literal_column, select
from sqlalchemy.exc import SQLAlchemyError

from database import citus
from database.models import RuleVersion, User
from database.prepared import Planned, array, array_of, run_directly

# Turns are advisory locks: PostgreSQL gives them out in the order of asking, and to every process on the database.
# Nothing's correctness depends on them.
TURN_OF_CHANGES, TURN_OF_BATCHES = "7461, 1", "7461, 2"
TURNS_OF_USERS = "7462"

# A change of a rule locks the table in EXCLUSIVE mode: it waits for the transactions that hold the rules, and those
# that ask meanwhile wait for it. See docs/decisions/rules-as-data.md.
_HOLD_RULES = f"LOCK TABLE {RuleVersion.__tablename__} IN ROW SHARE MODE;\n"


@dataclass(frozen=True, kw_only=True)
class Waits:
    """How a transaction that judges waits.

    It waits for each lock for up to `lock` seconds (None: as its connection does). With `turn`, it first waits for up
    to so many seconds until no other transaction has the turn of big batches, and has it to its end. With `hold_rules`
    the rules stay as they are from when it has locked its users; without, only from the function `hold_rules` on.
    """

    lock: float | None = None
    turn: float | None = None
    hold_rules: bool = True

    def around(self, lock_users: str, *, on_workers: str | None = None) -> str:
        """The statements that begin the transaction, with `lock_users` among them.

        `on_workers` has the settings for other servers, if it is these that wait for users.
        """
        begin = "BEGIN;\n"
        if self.turn is not None:
            begin += f"{_limit(self.turn)}SELECT pg_advisory_xact_lock({TURN_OF_BATCHES});\n"
        limit = "" if self.lock is None else _limit(self.lock)
        begin += limit if on_workers is None else citus.passed_on(limit + on_workers)
        # After the users, so that nobody who waits for a user keeps a change of a rule waiting.
        return begin + lock_users + (_HOLD_RULES if self.hold_rules else "")


AT_ONCE = Waits()


def _limit(seconds: float) -> str:
    return f"SET LOCAL lock_timeout = {max(1, int(seconds * 1000))};\n"  # 0 would be without end


NEWEST_CHANGE = Planned(select(func.coalesce(func.max(RuleVersion.number), literal_column("0"))))


def hold_rules(connection: Connection) -> int:
    """Keep the rules as they are until the transaction ends. Returns the number of their newest change."""
    ((number,),) = run_directly(connection, f"{_HOLD_RULES}{NEWEST_CHANGE.text}", {})
    return int(number)


_FREE_USERS = Planned(
    select(User.user_id)
    .where(User.user_id == any_(array_of("user_id", User.user_id.type)))
    .with_for_update(key_share=True, skip_locked=True)
)


def busy_users(connection: Connection, user_ids: Sequence[int]) -> frozenset[int]:
    """Those of the users whom another transaction has locked, or who are unknown: it may be making them now.

    Without a transaction around it, so that it locks nobody itself. All of them, if that cannot be found out.
    """
    # Citus locks rows of one user at a time.
    asked = [[user_id] for user_id in user_ids] if citus.is_distributed(connection) else [user_ids]
    try:
        free = [row for some in asked for row in _FREE_USERS.run(connection, {"user_id": array(some)})]
    except SQLAlchemyError:
        return frozenset(user_ids)
    return frozenset(user_ids).difference(user_id for (user_id,) in free)
