"""500: many actions of any type in a short time."""

from rules.base import Parameter, Rule, Within
from rules.model import Finding, History, Parameters


def check(history: History, parameters: Parameters) -> Finding | None:
    """Fires when more than `count` actions have `time` in [t - window, t], this one included."""
    seconds, count = parameters.number("window"), parameters.number("count")
    window = history.window(seconds)
    if len(window) <= count:
        return None
    between = f"between {window.oldest.time} and {history.now.time}"
    sentence = f"{len(window)} actions {between} are more than {count} in {seconds} s."
    return Finding(len(window), window.listed, sentence, window.unlisted)


RULE = Rule(
    code=500,
    title="More than {count} actions in {window} s",
    fires_on=None,
    parameters=(
        Parameter("count", "actions", 5, "More than one action in ten seconds on average is hardly a person."),
        Parameter("window", "seconds", 60, "A minute, so that a short double click alone does not count."),
    ),
    look_back=(Within("window"),),
    check=check,
)
