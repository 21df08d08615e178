"""650: tiny deposits that probe an account, then a large withdrawal.

Nacha's rules define micro-entries, credits of under a dollar by which an account is verified, and ask their senders to
watch for fraud (2023). Card testing is similar, with small payments.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from rules.base import Last, Rule, Step, Steps
from rules.model import Finding
from rules.parameters import Order, actions, money, seconds
from rules.timeline import History
from rules.values import CENT, in_cents

if TYPE_CHECKING:
    from rules.columns import Histories, Mask


@dataclass(frozen=True)
class Parameters:
    threshold: Decimal = money("100.00", "The same as for a large withdrawal.")
    tiny: Decimal = money("0.99", "A micro-entry is under a dollar.", least="0.01", scaled=False)
    count: int = actions(3, "Two verify an account; a third is somebody who tries.", most=10)
    window: int = seconds(86_400, "Who has found an open door does not wait for long.", most=30 * 86_400)
    among: int = actions(10, "An ordinary deposit in between hides nothing, and a busy user costs no more.", least=10)


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when the amount is over `threshold` and at least `count` of the last `among` deposits before it are at
    most `tiny` and have `time` in [t - window, t]."""
    now = history.now
    if now.amount <= parameters.threshold:
        return None
    since, tiny = now.time - parameters.window, parameters.tiny
    probes = [a for a in history.last(parameters.among, "deposit") if a.time >= since and a.amount <= tiny]
    if len(probes) < parameters.count:
        return None
    sentence = (
        f"A withdrawal of {now.amount} is over {parameters.threshold} and follows {len(probes)} deposits of at most "
        f"{tiny} since {probes[0].time}."
    )
    return Finding(now.amount, (*(a.seq for a in probes), now.seq), sentence)


def twin(histories: "Histories", parameters: Parameters) -> "Mask":
    """Where `check` fires, for many actions at once."""
    probes = histories.last(parameters.among, "deposit") & histories.window(parameters.window, "deposit")
    tiny = probes.number(probes.series.amounts <= in_cents(parameters.tiny))
    return (histories.amounts > in_cents(parameters.threshold)) & (tiny >= parameters.count)


def example(parameters: Parameters) -> Steps:
    """`count` deposits of `tiny`, and a withdrawal just over `threshold`."""
    return (*(Step("deposit", parameters.tiny),) * parameters.count, Step("withdraw", parameters.threshold + CENT))


RULE = Rule(
    code=650,
    title="Withdrawal over {threshold} after {count} deposits of at most {tiny}",
    fires_on="withdraw",
    parameters=Parameters,
    look_back=(Last("among", of="deposit"),),
    check=check,
    twin=twin,
    compared_with="threshold",
    in_order=(Order("count", "among"),),
    example=example,
)
