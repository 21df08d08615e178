"""What holds for every event of every user."""

from dataclasses import dataclass

from rules.base import Rule


@dataclass(frozen=True)
class Policy:
    """What holds for every event: the rules that are active until somebody sets them, and what is accepted."""

    rules: tuple[Rule, ...]
    create_users: bool = True
    allow_overdraft: bool = True
    accept_out_of_order: bool = True
