"""All rules, in the order in which an answer lists their codes."""

from rules.base import Last, Rule
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
for _rule in _RULES:
    # How far ahead a late event reaches is known only for rules like these (see rules/late.py).
    for _look in _rule.look_back:
        if len(_rule.look_back) > 1 or (isinstance(_look, Last) and _look.of not in (None, _rule.fires_on)):
            raise AssertionError(f"rule {_rule.code}: one look-back, and a count only of any or of the judged type")

# 500 ships switched off: the first four are what the service answers until it is told otherwise.
DEFAULT_CODES: tuple[int, ...] = (1100, 30, 300, 123)
