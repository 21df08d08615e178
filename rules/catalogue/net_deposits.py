"""690: more money paid in than taken out over a month.

The British Gambling Commission makes remote operators check for financial vulnerability if a customer's net deposits in
a rolling 30 days are over 150 pounds (social responsibility code 3.4.4, since February 2025).
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
    threshold: Decimal = money("150.00", "The Gambling Commission's own figure, in pounds.")
    window: int = seconds(30 * 86_400, "The Gambling Commission's own period.", most=366 * 86_400)


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when deposits less withdrawals with `time` in [t - window, t], this deposit included, are over
    `threshold`."""
    deposits = history.sums(parameters.window, "deposit")
    if deposits.total <= parameters.threshold:
        return None
    withdrawals = history.sums(parameters.window, "withdraw")
    net = deposits.total - withdrawals.total
    if net <= parameters.threshold:
        return None
    since = min(deposits.since, withdrawals.since) if withdrawals.actions else deposits.since
    sentence = (
        f"Deposits of {deposits.total} less withdrawals of {withdrawals.total} between {since} and {history.now.time} "
        f"are {net}, over {parameters.threshold} in {parameters.window} s."
    )
    return Finding(net, (history.now.seq,), sentence, deposits.actions + withdrawals.actions - 1)


def twin(histories: "Histories", parameters: Parameters) -> "Mask":
    """Where `check` fires, for many actions at once."""
    deposits = histories.window(parameters.window, "deposit").total
    withdrawals = histories.window(parameters.window, "withdraw").total
    return deposits - withdrawals > in_cents(parameters.threshold)


def example(parameters: Parameters) -> Steps:
    """One deposit just over `threshold`."""
    return (Step("deposit", parameters.threshold + CENT),)


RULE = Rule(
    code=690,
    title="Net deposits over {threshold} in {window} s",
    fires_on="deposit",
    parameters=Parameters,
    look_back=(SumsWithin("window", of="deposit"), SumsWithin("window", of="withdraw")),
    check=check,
    twin=twin,
    compared_with="threshold",
    example=example,
)
