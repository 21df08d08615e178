"""Late arrivals: judging again the later actions that an event out of order can change.

A rule that looks back over 30 seconds reaches 30 seconds ahead of a late event, one that counts 3 actions reaches 2
actions ahead, one that sums up everything so far reaches all later actions. Each action in reach is judged again, by
the rule set that first judged it, on the timeline as it now is: a code that now fires becomes a late alert, one that no
longer holds is superseded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rules.base import Last, RuleInForce, SumsSoFar, SumsWithin, Within
from rules.model import ActionType


class LargeRepair(Exception):
    """The late events of `user_ids` change more stored actions than may be repaired here; nothing was stored."""

    def __init__(self, user_ids: frozenset[int]) -> None:
        super().__init__(f"large repairs of {len(user_ids)} users")
        self.user_ids = user_ids


@dataclass(frozen=True)
class Reach:
    """How far ahead of a late action a group of rules can reach, at most.

    That is `count` actions of each type and `seconds`, or everything (`endless`); for a late action of a type in
    `until`, all actions up to the n-th of that type after it; and if it becomes the user's first action, `after_first`
    seconds after the former first one (None: no rule cares).
    """

    count: int = 0
    seconds: int = 0
    endless: bool = False
    until: Mapping[ActionType, int] = field(default_factory=dict)
    after_first: int | None = None

    def with_all_of(self, other: "Reach") -> "Reach":
        """How far either of two groups of rules can reach."""
        until = {kind: max(self.until.get(kind, 0), other.until.get(kind, 0)) for kind in {*self.until, *other.until}}
        after_first = max((one.after_first for one in (self, other) if one.after_first is not None), default=None)
        count, seconds = max(self.count, other.count), max(self.seconds, other.seconds)
        return Reach(count, seconds, self.endless or other.endless, until, after_first)

    def is_passed(self, seconds: int, count: int) -> bool:
        """Whether nothing more is in reach `seconds` after a late action, with `count` or more of each type since."""
        bounded = not self.endless and not self.until and self.after_first is None
        return bounded and seconds > self.seconds and count > self.count


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """A user's actions that arrived from `first` to `last` (`seq`), and how far the rules that judged them reach."""

    first: int
    last: int
    reach: Reach


# Releases before rule versions let the setting RULES choose from five rules, at their defaults. Which of them judged an
# action of that time may have changed to and fro.
FIRST_RULES = Reach(count=2, seconds=60)


def reach_of(rules: Iterable[RuleInForce]) -> Reach:
    """How far ahead of a late action `rules` can reach."""
    count = seconds = 0
    endless, after_first = False, None
    until: dict[ActionType, int] = {}
    for rule in rules:
        for look in rule.rule.look_back:
            if isinstance(look, Last):
                if look.of in (None, rule.rule.fires_on):
                    count = max(count, rule.number(look.count) - 1)
                else:  # any number of actions that it judges may lie between those that it counts
                    until[look.of] = max(until.get(look.of, 0), rule.number(look.count))
            elif isinstance(look, Within | SumsWithin):
                seconds = max(seconds, rule.number(look.seconds))
            elif isinstance(look, SumsSoFar):
                endless = True
            else:
                after_first = max(after_first or 0, rule.number(look.seconds))
    return Reach(count, seconds, endless, until, after_first)
