"""All changes of all rules: their numbers, what they say, and what has to be entered."""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from database.records import RuleVersionRow
from rules import versions as versions_module
from rules.base import RuleInForce, RuleSetting
from rules.judging.late import reach_of
from rules.model import RISKS, Value
from rules.parameters import read_values
from rules.registry import DEFAULT_CODES, REGISTRY
from rules.versions import RiskAndOverrides, RuleChange, RuleSet, RuleVersions, _Kept

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def entered(*active: int) -> list[RuleChange]:
    """What the first service enters that starts with these codes in RULES."""
    return RuleVersions().changes_for(active)


def rows(changes: Iterable[RuleChange]) -> list[RuleVersionRow]:
    """The changes as rows of the table."""
    return [RuleVersionRow(**change.columns(), note=change.note, created_at=NOW) for change in changes]


def test_all_rules_are_entered_once() -> None:
    """The first time, each rule gets its first version; from then on there is nothing to enter."""
    changes = entered(*DEFAULT_CODES)
    numbers = [(change.number, change.setting.version) for change in changes]
    assert numbers == [(n, 1) for n in range(1, len(REGISTRY) + 1)]
    assert {change.setting.code for change in changes if change.setting.status == "active"} == set(DEFAULT_CODES)
    assert RuleVersions(changes).changes_for(DEFAULT_CODES) == []
    assert RuleVersions.stored(rows(changes)).changes_for(DEFAULT_CODES) == []


def test_another_setting_changes_only_what_nobody_has_set() -> None:
    """RULES continues to decide about a rule until somebody sets it."""
    changes = entered(1100, 30)
    by_hand = replace(changes[0].setting, version=2)
    changes.append(replace(changes[0], number=len(changes) + 1, setting=by_hand, author="Ada"))
    (change,) = RuleVersions(changes).changes_for([])
    found = (change.number, change.setting.code, change.setting.version, change.setting.status)
    assert found == (len(changes) + 1, 30, 2, "off")


@pytest.mark.parametrize("stored", [{}, {"count": 3, "gone": 1}, {"count": 4}])
def test_other_declarations_are_entered(stored: dict[str, int]) -> None:
    """A parameter that is new, removed or has another default makes a version if nobody has set the rule."""
    changes = rows(entered(*DEFAULT_CODES))
    changes[1] = changes[1]._replace(parameters=stored)
    (change,) = RuleVersions.stored(changes).changes_for(DEFAULT_CODES)
    assert (change.number, change.setting.code, change.setting.version) == (len(changes) + 1, 30, 2)
    assert change.columns()["parameters"] == {"count": 3}


