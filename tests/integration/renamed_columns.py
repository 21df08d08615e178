"""Uses the service's statements and prints the results, with column names that only the models know.

For test_column_names.py, as a program: URL, the id that users count from, and the tables whose columns are renamed.
"""

# ruff: noqa: E402 (the models are changed before the rest is imported)

import json
import sys
from decimal import Decimal
from typing import Any

from database.models import Base

# Before any statement is built, since that happens when the modules are imported.
URL, START, *TABLES = sys.argv[1:]
for name in TABLES:
    for column in Base.metadata.tables[name].columns:
        column.name = f"renamed_{column.name}"

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from database.models import Alert, User, UserAction, UserSettings
from database.session import make_engine, make_sessions
from rules.judging.engine import RuleEngine
from rules.model import ActionType, Event, Outcome, Refusal
from rules.policy import Policy
from rules.registry import REGISTRY

Sessions = sessionmaker[Session]

ENGINE = RuleEngine(Policy(tuple(REGISTRY.values())))
STRICT = RuleEngine(Policy(tuple(REGISTRY.values()), allow_overdraft=False))


def event(user: int, kind: ActionType, amount: int, time: int, event_id: str | None = None) -> Event:
    return Event(int(START) + user, kind, Decimal(amount), time, event_id)


def answer(outcome: Outcome) -> Any:
    return outcome.reason if isinstance(outcome, Refusal) else [*outcome.codes, outcome.replayed]


def judging(sessions: Sessions) -> Any:
    """What a batch can meet: users who are created, known, refused or rated, repeated ids, late events."""
    answers: list[Any] = []

    def judge(engine: RuleEngine, *events: Event) -> None:
        with sessions() as session:
            answers.extend(answer(outcome) for outcome in engine.process(session, events))

    judge(ENGINE, *[event(1, "withdraw", 150, time) for time in (10, 20, 30, 40, 90, 100)])
    judge(ENGINE, event(2, "deposit", 90, 20, "mine"), event(2, "deposit", 150, 40), event(2, "deposit", 5, 50))
    with sessions() as session:
        user = session.get(User, event(1, "deposit", 1, 1).user_id)
        assert user is not None
        user.risk, user.settings_version = "high", 1
        session.add(UserSettings(user_id=user.user_id, version=1, risk="high", overrides={}))
        session.commit()
    # Late ones: between others, and as the very first.
    judge(ENGINE, event(1, "deposit", 80, 25), event(1, "withdraw", 60, 5), event(2, "deposit", 100, 30))
    judge(ENGINE, event(2, "withdraw", 1, 1))
    # Counted up and taken back: a repeated one, and the user who was created for a refused one.
    judge(STRICT, event(2, "deposit", 90, 20, "mine"), event(3, "withdraw", 7, 5), event(4, "deposit", 7, 5))
    judge(STRICT, event(5, "withdraw", 7, 5))
    return answers


def stored(sessions: Sessions) -> dict[str, list[Any]]:
    """All rows of the tables that judging writes, apart from user ids and the time of writing."""
    with sessions() as session:
        return {
            model.__tablename__: [
                {
                    one.key: str(getattr(row, one.key))
                    for one in model.__mapper__.column_attrs
                    if one.key not in ("user_id", "created_at", "touched_at", "transaction_id")
                }
                for row in session.scalars(select(model).order_by(*model.__mapper__.primary_key))
            ]
            for model in (User, UserAction, Alert)
        }


# Each takes sessions and returns what is the same for every START.
USES = (judging,)

if __name__ == "__main__":
    database = make_sessions(make_engine(URL, timeout=10, connections=1))
    print(json.dumps({"answers": {use.__name__: use(database) for use in USES}, "stored": stored(database)}))
