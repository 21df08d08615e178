"""1100: a single withdrawal over a threshold."""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from rules.base import Rule, Step, Steps
from rules.model import Finding
from rules.parameters import money
from rules.timeline import History
from rules.values import CENT, in_cents

if TYPE_CHECKING:
    from rules.columns import Histories, Mask


@dataclass(frozen=True)
class Parameters:
    threshold: Decimal = money("100.00", "Larger withdrawals are rare enough to look at each.")


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when the amount is over `threshold`; the threshold itself does not fire."""
    amount = history.now.amount
    if amount <= parameters.threshold:
        return None
    return Finding(amount, (history.now.seq,), f"A withdrawal of {amount} is over {parameters.threshold}.")


def twin(histories: "Histories", parameters: Parameters) -> "Mask":
    """Where `check` fires, for many actions at once."""
    return histories.amounts > in_cents(parameters.threshold)


def example(parameters: Parameters) -> Steps:
    """One withdrawal just over `threshold`."""
    return (Step("withdraw", parameters.threshold + CENT),)


RULE = Rule(
    code=1100,
    title="Withdrawal over {threshold}",
    fires_on="withdraw",
    parameters=Parameters,
    look_back=(),
    check=check,
    twin=twin,
    compared_with="threshold",
    example=example,
)
