"""What the page of the log shows of a change: what it was about, what was done, and how it was before and is now."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple, Self

from pydantic import ValidationError

from access.caller import Caller
from database.change_log import ALERT, LogLine
from routes.desk import words
from routes.desk.inbox_query import InboxQuery
from routes.http.pages import DESK
from routes.schemas.log import subject_of
from routes.schemas.views import SavedQuery

KINDS: Mapping[str, str] = {
    "alert": "Alert",
    "rule": "Rule",
    "user": "User",
    "key": "Key",
    "mute": "Mute",
    "view": "View",
    "backtest": "Backtest",
    "export": "Export",
    "sign-in": "Sign-in",
    "prune": "Pruning",
    "webhook": "Webhook",
}
# How the values of an alert's fields are written; those of others as they are.
_ALERT_WORDS: Mapping[str, Mapping[str, str]] = {"status": words.STATUS, "outcome": words.OUTCOME}


class ChangedPart(NamedTuple):
    """A part of a thing, by its name ("" for all of it): what it was and what it is, None for nothing."""

    name: str
    before: str | None
    after: str | None


class LogRow(NamedTuple):
    """A change as a row: `path` is the page of its subject, if there is one."""

    at: datetime
    who: str
    kind: str
    subject: str
    path: str | None
    what: str
    differences: list[ChangedPart]
    note: str | None

    @classmethod
    def of(cls, line: LogLine, me: Caller) -> Self:
        """The row of a line of the log, for this caller."""
        if line.kind == ALERT:
            known = _ALERT_WORDS.get(line.what, {})
            before, after = (None if text is None else known.get(text, text) for text in (line.before, line.after))
            differences = [] if before is None and after is None else [ChangedPart("", before, after)]
        else:
            before, after = (None if text is None else json.loads(text) for text in (line.before, line.after))
            again = ChangedPart("note", None, line.note)  # which the row has anyway
            differences = [one for one in differences_of(before, after) if one != again]
        subject = subject_of(line)
        return cls(
            at=line.at,
            who=line.who,
            kind=KINDS[line.kind],
            subject=_named(line.kind, subject, after or before),
            path=_path(line.kind, subject, after or before, me),
            what=line.what.replace("_", " "),
            differences=differences,
            note=line.note,
        )


def differences_of(before: Any, after: Any) -> Iterator[ChangedPart]:
    """Every part of two JSON values that differs, in the order in which they have them."""
    was, now = dict(_parts(before)), dict(_parts(after))
    for name in {**now, **was}:
        if was.get(name) != now.get(name):
            yield ChangedPart(name, was.get(name), now.get(name))


def _parts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _parts(one, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        for number, one in enumerate(value, start=1):
            yield from _parts(one, f"{name} {number}".strip())
    elif value is not None:
        yield name, _written(value)


def _written(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_written, value)) or "none"
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _named(kind: str, subject: str, shown: Any) -> str:
    """How a subject is called on the page."""
    if kind == "mute":
        user_id, _, code = subject.partition("/")
        return f"rule {code} for user {user_id}"
    if kind in ("view", "key") and isinstance(shown, dict) and isinstance(name := shown.get("name"), str):
        return f"{name} ({subject})"
    return subject


def _path(kind: str, subject: str, shown: Any, me: Caller) -> str | None:
    """The page of a subject; None if it has none."""
    if kind in ("alert", "rule", "user"):
        return f"{DESK}/{kind}s/{subject}"
    if kind == "mute":
        return f"{DESK}/users/{subject.partition('/')[0]}"
    if kind == "webhook":
        page = f"{DESK}/webhooks/{subject}" if subject.isdecimal() else f"{DESK}/webhooks"  # one of them, or all
        return page if me.may("admin") else None
    with suppress(KeyError, IndexError, TypeError, ValidationError):
        if kind == "backtest":
            return f"{DESK}/rules/{int(shown['rules'][0]['code'])}"
        if kind == "view":
            return InboxQuery.of_view(SavedQuery.model_validate(shown["query"]), me).path()
    return None
