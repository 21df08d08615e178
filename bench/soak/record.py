"""What was acknowledged: two bytes an event, so that hours of it fit in memory."""

import threading
from array import array
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from bench.soak.judge import Removed
from bench.soak.plan import Stream, cents

CODES = (1100, 30, 300, 123, 500, 600, 610, 620, 630, 640, 650, 660, 670, 680, 690)
# Else one more than the bits of the codes. PRUNED: refused, since actions as old as it have been removed.
UNKNOWN, REFUSED, PRUNED = 0, 0xFFFF, 0xFFFE
LISTED = 20


def written(codes: Iterable[int]) -> int:
    """An answer's codes as a number."""
    return 1 + sum(1 << CODES.index(code) for code in codes)


class Answers:
    """What the events of one stream were answered with, by number."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._written = array("H")

    def begin(self, number: int) -> None:
        """The events up to this number are posted: from now on they may be stored."""
        if number >= len(self._written):
            self._written.extend([UNKNOWN] * (number + 1 - len(self._written)))

    def note(self, number: int, what: int) -> None:
        """The event with this number was answered with `what`."""
        self.begin(number)
        self._written[number] = what

    def of(self, number: int) -> int:
        """What the event with this number was answered with; UNKNOWN for none."""
        return self._written[number] if number < len(self._written) else UNKNOWN

    def acknowledged(self) -> Iterator[int]:
        """The numbers of the events that were answered as stored."""
        return (number for number, what in enumerate(self._written) if what not in (UNKNOWN, REFUSED, PRUNED))

    def newest(self) -> int:
        """The newest number that was posted; -1 for none."""
        return len(self._written) - 1


@dataclass
class Record:
    """The answers of all streams, and what they do not agree with. Any number of threads may share it."""

    answers: dict[str, Answers] = field(default_factory=dict)
    wrong: int = 0
    listed: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, stream: Stream) -> Answers:
        """The answers of a stream."""
        with self._lock:
            return self.answers.setdefault(stream.name, Answers(stream))

    def note(self, what: str) -> None:
        """Something is wrong."""
        with self._lock:
            self.wrong += 1
            if len(self.listed) < LISTED:
                self.listed.append(what)

    def compare(
        self,
        stored: Iterable[tuple[Any, ...]],
        removed: Mapping[int, Removed] = MappingProxyType({}),
        others: Container[int] = (),
    ) -> int:
        """Hold what is stored (event_id, user_id, type, cents, time, codes) against what was answered.

        Every event that was acknowledged must be there, once, as it was posted and with the codes that were answered,
        or be one of those that are on record as `removed`; a refused one must not. `others`: users who also have events
        that are not recorded here. Returns the number of acknowledged events.
        """
        seen = {name: bytearray(len(answers._written)) for name, answers in self.answers.items()}
        for event_id, user_id, kind, amount, time, codes in stored:
            name, _, digits = event_id.rpartition("-")
            if name not in self.answers:
                self.note(f"{event_id} is stored, and was never posted")
                continue
            answers, number = self.answers[name], int(digits)
            event = answers.stream.event(number)
            if (event["user_id"], event["type"], cents(event["amount"]), event["time"]) != (
                user_id,
                kind,
                amount,
                time,
            ):
                self.note(f"{event_id} is stored otherwise than it was posted")
            if number < len(seen[name]):
                seen[name][number] += 1
            answer = answers.of(number)
            if answer in (REFUSED, PRUNED):
                self.note(f"{event_id} was refused, and is stored")
            elif answer not in (UNKNOWN, written(codes)):
                self.note(f"{event_id} was answered otherwise than is stored: {codes}")
        count = 0
        gone = Gone()
        for name, answers in self.answers.items():
            for number, what in enumerate(answers._written):
                is_acknowledged, times = what not in (UNKNOWN, REFUSED, PRUNED), seen[name][number]
                count += is_acknowledged
                if times == 1 or (times == 0 and what == REFUSED):
                    continue
                event = answers.stream.event(number)
                cut = removed.get(event["user_id"])
                is_old = cut is not None and event["time"] < cut.before
                if times == 0 and is_old and what != PRUNED:
                    gone.add(event, is_sure=is_acknowledged)
                elif is_acknowledged:
                    self.note(f"{name}-{number} was acknowledged, and is stored {times} times")
                elif what == PRUNED and not is_old:
                    self.note(f"{name}-{number} was refused as older than the cut, which it is not")
        for user_id, on_record in removed.items():
            if user_id not in others:
                for wrong in gone.differences(user_id, on_record):
                    self.note(wrong)
        return count


@dataclass
class Gone:
    """Events that are not there and may have been removed, by user and type: their count and cents.

    `sure`: they had been stored. `possible`: nobody knows whether they ever were.
    """

    sure: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)
    possible: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)

    def add(self, event: Mapping[str, Any], *, is_sure: bool) -> None:
        """Count an event."""
        counts, key = self.sure if is_sure else self.possible, (event["user_id"], event["type"])
        count, total = counts.get(key, (0, 0))
        counts[key] = (count + 1, total + cents(event["amount"]))

    def differences(self, user_id: int, removed: Removed) -> Iterator[str]:
        """What is on record as removed of a user, and cannot be what was posted."""
        for kind in ("deposit", "withdraw"):
            least, of_least = self.sure.get((user_id, kind), (0, 0))
            more, of_more = self.possible.get((user_id, kind), (0, 0))
            count, total = removed.counts[kind], removed.sums[kind]
            if not (least <= count <= least + more and of_least <= total <= of_least + of_more):
                yield (
                    f"user {user_id}: {count} of type {kind} with {total} cents are on record as removed, and there "
                    f"were {least} to {least + more} with {of_least} to {of_least + of_more}"
                )
