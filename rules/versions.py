"""What every rule is set to, now and at any moment before, and what follows from that for one user."""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple, TypeVar, cast

from database.records import RuleVersionRow, StoredSettings  # noqa: TID251
from rules.base import Reading, RuleInForce, RuleSetting, Status, reading, reading_to_keep
from rules.model import ACTION_TYPES, RISKS, ActionType, Risk, Value
from rules.parameters import read_values, written_values
from rules.registry import REGISTRY

K = TypeVar("K")
V = TypeVar("V")

NO_OVERRIDES = "{}"

# So much is kept of each kind of what is worked out; should there be more, it is all dropped and begun again. Few users
# have overrides of their own, and nearly every event is judged by the newest version.
_REMEMBERED = 4096


class RiskAndOverrides(NamedTuple):
    """What a user is judged by besides the rules: a rating, and overrides as JSON text by code and parameter."""

    risk: Risk
    overrides: str


FIRST_SETTINGS = RiskAndOverrides("normal", NO_OVERRIDES)  # a user's version 0, which is not stored


def settings_by_user(stored: Iterable[StoredSettings]) -> dict[int, dict[int, RiskAndOverrides]]:
    """What users were judged by, by user and version of their settings, from the stored versions."""
    found: dict[int, dict[int, RiskAndOverrides]] = defaultdict(dict)
    for one in stored:
        found[one.user_id][one.version] = RiskAndOverrides(cast(Risk, one.risk), one.overrides)
    return found


class _Kept(dict[K, V]):
    """What has been worked out, by what it follows from; never more than _REMEMBERED of it. Threads may share it."""

    def find(self, key: K, make: Callable[[], V]) -> V:
        """What is kept for `key`, or else what `make` returns, from now on."""
        found = self.get(key)
        if found is None:
            if len(self) >= _REMEMBERED:
                self.clear()
            found = self[key] = make()
        return found


def _put_in_force(setting: RuleSetting, risk: Risk, own: Mapping[str, Any]) -> RuleInForce:
    return RuleInForce(setting, risk=risk, overrides=read_values(setting.rule.declared, own))


class RuleSet:
    """The rules in force for users of one risk rating with the same overrides, by the type of action they judge.

    `overrides` are JSON text by code and parameter, as stored. `put_in_force` finds a rule in force by its setting, the
    rating, and the user's own values of its parameters.
    """

    def __init__(
        self,
        settings: Iterable[RuleSetting],
        *,
        risk: Risk,
        overrides: str = NO_OVERRIDES,
        put_in_force: Callable[[RuleSetting, Risk, Mapping[str, Any]], RuleInForce] = _put_in_force,
    ) -> None:
        own = json.loads(overrides)
        self.all = tuple(put_in_force(one, risk, own.get(str(one.code), {})) for one in settings if one.status != "off")
        self.by_type: dict[ActionType, tuple[RuleInForce, ...]] = {
            kind: tuple(rule for rule in self.all if rule.rule.judges(kind)) for kind in ACTION_TYPES
        }

    @cached_property
    def reading(self) -> dict[ActionType, Reading]:
        """What is read to judge an action of each type."""
        return {kind: reading(kind, self.by_type[kind]) for kind in ACTION_TYPES}


class _WorkedOut:
    """What follows from the versions of rules, whichever came after them."""

    def __init__(self) -> None:
        self.snapshots: _Kept[int, RulesSnapshot] = _Kept()
        self.rule_sets: _Kept[tuple[int, Risk, str], RuleSet] = _Kept()
        # A change of one rule, or of one override, leaves the others as they were.
        self._in_force: _Kept[tuple[int, int, Risk, tuple[tuple[str, Any], ...]], RuleInForce] = _Kept()

    def put_in_force(self, setting: RuleSetting, risk: Risk, own: Mapping[str, Any]) -> RuleInForce:
        """The version of a rule that `setting` is, in force for users of this rating with these values of their own."""
        key = (setting.code, setting.version, risk, tuple(own.items()))
        return self._in_force.find(key, lambda: _put_in_force(setting, risk, own))


