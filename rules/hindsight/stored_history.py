"""Stored actions in order of time, to be judged again: what verify reads, and users' settings of the time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from operator import itemgetter

from database.records import StoredAlert
from rules.model import ACTION_TYPES, Action, ActionType
from rules.versions import FIRST_SETTINGS, RiskAndOverrides

Settings = Mapping[int, Mapping[int, RiskAndOverrides]]  # by user and version

_TYPES: dict[str, ActionType] = {kind: kind for kind in ACTION_TYPES}
_user = itemgetter(0)


def by_user(lines: Iterable[str]) -> Iterator[tuple[int, Iterator[list[str]]]]:
    """Lines that begin with a user's id: user by user, each line as a list of its columns, split as it is taken."""
    for user_id, own in groupby((line.split("\t") for line in lines), _user):
        yield int(user_id), own


def action_of(line: Sequence[str]) -> Action:
    """The action of one such line."""
    return Action(int(line[1]), _TYPES[line[2]], Decimal(line[3]), int(line[4]))


def settings_at(settings: Settings, user_id: int, version: int) -> RiskAndOverrides | None:
    """A user's settings at one of their versions; None if there is no such version."""
    return settings.get(user_id, {}).get(version) if version else FIRST_SETTINGS


class AlertsInOrder:
    """Stored alerts by user and seq, to be taken action by action."""

    def __init__(self, alerts: Iterator[StoredAlert]) -> None:
        self._rest = alerts
        self._next = next(alerts, None)

    def of(self, user_id: int, seq: int) -> dict[int, StoredAlert]:
        """Those of one action by code. What comes before it is passed over."""
        found: dict[int, StoredAlert] = {}
        while (alert := self._next) is not None and (alert.user_id, alert.seq) <= (user_id, seq):
            if (alert.user_id, alert.seq) == (user_id, seq):
                found[alert.code] = alert
            self._next = next(self._rest, None)
        return found
