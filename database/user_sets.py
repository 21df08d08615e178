"""How many different users: sets that can be joined and never take more than some kilobytes.

Up to EXACT users a set has their ids, and its number is exact. A larger one has no ids: their hashes are spread over
REGISTERS registers, each of which keeps the longest run of zeros that it has seen, and the number follows from those
(HyperLogLog, Flajolet and others 2007, with the estimate of Ertl 2017, which is as good for few as for many). It is
then right to within 5 per cent in 97 of 100 cases. Standard library only.
"""

from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from math import inf, log, sqrt
from typing import NamedTuple

EXACT = 1_000  # ids
PRECISION = 11
REGISTERS = 2**PRECISION
BITS = 64 - PRECISION  # of a hash, in which zeros are counted


class UserSet(NamedTuple):
    """A set of users: their ids, or registers instead of them."""

    user_ids: frozenset[int] = frozenset()
    registers: bytes | None = None

    def number(self) -> int:
        """How many users it has."""
        if self.registers is None:
            return len(self.user_ids)
        seen = Counter(self.registers)
        sum_of_runs: float = REGISTERS * _tau(1 - seen[BITS + 1] / REGISTERS)
        for run in range(BITS, 0, -1):
            sum_of_runs = (sum_of_runs + seen[run]) / 2
        sum_of_runs += REGISTERS * _sigma(seen[0] / REGISTERS)
        estimate: float = REGISTERS**2 / (2 * log(2) * sum_of_runs)
        return round(estimate)


def _sigma(empty: float) -> float:
    """What registers that have seen nothing add, if they are this share of all."""
    if empty == 1:
        return inf
    power, total, before = 1.0, empty, 0.0
    while total != before:
        empty, before = empty * empty, total
        total, power = total + empty * power, 2 * power
    return total


def _tau(not_full: float) -> float:
    """What registers that can see no longer run add, if the others are this share of all."""
    if not_full in (0, 1):
        return 0.0
    power, total, before = 1.0, 1 - not_full, 0.0
    while total != before:
        not_full, before, power = sqrt(not_full), total, power / 2
        total -= (1 - not_full) ** 2 * power
    return total / 3


def joined(sets: Iterable[UserSet]) -> UserSet:
    """The users of any of the sets: with ids if all of them have ids, however many."""
    found = list(sets)
    user_ids = frozenset[int]().union(*(one.user_ids for one in found))
    registers = [one.registers for one in found if one.registers is not None]
    if not registers:
        return UserSet(user_ids)
    if user_ids:
        registers.append(_spread(user_ids))
    return UserSet(registers=bytes(map(max, zip(*registers, strict=True))))


def of_registers(runs: Iterable[tuple[int, int]]) -> UserSet:
    """A set from those of its registers that have seen anything, and their runs."""
    registers = bytearray(REGISTERS)
    for register, run in runs:
        registers[register] = run
    return UserSet(registers=bytes(registers))


def bounded(users: UserSet) -> UserSet:
    """The same set as it is to be kept: without ids if they are more than EXACT."""
    return UserSet(registers=_spread(users.user_ids)) if len(users.user_ids) > EXACT else users


def _spread(user_ids: Iterable[int]) -> bytes:
    registers = bytearray(REGISTERS)
    for user_id in user_ids:
        hashed = _hash(user_id)
        run = BITS - (hashed >> PRECISION).bit_length() + 1
        place = hashed & (REGISTERS - 1)
        if run > registers[place]:
            registers[place] = run
    return bytes(registers)


def _hash(user_id: int) -> int:
    """As PostgreSQL can have it too (database/figures_step.py)."""
    return int.from_bytes(sha256(user_id.to_bytes(8)).digest()[:8])
