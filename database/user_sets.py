"""How many different users: sets that can be joined and never take more than some kilobytes.

Up to EXACT users a set has their ids, and its number is exact. A larger one has no ids: their hashes are spread over
REGISTERS registers, each of which keeps the longest run of zeros that it has seen, and the number follows from those
(HyperLogLog, Flajolet and others 2007). It is then right to within 5 per cent nearly always. Standard library only.
"""

from collections.abc import Iterable
from hashlib import sha256
from math import log
from typing import NamedTuple

EXACT = 1_000  # ids
PRECISION = 11
REGISTERS = 2**PRECISION
_CORRECTION = 0.7213 / (1 + 1.079 / REGISTERS)
BITS = 64 - PRECISION  # of a hash, in which zeros are counted


class UserSet(NamedTuple):
    """A set of users: their ids, or registers instead of them."""

    user_ids: frozenset[int] = frozenset()
    registers: bytes | None = None

    def number(self) -> int:
        """How many users it has."""
        if self.registers is None:
            return len(self.user_ids)
        raw: float = _CORRECTION * REGISTERS**2 / sum(2.0**-run for run in self.registers)
        empty = self.registers.count(0)
        if raw <= 2.5 * REGISTERS and empty:
            raw = REGISTERS * log(REGISTERS / empty)
        return round(raw)


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
