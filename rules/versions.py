"""The rule book: what every rule is set to, now and at any moment before, and what follows for one user."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rules.base import Reading, Rule, RuleInForce, RuleSetting, Status, reading
from rules.model import ACTION_TYPES, RISKS, ActionType, Risk, Value
from rules.registry import REGISTRY

NO_OVERRIDES = "{}"

# Users with overrides of their own are few; should they be many, what was worked out for them is forgotten at times.
_REMEMBERED = 4096


class RuleSet:
    """The rules in force for users of one risk rating with the same overrides, by the type of action they judge."""

    def __init__(self, versions: Iterable[RuleSetting], risk: Risk, overrides: str) -> None:
        own = json.loads(overrides)
        in_force = [
            RuleInForce(version, risk, read_values(version.rule, own.get(str(version.rule.code), {})))
            for version in versions
            if version.status != "off"
        ]
        self.all = tuple(in_force)
        self.by_type: dict[ActionType, tuple[RuleInForce, ...]] = {
            kind: tuple(rule for rule in in_force if rule.rule.judges(kind)) for kind in ACTION_TYPES
        }
        self.reading: dict[ActionType, Reading] = {kind: reading(kind, self.by_type[kind]) for kind in ACTION_TYPES}


class RulesSnapshot:
    """What all rules are set to. `number` counts the changes of any rule from 1; `versions` are by code."""

    def __init__(self, number: int, versions: Mapping[int, RuleSetting]) -> None:
        self.number = number
        self.versions = versions
        self._judges: dict[tuple[Risk, str], RuleSet] = {}
        # Which user has which rating is known only under the lock, so what is read serves them all.
        self.reading: dict[ActionType, Reading] = {}
        for kind in ACTION_TYPES:
            found = Reading({})
            for risk in RISKS:
                found = found.with_all_of(self.judges(risk).reading[kind])
            self.reading[kind] = found

    def judges(self, risk: Risk, overrides: str = NO_OVERRIDES) -> RuleSet:
        """What judges users of this rating with these overrides: JSON text by code and parameter, as stored."""
        key = (risk, overrides)
        found = self._judges.get(key)
        if found is None:
            if len(self._judges) >= _REMEMBERED:
                self._judges.clear()
            found = self._judges[key] = RuleSet(self.versions.values(), risk, overrides)
        return found


class RuleChange(NamedTuple):
    """A change of a rule as it is stored: `number` counts all changes, `version` those of this rule.

    `author` is None where it follows from the declarations and the setting RULES.
    """

    number: int
    code: int
    version: int
    status: Status
    parameters: dict[str, Any]
    by_risk: dict[str, dict[str, Any]]
    author: str | None


class RuleVersions:
    """All changes of all rules, and so the rule book of every moment."""

    def __init__(self, entries: Iterable[RuleChange]) -> None:
        stored = tuple(entries)
        self.number = max((entry.number for entry in stored), default=0)
        self.entries = tuple(entry for entry in stored if entry.code in REGISTRY)  # a rule may be gone from the code
        self._books: dict[int, RulesSnapshot] = {}

    def at(self, number: int) -> RulesSnapshot:
        """The book after the change `number`. A rule that was not there yet is not in it."""
        book = self._books.get(number)
        if book is None:
            latest = {entry.code: entry for entry in self.entries if entry.number <= number}
            versions = {code: _version(latest[code]) for code in REGISTRY if code in latest}
            book = self._books[number] = RulesSnapshot(number, versions)
        return book

    @property
    def newest(self) -> RulesSnapshot:
        """The book that holds now."""
        return self.at(self.number)

    def ever(self, risk: Risk, overrides: str = NO_OVERRIDES) -> list[RuleInForce]:
        """Every rule as it was ever in force, for users of this rating with these overrides."""
        return [one for entry in self.entries for one in RuleSet([_version(entry)], risk, overrides).all]

    def changes_for(self, active: Iterable[int]) -> list[RuleChange]:
        """What has to be entered so that the book says what the declarations and the codes of RULES say.

        A rule that somebody has set is left alone.
        """
        active, latest, number = set(active), {entry.code: entry for entry in self.entries}, self.number
        changes = []
        for code, rule in REGISTRY.items():
            status: Status = "active" if code in active else "off"
            before = latest.get(code)
            wanted = (status, written_values(rule.defaults()))
            if before is None or (before.author is None and (before.status, before.parameters) != wanted):
                number += 1
                changes.append(RuleChange(number, code, before.version + 1 if before else 1, *wanted, {}, None))
        return changes


def read_values(rule: Rule, written: Mapping[str, Any]) -> dict[str, Value]:
    """Values of parameters from the JSON form in which they are stored.

    Those that the rule does not know any more are left out; one that its bounds do not allow any more still holds.
    """
    return {p.name: p.value(written[p.name]) for p in rule.declared if p.name in written}


def written_values(values: Mapping[str, Value]) -> dict[str, str | int]:
    """Values of parameters in their JSON form: money and factors as text, so that nobody reads them as floats."""
    return {name: value if isinstance(value, int) else str(value) for name, value in values.items()}


def _version(entry: RuleChange) -> RuleSetting:
    rule = REGISTRY[entry.code]
    by_risk = {risk: read_values(rule, values) for risk, values in entry.by_risk.items()}
    parameters = rule.defaults() | read_values(rule, entry.parameters)
    return RuleSetting(rule, entry.version, entry.status, parameters, by_risk)