class RulesSnapshot:
    """What all rules are set to. `number` counts the changes of any rule from 1; `settings` are by code."""

    def __init__(self, *, number: int, settings: Mapping[int, RuleSetting], worked_out: _WorkedOut) -> None:
        self.number = number
        self.settings = settings
        self._worked_out = worked_out

    @cached_property
    def reading(self) -> dict[ActionType, Reading]:
        """What is read to judge an action of each type; it serves every rating, since a user's is known too late."""
        found = {}
        for kind in ACTION_TYPES:
            found[kind] = Reading({})
            for risk in RISKS:
                found[kind] = found[kind].with_all_of(self.rule_set(risk).reading[kind])
        return found

    @cached_property
    def reading_to_keep(self) -> dict[ActionType, Reading]:
        """The same where what is read is kept for actions of either type."""
        return reading_to_keep(self.reading)

    def rule_set(self, risk: Risk, overrides: str = NO_OVERRIDES) -> RuleSet:
        """The rules in force for users of this rating with these overrides: JSON text by code and parameter."""
        known = self._worked_out
        return known.rule_sets.find(
            (self.number, risk, overrides),
            lambda: RuleSet(self.settings.values(), risk=risk, overrides=overrides, put_in_force=known.put_in_force),
        )


@dataclass(frozen=True, kw_only=True)
class RuleChange:
    """What a rule was set to at one moment, by whom, why and when. `number` counts the changes of all rules from 1.

    `written` are the parameters as they are stored: the rule may have had others then. `author` is None if the setting
    follows from the declarations and the setting RULES; `created_at` is None until the change is stored.
    """

    number: int
    setting: RuleSetting
    written: Mapping[str, Any]
    author: str | None = None
    note: str | None = None
    created_at: datetime | None = None

    @classmethod
    def stored(cls, row: RuleVersionRow) -> "RuleChange":
        """The change that `row` holds. The rule must be in the registry.

        Parameters that the rule no longer has are left out; new ones have their defaults.
        """
        rule = REGISTRY[row.code]
        setting = RuleSetting(
            rule=rule,
            version=row.version,
            status=cast(Status, row.status),
            parameters=rule.defaults() | read_values(rule.declared, row.parameters),
            by_risk={risk: read_values(rule.declared, values) for risk, values in row.by_risk.items()},
        )
        return cls(
            number=row.number,
            setting=setting,
            written=row.parameters,
            author=row.author,
            note=row.note,
            created_at=row.created_at,
        )

    def columns(self) -> dict[str, Any]:
        """Its columns in the table by name, except `note` and `created_at`."""
        setting = self.setting
        return {
            "number": self.number,
            "code": setting.code,
            "version": setting.version,
            "status": setting.status,
            "parameters": self.written,
            "by_risk": {risk: written_values(values) for risk, values in setting.by_risk.items()},
            "author": self.author,
        }


@dataclass(frozen=True, kw_only=True)
class WantedSetting:
    """What somebody wants a rule to be set to, and why.

    None keeps what there is; `parameters` are those that change, `by_risk` replaces all there was.
    """

    status: Status | None = None
    parameters: Mapping[str, Value] = field(default_factory=dict)
    by_risk: Mapping[str, Mapping[str, Value]] | None = None
    author: str | None = None
    note: str | None = None


