"""What every rule is set to, now and at any moment before, and what follows from that for one user."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, cast

from database.records import RuleVersionRow, StoredSettings  # noqa: TID251
from rules.base import Reading, RuleInForce, RuleSetting, Status, reading
from rules.model import ACTION_TYPES, RISKS, ActionType, Risk, Value
from rules.parameters import read_values, written_values
from rules.registry import REGISTRY

NO_OVERRIDES = "{}"

# Few users have overrides of their own; should there be more, all that was worked out is dropped and begun again.
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


class RuleSet:
    """The rules in force for users of one risk rating with the same overrides, by the type of action they judge.

    `overrides` are JSON text by code and parameter, as stored.
    """

    def __init__(self, settings: Iterable[RuleSetting], *, risk: Risk, overrides: str = NO_OVERRIDES) -> None:
        own = json.loads(overrides)
        in_force = [
            RuleInForce(
                setting, risk=risk, overrides=read_values(setting.rule.declared, own.get(str(setting.code), {}))
            )
            for setting in settings
            if setting.status != "off"
        ]
        self.all = tuple(in_force)
        self.by_type: dict[ActionType, tuple[RuleInForce, ...]] = {
            kind: tuple(rule for rule in in_force if rule.rule.judges(kind)) for kind in ACTION_TYPES
        }
        self.reading: dict[ActionType, Reading] = {kind: reading(kind, self.by_type[kind]) for kind in ACTION_TYPES}


class RulesSnapshot:
    """What all rules are set to. `number` counts the changes of any rule from 1; `settings` are by code."""

    def __init__(self, *, number: int, settings: Mapping[int, RuleSetting]) -> None:
        self.number = number
        self.settings = settings
        self._rule_sets: dict[tuple[Risk, str], RuleSet] = {}
        # A user's rating is known only under the lock, so what is read serves every rating.
        self.reading: dict[ActionType, Reading] = {}
        for kind in ACTION_TYPES:
            found = Reading({})
            for risk in RISKS:
                found = found.with_all_of(self.rule_set(risk).reading[kind])
            self.reading[kind] = found

    def rule_set(self, risk: Risk, overrides: str = NO_OVERRIDES) -> RuleSet:
        """The rules in force for users of this rating with these overrides: JSON text by code and parameter."""
        key = (risk, overrides)
        found = self._rule_sets.get(key)
        if found is None:
            if len(self._rule_sets) >= _REMEMBERED:
                self._rule_sets.clear()
            found = self._rule_sets[key] = RuleSet(self.settings.values(), risk=risk, overrides=overrides)
        return found


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

    def __init__(self, changes: Iterable[RuleChange] = (), *, number: int = 0) -> None:
        self.changes = tuple(changes)
        self.number = max([number, *(change.number for change in self.changes)])
        self._snapshots: dict[int, RulesSnapshot] = {}

    @classmethod
    def stored(cls, rows: Iterable[RuleVersionRow]) -> "RuleVersions":
        """The changes in all rows of the table. Of a rule that is gone from the code, only the numbers count."""
        rows = tuple(rows)
        known = (RuleChange.stored(row) for row in rows if row.code in REGISTRY)
        return cls(known, number=max((row.number for row in rows), default=0))

    def at(self, number: int) -> RulesSnapshot:
        """What all rules were set to after the change `number`. Rules that did not exist yet are left out."""
        snapshot = self._snapshots.get(number)
        if snapshot is None:
            latest = {change.setting.code: change.setting for change in self.changes if change.number <= number}
            settings = {code: latest[code] for code in REGISTRY if code in latest}
            snapshot = self._snapshots[number] = RulesSnapshot(number=number, settings=settings)
        return snapshot

    @property
    def newest(self) -> RulesSnapshot:
        """What all rules are set to now."""
        return self.at(self.number)

    def ever(self, risk: Risk, overrides: str = NO_OVERRIDES) -> list[RuleInForce]:
        """Every rule as each of its versions put it in force, for users of this rating with these overrides."""
        return [one for change in self.changes for one in RuleSet([change.setting], risk=risk, overrides=overrides).all]

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
