"""610: money that leaves soon after it came in.

The red flags in the FFIEC's examination manual (appendix F) include deposits that are all or mostly wired on almost
immediately. Accounts of money mules are commonly described in the same way.
"""

from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import TYPE_CHECKING

from rules.base import Rule, Step, Steps, SumsWithin
from rules.model import Finding
from rules.parameters import factor, money, seconds
from rules.timeline import History
from rules.values import CENT, in_cents

if TYPE_CHECKING:
    from rules.columns import Histories, Mask


@dataclass(frozen=True)
class Parameters:
    share: Decimal = factor("0.90", "Nearly all: a tenth covers what a courier keeps.", most="10.00")
    # Still a cent when halved for high risk: without any deposit there is nothing to pass on.
    minimum: Decimal = money("1000.00", "Smaller sums come and go every day.", least="0.02")
    window: int = seconds(86_400, "A day is too short to have used the money.", most=366 * 86_400)


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when deposits with `time` in [t - window, t] sum to at least `minimum`, and withdrawals in the same time,
    this one included, to at least `share` of that."""
    deposits = history.sums(parameters.window, "deposit")
    if deposits.total < parameters.minimum:
        return None
    withdrawals = history.sums(parameters.window, "withdraw")
    if withdrawals.total < parameters.share * deposits.total:
        return None
    between = f"between {min(deposits.since, withdrawals.since)} and {history.now.time}"
    sentence = (
        f"Withdrawals of {withdrawals.total} {between} are at least {parameters.share} of the deposits of "
        f"{deposits.total} in {parameters.window} s."
    )
    return Finding(withdrawals.total, (history.now.seq,), sentence, deposits.actions + withdrawals.actions - 1)


def twin(histories: "Histories", parameters: Parameters) -> "Mask":
    """Where `check` fires, for many actions at once."""
    deposits = histories.window(parameters.window, "deposit").total
    withdrawals = histories.window(parameters.window, "withdraw").total
    passed_on = withdrawals * 100 >= deposits * in_cents(parameters.share)
    return (deposits >= in_cents(parameters.minimum)) & passed_on


def example(parameters: Parameters) -> Steps:
    """A deposit of `minimum`, and a withdrawal of `share` of it."""
    passed_on = (parameters.share * parameters.minimum).quantize(CENT, ROUND_UP)
    return (Step("deposit", parameters.minimum), Step("withdraw", passed_on))


RULE = Rule(
    code=610,
    title="Withdrawals of {share} of the deposits in {window} s",
    fires_on="withdraw",
    parameters=Parameters,
    look_back=(SumsWithin("window", of="deposit"), SumsWithin("window", of="withdraw")),
    check=check,
    twin=twin,
    example=example,
)
