"""630: an amount far above the user's usual ones.

FATF's Recommendation 10, on customer due diligence, asks whether transactions fit what is known of the customer. The
red flags in the FFIEC's examination manual (appendix F) include transfers inconsistent with the customer's history.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from rules.base import Rule, Step, Steps, SumsSoFar
from rules.model import Finding
from rules.parameters import actions, factor
from rules.timeline import History
from rules.values import CENT, in_cents

if TYPE_CHECKING:
    from rules.columns import Histories, Mask


@dataclass(frozen=True)
class Parameters:
    times: Decimal = factor("5.00", "Twice the usual happens every payday; five times does not.", least="1.00")
    count: int = actions(10, "An average of fewer says little about a person.", least=2, most=10_000)


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when at least `count` actions of the same type came before and the amount is over `times` their average.
    Deposits are compared with deposits, withdrawals with withdrawals."""
    now = history.now
    so_far = history.sums_so_far(now.type)
    before = so_far.actions - 1
    if before < parameters.count:
        return None
    sum_before = so_far.total - now.amount
    # Multiplied out: a division would have to round.
    if now.amount * before <= parameters.times * sum_before:
        return None
    what = "deposit" if now.type == "deposit" else "withdrawal"
    sentence = (
        f"A {what} of {now.amount} is over {parameters.times} times the average of the {before} {what}s before it, "
        f"which sum to {sum_before}."
    )
    return Finding(now.amount, (now.seq,), sentence, before)


def twin(histories: "Histories", parameters: Parameters) -> "Mask":
    """Where `check` fires, for many actions at once."""
    so_far, total = histories.sums_so_far()
    before, amounts = so_far - 1, histories.amounts
    is_over = amounts * before * 100 > (total - amounts) * in_cents(parameters.times)
    return (before >= parameters.count) & is_over


def example(parameters: Parameters) -> Steps:
    """`count` deposits of 10.00, and one just over `times` that."""
    usual = Decimal("10.00")
    return (
        *(Step("deposit", usual),) * parameters.count,
        Step("deposit", (parameters.times * usual).quantize(CENT) + CENT),
    )


RULE = Rule(
    code=630,
    title="Over {times} times the user's own average",
    fires_on=None,
    parameters=Parameters,
    look_back=(SumsSoFar("deposit"), SumsSoFar("withdraw")),
    check=check,
    twin=twin,
    example=example,
)
