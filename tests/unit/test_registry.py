"""The rules as a whole: their order, and that each declares itself completely."""

from decimal import Decimal
from string import Formatter

import pytest

from rules.base import Last, Rule
from rules.registry import DEFAULT_CODES, REGISTRY

each_rule = pytest.mark.parametrize("rule", REGISTRY.values(), ids=[str(code) for code in REGISTRY])


def test_answer_order() -> None:
    """Codes are answered in the contract's order."""
    assert list(REGISTRY) == [1100, 30, 300, 123, 500]


def test_default_codes() -> None:
    """500 ships switched off; the others are active."""
    assert DEFAULT_CODES == (1100, 30, 300, 123)


def test_defaults_of_the_contract() -> None:
    """Every parameter has the contract's default."""
    defaults = {code: {p.name: p.default for p in rule.parameters} for code, rule in REGISTRY.items()}
    assert defaults == {
        1100: {"threshold": Decimal("100.00")},
        30: {"count": 3},
        300: {"count": 3},
        123: {"threshold": Decimal("200.00"), "window": 30},
        500: {"count": 5, "window": 60},
    }


def test_fires_on() -> None:
    """Each rule judges the type of action that the contract says."""
    types = {code: rule.fires_on for code, rule in REGISTRY.items()}
    assert types == {1100: "withdraw", 30: "withdraw", 300: "deposit", 123: "deposit", 500: None}


def test_codes_are_unique() -> None:
    """No two rules share a code, and each stands under its own."""
    assert [rule.code for rule in REGISTRY.values()] == list(REGISTRY)
    assert len({id(rule) for rule in REGISTRY.values()}) == len(REGISTRY)


@each_rule
def test_parameters_are_declared(rule: Rule) -> None:
    """Parameters have names of their own, a default that fits the unit, and a sentence why."""
    names = [parameter.name for parameter in rule.parameters]
    assert len(set(names)) == len(names)
    for parameter in rule.parameters:
        assert isinstance(parameter.default, Decimal if parameter.unit == "money" else int)
        assert parameter.default > 0
        assert parameter.why[0].isupper()
        assert parameter.why.endswith(".")


@each_rule
def test_title_formats_from_the_parameters(rule: Rule) -> None:
    """The title names the rule's own parameters alone, so that it can be filled in for any user."""
    values = {parameter.name: parameter.default for parameter in rule.parameters}
    named = {name for _, name, _, _ in Formatter().parse(rule.title) if name is not None}
    assert named <= set(values)
    assert "{" not in rule.title.format(**values)


def test_titles() -> None:
    """With the defaults filled in, the titles read as a person would say them."""
    titles = [rule.title.format(**{p.name: p.default for p in rule.parameters}) for rule in REGISTRY.values()]
    assert titles == [
        "Withdrawal over 100.00",
        "3 withdrawals in a row",
        "3 increasing deposits",
        "Deposits over 200.00 in 30 s",
        "More than 5 actions in 60 s",
    ]


@each_rule
def test_look_back_names_parameters(rule: Rule) -> None:
    """A look-back names an existing parameter of the right unit."""
    units = {parameter.name: parameter.unit for parameter in rule.parameters}
    for look in rule.look_back:
        found = (units[look.count], "actions") if isinstance(look, Last) else (units[look.seconds], "seconds")
        assert found[0] == found[1]


@each_rule
def test_rule_is_described(rule: Rule) -> None:
    """The check says in a sentence when it fires, and the version counts from 1."""
    assert (rule.check.__doc__ or "").startswith("Fires when ")
    assert rule.version >= 1
