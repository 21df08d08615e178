"""1100: a single withdrawal over a threshold."""

from decimal import Decimal

from rules.base import Parameter, Rule
from rules.model import Finding, History, Parameters


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when the amount is over `threshold`; the threshold itself does not fire."""
    amount, threshold = history.now.amount, parameters.money("threshold")
    if amount <= threshold:
        return None
    return Finding(amount, (history.now.seq,), f"A withdrawal of {amount} is over {threshold}.")


RULE = Rule(
    code=1100,
    title="Withdrawal over {threshold}",
    fires_on="withdraw",
    parameters=(
        Parameter("threshold", "money", Decimal("100.00"), "Larger withdrawals are rare enough to look at each."),
    ),
    look_back=(),
    check=check,
)
