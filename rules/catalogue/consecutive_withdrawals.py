"""30: several withdrawals in a row."""

from rules.base import Last, Parameter, Rule
from rules.model import Finding, History, Parameters


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when the user's last `count` actions are all withdrawals, and again on each one that follows."""
    count = parameters.number("count")
    last = history.last(count)
    if len(last) < count or any(action.type != "withdraw" for action in last):
        return None
    return Finding(count, tuple(a.seq for a in last), f"The last {count} actions are all withdrawals.")


RULE = Rule(
    code=30,
    title="{count} withdrawals in a row",
    fires_on="withdraw",
    parameters=(
        Parameter("count", "actions", 3, "Two in a row are common; a third without a deposit empties an account."),
    ),
    look_back=(Last("count"),),
    check=check,
)
