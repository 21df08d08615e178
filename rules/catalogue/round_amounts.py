"""640: one round amount after another.

The red flags in the FFIEC's examination manual (appendix F) include many transfers in large, round dollar, hundred
dollar or thousand dollar amounts.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from rules.base import Last, Rule, Step, Steps
from rules.model import Finding
from rules.parameters import actions, money
from rules.timeline import History
from rules.values import in_cents

if TYPE_CHECKING:
    from rules.columns import Histories, Mask


@dataclass(frozen=True)
class Parameters:
    # Halved for high risk it must not become zero, nor doubled for low risk larger than any amount: nothing is a
    # multiple of that.
    unit: Decimal = money("100.00", "Prices are seldom whole hundreds.", least="0.02", most="499999999999.99")
    count: int = actions(5, "A few round sums come from any cash machine.")


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when the user's last `count` actions, this one included, are all multiples of `unit`."""
    count, unit = parameters.count, parameters.unit
    if history.now.amount % unit:
        return None
    last = history.last(count)
    if len(last) < count:
        return None
    for action in last:
        if action.amount % unit:
            return None
    return Finding(count, tuple(a.seq for a in last), f"The last {count} actions are all multiples of {unit}.")


def twin(histories: "Histories", parameters: Parameters) -> "Mask":
    """Where `check` fires, for many actions at once."""
    last = histories.last(parameters.count)
    return last.number(last.series.amounts % in_cents(parameters.unit) == 0) >= parameters.count


def example(parameters: Parameters) -> Steps:
    """`count` deposits of `unit`."""
    return (Step("deposit", parameters.unit),) * parameters.count


RULE = Rule(
    code=640,
    title="{count} actions in multiples of {unit}",
    fires_on=None,
    parameters=Parameters,
    look_back=(Last("count"),),
    check=check,
    twin=twin,
    compared_with="count",
    example=example,
)
