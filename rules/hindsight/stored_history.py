"""Stored actions in the order of time, to be judged once more: the plain part that backtest and verify share."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from operator import itemgetter

from rules.model import ACTION_TYPES, Action, ActionType, Risk
from rules.versions import NO_OVERRIDES

Settings = Mapping[int, Mapping[int, tuple[Risk, str]]]  # rating and overrides by user and version

_TYPES: dict[str, ActionType] = {kind: kind for kind in ACTION_TYPES}
_user = itemgetter(0)


def by_user(copied: str) -> Iterator[tuple[int, list[list[str]]]]:
    """The lines of a COPY that begin with the user's id, a list of columns each, user by user."""
    lines = [line.split("\t") for line in copied.splitlines()]
    for user_id, own in groupby(lines, _user):
        yield int(user_id), list(own)


def actions_of(lines: Iterable[Sequence[str]]) -> list[Action]:
    """The actions of lines that begin with user_id, seq, type, amount and time."""
    # Without a call for each: millions of them pass here.
    new, types = tuple.__new__, _TYPES
    return [new(Action, (int(one[1]), types[one[2]], Decimal(one[3]), int(one[4]))) for one in lines]


FIRST_SETTINGS: tuple[Risk, str] = ("normal", NO_OVERRIDES)


def settings_at(settings: Settings, user_id: int, version: int) -> tuple[Risk, str] | None:
    """A user's rating and overrides at a version of the user's settings; None where there is no such version."""
    return settings.get(user_id, {}).get(version) if version else FIRST_SETTINGS
