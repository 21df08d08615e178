"""30: several withdrawals in a row."""

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
    count: int = actions(3, "Two in a row are common; a third without a deposit empties an account.")


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when the user's last `count` actions are all withdrawals, and again on each one that follows."""
    count = parameters.count
    last = history.last(count)
    if len(last) < count:
        return None
    for action in last:
        if action.type != "withdraw":
            return None
    return Finding(count, tuple(a.seq for a in last), f"The last {count} actions are all withdrawals.")


def twin(histories: "Histories", parameters: Parameters) -> "Mask":
    """Where `check` fires, for many actions at once."""
    last = histories.last(parameters.count)
    return last.number(~last.series.is_deposit) >= parameters.count


def example(parameters: Parameters) -> Steps:
    """`count` withdrawals."""
    return (Step("withdraw", Decimal("1.00")),) * parameters.count


RULE = Rule(
    code=30,
    title="{count} withdrawals in a row",
    fires_on="withdraw",
    parameters=Parameters,
    look_back=(Last("count"),),
    check=check,
    twin=twin,
    compared_with="count",
    example=example,
)
