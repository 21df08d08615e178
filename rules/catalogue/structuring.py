"""600: deposits kept just under a reporting threshold.

Structuring as FinCEN and AUSTRAC describe it: cash is split so that no part has to be reported. The red flags in the
FFIEC's examination manual (appendix F) include cash in amounts just below reporting thresholds.
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
    threshold: Decimal = money(
        "10000.00",
        "From here on cash is reported in Australia, over it in the United States.",
        least="0.02",  # there is an amount under it
        scaled=False,
    )
    margin: Decimal = money(
        "1000.00", "A tenth is as near as one goes who wants to stay unnoticed.", least="0.01", scaled=False
    )
    count: int = actions(3, "Two may be a coincidence.", least=2, most=20)
    window: int = seconds(7 * 86_400, "A week: split sums are paid in within days.", most=366 * 86_400)
    among: int = actions(20, "So many of the last deposits are looked at, so that a busy user costs no more.", least=20)


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when at least `count` of the last `among` deposits, this one included, are in [threshold - margin,
    threshold) and have `time` in [t - window, t]."""
    now, over = history.now, parameters.threshold
    least = over - parameters.margin
    if not least <= now.amount < over:
        return None
    since = now.time - parameters.window
    near = [a for a in history.last(parameters.among, "deposit") if a.time >= since and least <= a.amount < over]
    if len(near) < parameters.count:
        return None
    between = f"between {near[0].time} and {now.time}"
    sentence = f"{len(near)} deposits {between} are each from {least} to just under {over}."
    return Finding(len(near), tuple(a.seq for a in near), sentence)


def twin(histories: "Histories", parameters: Parameters) -> "Mask":
    """Where `check` fires, for many actions at once."""
    over, margin = in_cents(parameters.threshold), in_cents(parameters.margin)
    last = histories.last(parameters.among, "deposit") & histories.window(parameters.window, "deposit")
    amounts = last.series.amounts
    near = last.number((amounts >= over - margin) & (amounts < over))
    return (histories.amounts >= over - margin) & (histories.amounts < over) & (near >= parameters.count)


def example(parameters: Parameters) -> Steps:
    """`count` deposits just under `threshold`."""
    return (Step("deposit", parameters.threshold - CENT),) * parameters.count


RULE = Rule(
    code=600,
    title="{count} deposits just under {threshold} in {window} s",
    fires_on="deposit",
    parameters=Parameters,
    look_back=(Last("among", of="deposit"),),
    check=check,
    twin=twin,
    compared_with="count",
    in_order=(Order("margin", "threshold"), Order("count", "among")),
    example=example,
)
