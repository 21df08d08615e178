"""620: an account that wakes up after a long time.

FATF's red flag indicators for virtual assets (2020) name several high-value transactions to a previously inactive
account. This rule does not wait for the second. If `among` is over 2, a small first action, to see whether the account
still works, does not hide the large one.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from rules.base import Last, Rule, Step, Steps
from rules.model import Finding
from rules.parameters import actions, money, seconds
from rules.timeline import History
from rules.values import CENT, in_cents

if TYPE_CHECKING:
    from rules.columns import Histories, Mask


@dataclass(frozen=True)
class Parameters:
    threshold: Decimal = money("500.00", "Small amounts are somebody who remembers an old account.")
    gap: int = seconds(90 * 86_400, "A quarter without any action is not how an account is used.", 1, 366 * 86_400)
    among: int = actions(2, "The last action before the gap and the first one after it.", least=2)


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when the amount is over `threshold` and at least `gap` seconds lie between two consecutive actions among
    the last `among`, this one included."""
    now = history.now
    if now.amount <= parameters.threshold:
        return None
    last = history.last(parameters.among)
    for at in range(len(last) - 1, 0, -1):
        before, after = last[at - 1].time, last[at].time
        if after - before >= parameters.gap:
            what = "deposit" if now.type == "deposit" else "withdrawal"
            sentence = (
                f"A {what} of {now.amount} is over {parameters.threshold} after {after - before} s without any action, "
                f"from {before} to {after}."
            )
            return Finding(after - before, tuple(a.seq for a in last[at - 1 :]), sentence)
    return None


def twin(histories: "Histories", parameters: Parameters) -> "Mask":
    """Where `check` fires, for many actions at once."""
    last = histories.last(parameters.among)
    times = last.series.times
    gaps = last.steps(times - last.series.earlier(times) >= parameters.gap)
    return (histories.amounts > in_cents(parameters.threshold)) & (gaps > 0)


def example(parameters: Parameters) -> Steps:
    """A small deposit and, after `gap`, one just over `threshold`."""
    return (Step("deposit", CENT), Step("deposit", parameters.threshold + CENT, after=parameters.gap))


RULE = Rule(
    code=620,
    title="Over {threshold} after {gap} s without an action",
    fires_on=None,
    parameters=Parameters,
    look_back=(Last("among"),),
    check=check,
    twin=twin,
    compared_with="gap",
    example=example,
)
