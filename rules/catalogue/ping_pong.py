"""670: money that goes back and forth.

FATF's red flag indicators for virtual assets (2020) name depositing and then often immediately withdrawing, without
any use of the service in between: a step that serves only to hide a trail.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from rules.base import Last, Rule, Step, Steps
from rules.model import Finding
from rules.parameters import Order, actions, seconds
from rules.timeline import History

if TYPE_CHECKING:
    from rules.columns import Histories, Mask


@dataclass(frozen=True)
class Parameters:
    count: int = actions(5, "Three times in and out: once or twice is a mistake put right.")
    window: int = seconds(300, "Five minutes, since nobody uses the service in between.", most=86_400)
    among: int = actions(20, "So many of the last actions are looked at: a crowded window costs no more.", least=2)


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when among the last `among` actions with `time` in [t - window, t], this one included, a deposit follows a
    withdrawal or a withdrawal a deposit at least `count` times."""
    start = history.now.time - parameters.window
    last = history.last(parameters.among)
    changes, later, seen = 0, history.now, 0
    for action in reversed(last):
        if action.time < start:
            break
        seen += 1
        if action.type != later.type:
            changes += 1
        later = action
    if changes < parameters.count:
        return None
    between = f"between {later.time} and {history.now.time}"
    sentence = f"{seen} actions {between} change {changes} times between deposit and withdrawal."
    return Finding(changes, tuple(action.seq for action in last[-seen:]), sentence)


def twin(histories: "Histories", parameters: Parameters) -> "Mask":
    """Where `check` fires, for many actions at once."""
    last = histories.last(parameters.among) & histories.window(parameters.window)
    is_deposit = last.series.is_deposit
    return last.steps(is_deposit != last.series.earlier(is_deposit)) >= parameters.count


def example(parameters: Parameters) -> Steps:
    """Deposits and withdrawals in turn, one more than `count`."""
    return tuple(Step(("deposit", "withdraw")[n % 2], Decimal("10.00")) for n in range(parameters.count + 1))


RULE = Rule(
    code=670,
    title="{count} changes between deposit and withdrawal in {window} s",
    fires_on=None,
    parameters=Parameters,
    look_back=(Last("among"),),
    check=check,
    twin=twin,
    compared_with="count",
    in_order=(Order("count", "among", or_equal=False),),  # between two actions there is one change
    example=example,
)
