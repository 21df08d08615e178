"""All rules, in the order in which an answer lists their codes."""

from rules.base import Rule
from rules.catalogue import (
    action_velocity,
    consecutive_withdrawals,
    deposit_velocity,
    increasing_deposits,
    large_withdrawal,
)

_RULES: tuple[Rule, ...] = (
    large_withdrawal.RULE,
    consecutive_withdrawals.RULE,
    increasing_deposits.RULE,
    deposit_velocity.RULE,
    action_velocity.RULE,
)

REGISTRY: dict[int, Rule] = {rule.code: rule for rule in _RULES}
if len(REGISTRY) != len(_RULES):
    raise AssertionError("two rules share a code")

# 500 ships switched off: the first four are what the service answers until it is told otherwise.
DEFAULT_CODES: tuple[int, ...] = (1100, 30, 300, 123)
