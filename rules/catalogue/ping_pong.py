"""670: money that goes to and fro.

FATF's red flag indicators for virtual assets name depositing and then often immediately withdrawing, without any use
of the service in between: a step that serves nobody but who hides a trail.
"""

from dataclasses import dataclass
from itertools import pairwise

from rules.base import Rule, Within, actions, seconds
from rules.model import Finding, History


@dataclass(frozen=True)
class Parameters:
    count: int = actions(5, "Three times in and out: once or twice is a mistake put right.")
    window: int = seconds(300, "Five minutes, since nobody uses the service in between.")


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when among the actions with `time` in [t - window, t], this one included, a deposit follows a withdrawal
    or a withdrawal a deposit at least `count` times."""
    window = history.window(parameters.window)
    if len(window) <= parameters.count:
        return None
    changes = 0
    for before, after in pairwise(window.actions):
        if before.type != after.type:
            changes += 1
    if changes < parameters.count:
        return None
    between = f"between {window.oldest.time} and {history.now.time}"
    sentence = f"{len(window)} actions {between} change {changes} times between deposit and withdrawal."
    return Finding(changes, window.listed, sentence, window.unlisted)


RULE = Rule(
    code=670,
    title="{count} changes between deposit and withdrawal in {window} s",
    fires_on=None,
    parameters=Parameters,
    look_back=(Within("window"),),
    check=check,
)
