"""What was acknowledged: two bytes an event, so that hours of it fit in memory."""

import threading
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bench.soak.plan import Stream, cents

CODES = (1100, 30, 300, 123, 500, 600, 610, 620, 630, 640, 650, 660, 670, 680, 690)
UNKNOWN, REFUSED = 0, 0xFFFF  # else one more than the bits of the codes
LISTED = 20


def written(codes: Iterable[int]) -> int:
    """An answer's codes as a number."""
    return 1 + sum(1 << CODES.index(code) for code in codes)


class Answers:
    """What the events of one stream were answered with, by number."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._written = array("H")

    def note(self, number: int, what: int) -> None:
        """The event with this number was answered with `what`."""
        if number >= len(self._written):
            self._written.extend([UNKNOWN] * (number + 1 - len(self._written)))
        self._written[number] = what

    def of(self, number: int) -> int:
        """What the event with this number was answered with; UNKNOWN for none."""
        return self._written[number] if number < len(self._written) else UNKNOWN

    def acknowledged(self) -> Iterator[int]:
        """The numbers of the events that were answered as stored."""
        return (number for number, what in enumerate(self._written) if what not in (UNKNOWN, REFUSED))


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

    def compare(self, stored: Iterable[tuple[Any, ...]]) -> int:
        """Hold what is stored (event_id, user_id, type, cents, time, codes) against what was answered.

        Every event that was acknowledged must be there, once, as it was posted and with the codes that were answered; a
        refused one must not. Returns the number of acknowledged events.
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
            if answer == REFUSED:
                self.note(f"{event_id} was refused, and is stored")
            elif answer not in (UNKNOWN, written(codes)):
                self.note(f"{event_id} was answered otherwise than is stored: {codes}")
        count = 0
        for name, answers in self.answers.items():
            for number in answers.acknowledged():
                count += 1
                if seen[name][number] != 1:
                    self.note(f"{name}-{number} was acknowledged, and is stored {seen[name][number]} times")
        return count