def test_a_rule_that_is_gone_from_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its changes still count, so that the next one gets a number of its own, and it no longer judges anything."""
    changes = entered(*DEFAULT_CODES)
    monkeypatch.delitem(REGISTRY, changes[-1].setting.code)
    versions = RuleVersions.stored(rows(changes))
    assert versions.number == len(changes)
    assert changes[-1].setting.code not in versions.newest.settings
    assert [change.number for change in versions.changes_for([1100, 300, 123])] == [len(changes) + 1]


def test_a_change_survives_being_stored() -> None:
    """What is read from the columns is what was stored, with who, why and when."""
    (change,) = [change for change in entered() if change.setting.code == 123]
    by_risk = {"high": {"threshold": Decimal("50.00")}}
    change = replace(change, setting=replace(change.setting, by_risk=by_risk), author="Ada", note="Why.")
    assert change.columns()["by_risk"] == {"high": {"threshold": "50.00"}}
    assert RuleChange.stored(rows([change])[0]) == replace(change, created_at=NOW)


def test_a_stored_value_out_of_bounds_holds() -> None:
    """A release that allows less neither loses nor fails on what was set before."""
    assert read_values(REGISTRY[30].declared, {"count": 100_000, "gone": 1}) == {"count": 100_000}


# How far back rules ever looked


def random_changes(random: Random, length: int) -> list[RuleChange]:
    """First versions of all rules, and then changes of a few of them, some off, some with values by risk."""
    changes = entered(*DEFAULT_CODES)
    latest = {change.setting.code: change.setting for change in changes}
    for number in range(len(changes) + 1, len(changes) + 1 + length):
        before = latest[random.choice([30, 123, 500, 650, 690])]
        values: dict[str, Value] = {name: random.randint(1, 50) for name in before.rule.looks_by}
        by_risk: dict[str, dict[str, Value]] = {
            random.choice(RISKS): {name: random.randint(1, 90) for name in before.rule.looks_by}
        }
        latest[before.code] = replace(
            before,
            version=before.version + 1,
            status=random.choice(("active", "shadow", "off")),
            parameters={**before.parameters, **values},
            by_risk=by_risk if random.random() < 0.5 else {},
        )
        changes.append(RuleChange(number=number, setting=latest[before.code], written={}, author="Ada"))
    return changes


def random_settings(random: Random, count: int) -> list[RiskAndOverrides]:
    """What users were judged by: any rating, and some with counts and seconds of their own."""
    own = [{"123": {"window": random.randint(0, 99)}, "30": {"count": random.randint(1, 20)}} for _ in range(count)]
    return [RiskAndOverrides(random.choice(RISKS), json.dumps(random.choice([{}, one]))) for one in own]


@pytest.mark.parametrize("seed", range(30))
def test_the_furthest_is_that_of_every_version_with_every_setting(seed: int) -> None:
    """A late event reaches as far as if each version was put in force with each of the settings; not further."""
    random = Random(seed)
    changes = random_changes(random, 12)
    versions = RuleVersions(changes)
    settings = random_settings(random, 4)
    first, last = sorted(random.choices(range(len(REGISTRY), len(changes) + 1), k=2))
    in_range = [setting for number in range(first, last + 1) for setting in versions.at(number).settings.values()]
    expected = [rule for each in settings for rule in RuleSet(in_range, risk=each.risk, overrides=each.overrides).all]
    assert reach_of(versions.furthest(settings, first, last)) == reach_of(expected)
    everything = [rule for each in settings for c in changes for rule in RuleSet([c.setting], **each._asdict()).all]
    assert reach_of(versions.furthest(settings)) == reach_of(everything)


def test_a_change_makes_little_to_work_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change of one rule, what was put in force by other versions is kept, and only the new one is made."""
    made: list[tuple[int, int]] = []

    class Counted(RuleInForce):
        def __init__(self, setting: RuleSetting, **rest: Any) -> None:
            made.append((setting.code, setting.version))
            super().__init__(setting, **rest)

    monkeypatch.setattr(versions_module, "RuleInForce", Counted)
    random = Random(1)
    stored = rows(random_changes(random, 300))
    settings = random_settings(random, 50)
    versions = RuleVersions.stored(stored[:-1])
    for number in range(1, versions.number + 1):
        assert versions.at(number).rule_set("normal")
    versions.furthest(settings)
    made.clear()
    changed = versions.followed_by(stored[-1:])
    assert changed.number == versions.number + 1
    for number in range(1, changed.number + 1):
        assert changed.at(number).rule_set("normal")
    assert set(made) <= {(stored[-1].code, stored[-1].version)}
    made.clear()
    changed.furthest(settings)
    assert len(made) <= len(REGISTRY)
    changed.furthest(settings)
    assert len(made) <= len(REGISTRY)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked for, no more than so much is kept, and what is dropped is found again."""
    monkeypatch.setattr(versions_module, "_REMEMBERED", 5)
    kept: _Kept[int, str] = _Kept()
    for number in range(100):
        assert kept.find(number % 7, lambda number=number: str(number % 7)) == str(number % 7)  # type: ignore[misc]
        assert len(kept) <= 5


def test_a_number_that_is_not_known_yet() -> None:
    """It says what is known so far; once more has been read, it says that."""
    changes = entered(*DEFAULT_CODES)
    versions = RuleVersions(changes)
    assert versions.at(len(changes) + 1) is versions.newest
    later = replace(changes[0], number=len(changes) + 1, setting=replace(changes[0].setting, version=2))
    assert versions.followed_by(rows([later])).at(later.number).settings[1100].version == 2
