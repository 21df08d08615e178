"""The rule book: which number it has, and what has to be entered."""

import pytest

from rules.registry import DEFAULT_CODES, REGISTRY
from rules.versions import RuleChange, RuleVersions, read_values


def entered(*active: int) -> list[RuleChange]:
    """What the first service enters that starts with these codes in RULES."""
    return RuleVersions([]).changes_for(active)


def test_all_rules_are_entered_once() -> None:
    """The first time, each rule gets its first version; from then on there is nothing to enter."""
    changes = entered(*DEFAULT_CODES)
    assert [(change.number, change.version) for change in changes] == [(n, 1) for n in range(1, len(REGISTRY) + 1)]
    assert {change.code for change in changes if change.status == "active"} == set(DEFAULT_CODES)
    assert RuleVersions(changes).changes_for(DEFAULT_CODES) == []


def test_another_setting_changes_only_what_nobody_has_set() -> None:
    """RULES goes on deciding about a rule until somebody sets it."""
    changes = entered(1100, 30)
    changes.append(changes[0]._replace(number=len(changes) + 1, version=2, author="Ada"))
    (change,) = RuleVersions(changes).changes_for([])
    assert (change.number, change.code, change.version, change.status) == (len(changes) + 1, 30, 2, "off")


def test_a_rule_that_is_gone_from_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its changes still count, so that the next one gets a number of its own, and it judges nothing any more."""
    changes = entered(*DEFAULT_CODES)
    monkeypatch.delitem(REGISTRY, changes[-1].code)
    books = RuleVersions(changes)
    assert books.number == len(changes)
    assert changes[-1].code not in books.newest.versions
    assert [change.number for change in books.changes_for([1100, 300, 123])] == [len(changes) + 1]


def test_a_stored_value_out_of_bounds_holds() -> None:
    """A release that allows less does not lose, or fail on, what was set before."""
    assert read_values(REGISTRY[30], {"count": 100_000, "gone": 1}) == {"count": 100_000}
