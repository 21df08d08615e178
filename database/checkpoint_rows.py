"""The rows of checkpoints, as they travel between rules and statements: standard library only."""

from decimal import Decimal
from typing import NamedTuple


class StoredCheckpoint(NamedTuple):
    """What is left of a user's removed actions of one type: see the table."""

    user_id: int
    type: str
    actions: int
    total: Decimal
    first_time: int
    first_seq: int
    first_amount: Decimal
    newest_seq: int
    until_seq: int
    pruned_before: int
