"""660: a lot of money withdrawn in a day.

For FinCEN's currency transaction reports, several withdrawals of cash on one business day count as one. Daily limits of
cash machines work in the same way.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from rules.base import Rule, Step, Steps, SumsWithin
from rules.model import Finding
from rules.parameters import money, seconds
from rules.timeline import History
from rules.values import CENT, in_cents

if TYPE_CHECKING:
    from rules.columns import Histories, Mask


@dataclass(frozen=True)
class Parameters:
    threshold: Decimal = money("1000.00", "What a cash machine commonly gives in a day.")
    window: int = seconds(86_400, "A day, wherever midnight falls.", most=30 * 86_400)


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when withdrawals with `time` in [t - window, t], this one included, sum to over `threshold`."""
    sums = history.sums(parameters.window, "withdraw")
    if sums.total <= parameters.threshold:
        return None
    between = f"between {sums.since} and {history.now.time}"
    sentence = f"Withdrawals of {sums.total} {between} are over {parameters.threshold} in {parameters.window} s."
    return Finding(sums.total, (history.now.seq,), sentence, sums.actions - 1)


def twin(histories: "Histories", parameters: Parameters) -> "Mask":
    """Where `check` fires, for many actions at once."""
    return histories.window(parameters.window, "withdraw").total > in_cents(parameters.threshold)


def example(parameters: Parameters) -> Steps:
    """One withdrawal just over `threshold`."""
    return (Step("withdraw", parameters.threshold + CENT),)


RULE = Rule(
    code=660,
    title="Withdrawals over {threshold} in {window} s",
    fires_on="withdraw",
    parameters=Parameters,
    look_back=(SumsWithin("window", of="withdraw"),),
    check=check,
    twin=twin,
    compared_with="threshold",
    example=example,
)
