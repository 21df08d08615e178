"""300: deposits that keep growing."""

from itertools import pairwise

from rules.base import Last, Parameter, Rule
from rules.model import Finding, History, Parameters


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when the user's last `count` deposits strictly increase; withdrawals in between do not matter."""
    count = parameters.number("count")
    last = history.last(count, "deposit")
    if len(last) < count or any(later.amount <= earlier.amount for earlier, later in pairwise(last)):
        return None
    amounts = ", ".join(str(action.amount) for action in last)
    return Finding(count, tuple(a.seq for a in last), f"The last {count} deposits keep growing: {amounts}.")


RULE = Rule(
    code=300,
    title="{count} increasing deposits",
    fires_on="deposit",
    parameters=(Parameter("count", "actions", 3, "Three points are the fewest that show a trend, not a chance."),),
    look_back=(Last("count", of="deposit"),),
    check=check,
)
