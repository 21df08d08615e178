"""How a user was judged, version by version: what each one changed."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from database.models import UserSettings
from database.user_lists import page_of_user_settings
from routes.desk import words
from rules.registry import REGISTRY


class Changed(NamedTuple):
    """One thing that a version changed, what it was and what it is; None where there was or is nothing."""

    what: str
    before: str | None
    after: str | None


class VersionLine(NamedTuple):
    """A version of how a user is judged; `changes` are those from the version before."""

    version: int
    at: datetime
    author: str | None
    note: str | None
    changes: Sequence[Changed]


class VersionsFound(NamedTuple):
    """Versions, newest first, and the number before which the next page begins, if there is one."""

    lines: Sequence[VersionLine]
    next: int | None


def read_versions(session: Session, user_id: int, limit: int, before: int | None = None) -> VersionsFound:
    """A page of the versions of how a user was judged."""
    rows = page_of_user_settings(session, user_id, limit + 1, before)
    # Before the first version, everybody is rated normal, without overrides.
    first = [] if len(rows) > limit else [UserSettings(risk="normal", overrides={})]
    lines = [
        VersionLine(row.version, row.created_at, row.author, row.note, tuple(changes(previous, row)))
        for row, previous in pairwise([*rows, *first])
    ]
    return VersionsFound(lines, lines[-1].version if len(rows) > limit else None)


def changes(before: UserSettings, after: UserSettings) -> Iterator[Changed]:
    """What differs between two versions: the rating, and each value of a rule's parameter."""
    if before.risk != after.risk:
        yield Changed("rating", words.RISK[before.risk], words.RISK[after.risk])
    codes = sorted({*before.overrides, *after.overrides}, key=int)
    for code in codes:
        was, now = before.overrides.get(code, {}), after.overrides.get(code, {})
        for name in sorted({*was, *now}):
            if was.get(name) != now.get(name):
                yield Changed(f"{code} {name.replace('_', ' ')}", _written(code, name, was), _written(code, name, now))


def _written(code: str, name: str, values: Mapping[str, Any]) -> str | None:
    if name not in values:
        return None
    rule = REGISTRY.get(int(code))
    unit = next((one.unit for one in rule.declared if one.name == name), None) if rule else None
    return str(values[name]) if unit is None else words.parameter(unit, values[name])
