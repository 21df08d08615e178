"""680: a lot of money paid into a new account.

FATF's red flag indicators for virtual assets (2020) name a large first deposit that opens the relationship and does not
fit the customer. This rule also adds up what comes right after it.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from rules.base import First, Rule, Step, Steps, SumsWithin
from rules.model import Finding
from rules.parameters import money, seconds
from rules.timeline import History
from rules.values import CENT, in_cents

if TYPE_CHECKING:
    from rules.columns import Histories, Mask


@dataclass(frozen=True)
class Parameters:
    threshold: Decimal = money("1000.00", "Who is new tries with less.")
    age: int = seconds(2 * 86_400, "Two days: an account bought for one purpose is used at once.", most=366 * 86_400)


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when the user's first action is at most `age` seconds ago and the deposits since, this one included, sum
    to over `threshold`."""
    now, age = history.now, parameters.age
    first = history.first.time
    if now.time - first > age:
        return None
    sums = history.sums(age, "deposit")
    if sums.total <= parameters.threshold:
        return None
    between = f"between the user's first action at {first} and {now.time}"
    sentence = f"Deposits of {sums.total} {between} are over {parameters.threshold} in the first {age} s."
    return Finding(sums.total, (now.seq,), sentence, sums.actions - 1)


def twin(histories: "Histories", parameters: Parameters) -> "Mask":
    """Where `check` fires, for many actions at once."""
    is_new = histories.times - histories.first <= parameters.age
    return is_new & (histories.window(parameters.age, "deposit").total > in_cents(parameters.threshold))


def example(parameters: Parameters) -> Steps:
    """One deposit just over `threshold`."""
    return (Step("deposit", parameters.threshold + CENT),)


RULE = Rule(
    code=680,
    title="Deposits over {threshold} in the first {age} s",
    fires_on="deposit",
    parameters=Parameters,
    look_back=(First("age"), SumsWithin("age", of="deposit")),
    check=check,
    twin=twin,
    compared_with="threshold",
    example=example,
)
