"""All changes of all rules: their numbers, what they say, and what has to be entered."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from database.records import RuleVersionRow
from rules.parameters import read_values
from rules.registry import DEFAULT_CODES, REGISTRY
from rules.versions import RuleChange, RuleVersions

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
