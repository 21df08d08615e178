"""What the views work with: the database and the rule engine of the running application."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from flask import current_app
from sqlalchemy.orm import Session, sessionmaker

from database.session import run
from routes.http.exchange import Done
from rules.model import Event, Outcome
from rules.versions import RuleVersions

T = TypeVar("T")

_KEY = "transaction-alerts"


class Process(Protocol):
    """Stores and judges many events in one transaction; with `atomic`, all of them or none."""

    def __call__(self, events: Sequence[Event], /, atomic: bool = False) -> list[Outcome]: ...


@dataclass(frozen=True)
class Context:
    """Made once for each application by `create_app`."""

    sessions: sessionmaker[Session]
    submit: Callable[[Event], Outcome]  # one event, perhaps in one transaction with others
    submit_soon: Callable[[Event], Awaitable[Outcome]]  # the same for a coroutine
    process: Process
    books: Callable[[Session], RuleVersions]  # all changes of the rules; makes sure that what RULES says is stored
    head: str  # the newest migration
    done: Done  # told of every request that is answered
    exposition: Callable[[], tuple[bytes, str]]  # the metrics, and their content type

    def store(self) -> None:
        """Make it what `context()` gives to the views of the current application."""
        current_app.extensions[_KEY] = self


def context() -> Context:
    """The context of the application that serves the request under way."""
    found: Context = current_app.extensions[_KEY]
    return found


def with_session(work: Callable[[Session], T]) -> T:
    """What `work` returns; it is done anew where the database asks for that or was lost before the commit."""
    return run(context().sessions, work)
