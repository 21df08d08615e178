"""All rules, in the order in which an answer lists their codes."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from rules.base import Rule

# Each is a file in rules/catalogue.
_NAMES = (
    "large_withdrawal",
    "consecutive_withdrawals",
    "increasing_deposits",
    "deposit_velocity",
    "action_velocity",
    "structuring",
    "rapid_in_out",
    "dormant_account",
    "spike",
    "round_amounts",
    "micro_deposits",
    "withdrawal_sum",
    "ping_pong",
    "new_account",
    "net_deposits",
)

_RULES: tuple[Rule, ...] = tuple(import_module(f"rules.catalogue.{name}").RULE for name in _NAMES)

REGISTRY: dict[int, Rule] = {rule.code: rule for rule in _RULES}
if len(REGISTRY) != len(_RULES):
    raise AssertionError("two rules share a code")

# Active unless the setting RULES or a PUT says otherwise; the others ship switched off.
DEFAULT_CODES: tuple[int, ...] = (1100, 30, 300, 123)


def title_of(code: int, evidence: Mapping[str, Any]) -> str:
    """The title of a rule, as it was when it raised an alert with this evidence."""
    # The rule may have been removed from the service, or have other parameters by now.
    try:
        return REGISTRY[code].titled(evidence["parameters"])
    except KeyError:
        return f"Rule {code}"
