"""123: much money deposited in a short time."""

from decimal import Decimal

from rules.base import Parameter, Rule, Within
from rules.model import Finding, History, Parameters


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when deposits with `time` in [t - window, t], this one included, sum to over `threshold`."""
    seconds, threshold = parameters.number("window"), parameters.money("threshold")
    window = history.window(seconds, "deposit")
    total = window.total
    if total <= threshold:
        return None
    between = f"between {window.oldest.time} and {history.now.time}"
    sentence = f"Deposits of {total} {between} are over {threshold} in {seconds} s."
    return Finding(total, window.listed, sentence, window.unlisted)


RULE = Rule(
    code=123,
    title="Deposits over {threshold} in {window} s",
    fires_on="deposit",
    parameters=(
        Parameter("threshold", "money", Decimal("200.00"), "Twice the largest withdrawal that passes unnoticed."),
        Parameter("window", "seconds", 30, "Half a minute holds a burst but not an ordinary shopping trip."),
    ),
    look_back=(Within("window", of="deposit"),),
    check=check,
)
