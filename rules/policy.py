"""What holds for every event of every user."""

from dataclasses import dataclass

from rules.base import Rule

LATE_LIMIT = 200_000


@dataclass(frozen=True)
class Policy:
    """What holds for every event: the rules that are active until somebody sets them, and what is accepted.

    `late_limit`: how many of its user's actions, of either type, may be later than an event. `max_ahead`: how many
    seconds ahead of the clock an event may be (None: any number, or its time is that of no clock). `time_is_epoch`:
    times are seconds since 1970, so texts for people have dates.
    """

    rules: tuple[Rule, ...]
    create_users: bool = True
    allow_overdraft: bool = True
    accept_out_of_order: bool = True
    late_limit: int = LATE_LIMIT
    max_ahead: int | None = None
    time_is_epoch: bool = False
