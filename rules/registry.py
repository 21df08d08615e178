"""All rules, in the order in which an answer lists their codes."""

from rules.base import Rule
from rules.catalogue import (
    action_velocity,
    consecutive_withdrawals,
    deposit_velocity,
    dormant_account,
    increasing_deposits,
    large_withdrawal,
    micro_deposits,
    net_deposits,
    new_account,
    ping_pong,
    rapid_in_out,
    round_amounts,
    spike,
    structuring,
    withdrawal_sum,
)

_RULES: tuple[Rule, ...] = (
    large_withdrawal.RULE,
    consecutive_withdrawals.RULE,
    increasing_deposits.RULE,
    deposit_velocity.RULE,
    action_velocity.RULE,
    structuring.RULE,
    rapid_in_out.RULE,
    dormant_account.RULE,
    spike.RULE,
    round_amounts.RULE,
    micro_deposits.RULE,
    withdrawal_sum.RULE,
    ping_pong.RULE,
    new_account.RULE,
    net_deposits.RULE,
)

REGISTRY: dict[int, Rule] = {rule.code: rule for rule in _RULES}
if len(REGISTRY) != len(_RULES):
    raise AssertionError("two rules share a code")

# The others ship switched off: these are what the service answers until it is told otherwise.
DEFAULT_CODES: tuple[int, ...] = (1100, 30, 300, 123)