class RuleVersions:
    """All changes of all rules so far, oldest first, and so what the rules were set to at every moment.

    `number` is that of the newest change; it may be one of a rule that is gone from the code.
    """

    def __init__(
        self, changes: Iterable[RuleChange] = (), *, number: int = 0, worked_out: _WorkedOut | None = None
    ) -> None:
        self.changes = tuple(changes)
        self.number = max([number, *(change.number for change in self.changes)])
        self._worked_out = worked_out or _WorkedOut()
        self._by_code: dict[int, list[RuleChange]] = {code: [] for code in REGISTRY}
        for change in self.changes:
            self._by_code[change.setting.code].append(change)
        self._furthest: _Kept[tuple[frozenset[RiskAndOverrides], int, int], list[RuleInForce]] = _Kept()

    @classmethod
    def stored(cls, rows: Iterable[RuleVersionRow]) -> "RuleVersions":
        """The changes in all rows of the table. Of a rule that is gone from the code, only the numbers count."""
        return cls().followed_by(rows)

    def followed_by(self, rows: Iterable[RuleVersionRow]) -> "RuleVersions":
        """These changes, and after them those in more rows of the table. What has been worked out is kept."""
        rows = tuple(rows)
        known = (RuleChange.stored(row) for row in rows if row.code in REGISTRY)
        number = max((row.number for row in rows), default=self.number)
        return RuleVersions((*self.changes, *known), number=number, worked_out=self._worked_out)

    def at(self, number: int) -> RulesSnapshot:
        """What all rules were set to after the change `number`. Rules that did not exist yet are left out."""
        number = min(number, self.number)
        return self._worked_out.snapshots.find(number, lambda: self._snapshot(number))

    def _snapshot(self, number: int) -> RulesSnapshot:
        settings = {
            code: changes[at - 1].setting
            for code, changes in self._by_code.items()
            if (at := bisect_right(changes, number, key=_number))
        }
        return RulesSnapshot(number=number, settings=settings, worked_out=self._worked_out)

    @property
    def newest(self) -> RulesSnapshot:
        """What all rules are set to now."""
        return self.at(self.number)

    def furthest(
        self, settings: Iterable[RiskAndOverrides], first: int = 0, last: int | None = None
    ) -> list[RuleInForce]:
        """Each rule with the largest counts and seconds of its look-backs that it ever had for such users.

        "Ever" is from the change `first` to the change `last` (both may be numbers at which something was judged). A
        rule that was always off is left out.
        """
        settings, last = frozenset(settings), self.number if last is None else last
        return self._furthest.find((settings, first, last), lambda: self._find_furthest(settings, first, last))

    def _find_furthest(self, settings: frozenset[RiskAndOverrides], first: int, last: int) -> list[RuleInForce]:
        risks = {one.risk for one in settings}
        overrides = [(one.risk, json.loads(one.overrides)) for one in settings]
        found = []
        for code, changes in self._by_code.items():
            start = max(0, bisect_right(changes, first, key=_number) - 1)
            ever = [one.setting for one in changes[start : bisect_right(changes, last, key=_number)]]
            ever = [one for one in ever if one.status != "off"]
            if not ever:
                continue
            rule, most = REGISTRY[code], dict(ever[-1].parameters)
            own = [(risk, read_values(rule.declared, by_code.get(str(code), {}))) for risk, by_code in overrides]
            for name in rule.looks_by:
                by_version = {risk: max(one.value_for(risk, name) for one in ever) for risk in risks}
                most[name] = max(values.get(name, by_version[risk]) for risk, values in own)
            found.append(RuleInForce(replace(ever[-1], parameters=most, by_risk={}), risk="normal", overrides={}))
        return found

    def changes_for(self, active: Iterable[int]) -> list[RuleChange]:
        """The changes to store so that the rules are set as the declarations and the codes in `active` say.

        A rule that somebody has set is left alone.
        """
        active, latest, number = set(active), {change.setting.code: change for change in self.changes}, self.number
        changes = []
        for code, rule in REGISTRY.items():
            wanted = RuleSetting.initial(rule, "active" if code in active else "off")
            written = written_values(wanted.parameters)
            if (before := latest.get(code)) is not None:
                if before.author is not None or (before.setting.status, before.written) == (wanted.status, written):
                    continue
                wanted = replace(wanted, version=before.setting.version + 1)
            number += 1
            changes.append(RuleChange(number=number, setting=wanted, written=written))
        return changes


def _number(change: RuleChange) -> int:
    return change.number
