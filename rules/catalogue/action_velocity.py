"""500: many actions of any type in a short time."""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from rules.base import Rule, Step, Steps, Within
from rules.model import Finding
from rules.parameters import actions, seconds
from rules.timeline import History

if TYPE_CHECKING:
    from rules.columns import Histories, Mask


@dataclass(frozen=True)
class Parameters:
    count: int = actions(5, "More than one action in ten seconds on average is hardly a person.")
    window: int = seconds(60, "A minute, so that a short double click alone does not count.")


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when more than `count` actions have `time` in [t - window, t], this one included."""
    count = history.count(parameters.window)
    if count <= parameters.count:
        return None
    window = history.window(parameters.window)
    between = f"between {window.oldest.time} and {history.now.time}"
    sentence = f"{count} actions {between} are more than {parameters.count} in {parameters.window} s."
    return Finding(count, window.listed, sentence, window.unlisted)


def twin(histories: "Histories", parameters: Parameters) -> "Mask":
    """Where `check` fires, for many actions at once."""
    return histories.window(parameters.window).actions > parameters.count


def example(parameters: Parameters) -> Steps:
    """One deposit more than `count` at one moment."""
    return (Step("deposit", Decimal("1.00")),) * (parameters.count + 1)


RULE = Rule(
    code=500,
    title="More than {count} actions in {window} s",
    fires_on=None,
    parameters=Parameters,
    look_back=(Within("window"),),
    check=check,
    twin=twin,
    compared_with="count",
    example=example,
)
