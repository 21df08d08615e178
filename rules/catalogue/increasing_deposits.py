"""300: deposits that keep growing."""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from rules.base import Last, Rule, Step, Steps
from rules.model import Finding
from rules.parameters import actions
from rules.timeline import History

if TYPE_CHECKING:
    from rules.columns import Histories, Mask


@dataclass(frozen=True)
class Parameters:
    count: int = actions(3, "Three points are the fewest that show a trend, not a chance.", least=2)


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when the user's last `count` deposits strictly increase; withdrawals in between do not matter."""
    count = parameters.count
    last = history.last(count, "deposit")
    if len(last) < count:
        return None
    later = last[-1]
    for earlier in last[-2::-1]:
        if later.amount <= earlier.amount:
            return None
        later = earlier
    amounts = ", ".join(str(action.amount) for action in last)
    return Finding(count, tuple(a.seq for a in last), f"The last {count} deposits keep growing: {amounts}.")


def twin(histories: "Histories", parameters: Parameters) -> "Mask":
    """Where `check` fires, for many actions at once."""
    last = histories.last(parameters.count, "deposit")
    amounts = last.series.amounts
    return last.steps(amounts > last.series.earlier(amounts)) >= parameters.count - 1


def example(parameters: Parameters) -> Steps:
    """`count` deposits of 10.00, 20.00, 30.00 and so on."""
    return tuple(Step("deposit", Decimal(f"{10 * (n + 1)}.00"), after=60) for n in range(parameters.count))


RULE = Rule(
    code=300,
    title="{count} increasing deposits",
    fires_on="deposit",
    parameters=Parameters,
    look_back=(Last("count", of="deposit"),),
    check=check,
    twin=twin,
    compared_with="count",
    example=example,
)
