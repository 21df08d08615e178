"""123: a lot of money deposited in a short time."""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from rules.base import Rule, Step, Steps, Within
from rules.model import Finding
from rules.parameters import money, seconds
from rules.timeline import History
from rules.values import CENT, in_cents

if TYPE_CHECKING:
    from rules.columns import Histories, Mask


@dataclass(frozen=True)
class Parameters:
    threshold: Decimal = money("200.00", "Twice the largest withdrawal that passes unnoticed.")
    window: int = seconds(30, "Half a minute holds a burst but not an ordinary shopping trip.")


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when deposits with `time` in [t - window, t], this one included, sum to over `threshold`."""
    total = history.total(parameters.window, "deposit")
    if total <= parameters.threshold:
        return None
    window = history.window(parameters.window, "deposit")
    between = f"between {window.oldest.time} and {history.now.time}"
    sentence = f"Deposits of {total} {between} are over {parameters.threshold} in {parameters.window} s."
    return Finding(total, window.listed, sentence, window.unlisted)


def twin(histories: "Histories", parameters: Parameters) -> "Mask":
    """Where `check` fires, for many actions at once."""
    return histories.window(parameters.window, "deposit").total > in_cents(parameters.threshold)


def example(parameters: Parameters) -> Steps:
    """One deposit just over `threshold`."""
    return (Step("deposit", parameters.threshold + CENT),)


RULE = Rule(
    code=123,
    title="Deposits over {threshold} in {window} s",
    fires_on="deposit",
    parameters=Parameters,
    look_back=(Within("window", of="deposit"),),
    check=check,
    twin=twin,
    compared_with="threshold",
    example=example,
)
