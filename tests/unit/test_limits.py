"""What several processes let through of one key's rate, by a clock of the test's own."""

from collections.abc import Callable

import pytest

from access import limits as limits_module
from access.keyring import Flushed
from access.limits import KeyLimit, KeyLimits
from access.rates import Quota, Rate, read_rate

START = 60_000.0  # a full minute
LEARNING = 2  # seconds in which a process does not know yet what others do


def served(rate: str, demand: Callable[[float, int], float], seconds: int, processes: int = 4) -> list[int]:
    """How many requests are let through in each window, by `processes` that are asked `demand(second, process)` times
    a second and learn once a second, each at a moment of its own.
    """
    limits = [KeyLimit(read_rate(rate)) for _ in range(processes)]
    ours, owed, total = [0] * processes, [0.0] * processes, 0
    window = limits[0].rate.seconds
    passed = [0] * (seconds // window)
    steps = 200  # a second
    for step in range(seconds * steps):
        now = START + step / steps
        for number, limit in enumerate(limits):
            if (step + number * 37) % steps == 0 and ours[number]:
                total += ours[number]
                limit.learn(ours[number], total, now)
                ours[number] = 0
            owed[number] += demand(step / steps, number) / steps
            while owed[number] >= 1:
                owed[number] -= 1
                ours[number] += 1
                passed[int((now - START) // window)] += limit.take(now)
    return passed


def within(counts: list[int], least: float, most: float) -> bool:
    """Whether all counts are in this range."""
    return all(least <= count <= most for count in counts)


def test_one_process_gets_all_requests() -> None:
    """It serves the whole rate, from the first second on."""
    assert served("100/second", lambda _, process: 500 * (process == 1), 10) == [100] * 10
    assert served("600/minute", lambda _, process: 50 * (process == 1), 120) == [600] * 2


@pytest.mark.parametrize("share", [(1, 1, 1, 1), (100, 10, 1, 0), (1, 1, 0, 0)])
def test_all_processes_get_more_than_the_rate(share: tuple[int, ...]) -> None:
    """Together they serve the rate, whatever the shares of what is asked; more only at the beginning."""
    counts = served("100/second", lambda _, process: 2000 * share[process] / sum(share), 12)
    assert within(counts[:LEARNING], 100, 400)
    assert within(counts[LEARNING + 1 :], 95, 104)  # each share is rounded up


def test_below_the_rate_nothing_is_refused() -> None:
    """Whichever processes the requests reach."""
    assert within(served("100/second", lambda _, process: 20, 12), 76, 81)
    assert within(served("100/second", lambda _, process: 40 * (process < 2), 12), 79, 81)
    assert within(served("600/minute", lambda _, process: 2.4, 180), 575, 577)


def test_requests_go_elsewhere() -> None:
    """Where they go, the rate goes, after a second or two."""
    counts = served("100/second", lambda now, process: 500 * (process == (now >= 10)), 20)
    assert within(counts[:9] + counts[13:], 99, 101)
    assert within(counts, 50, 200)


def test_a_long_window() -> None:
    """What others have served counts for all of it; what is over the rate is what came before that was known."""
    counts = served("600/minute", lambda _, process: 100, 180)
    assert within(counts, 600, 600 + LEARNING * 400)
    assert within(counts[1:], 600, 640)
    assert within(served("600/minute", lambda now, process: 50 * (int(now) % 60 // 15 == process), 180)[1:], 500, 700)


def test_a_pause() -> None:
    """What others did long ago says nothing."""
    limit = KeyLimit(Rate(10, 1))
    for second in range(3):
        limit.learn(1, 100 * (second + 1), START + second)
    assert [limit.take(START + 2.5) for _ in range(3)] == [True, False, False]
    assert [limit.take(START + 9) for _ in range(11)] == [True] * 10 + [False]


def test_a_clock_that_is_set_back() -> None:
    """No key waits for the time that was."""
    limit = KeyLimit(Rate(1, 3600))
    assert [limit.take(START), limit.take(START), limit.take(START - 7200), limit.take(START - 7200)] == [
        True, False, True, False,
    ]  # fmt: skip


def test_totals_that_fall() -> None:
    """After a restored backup the numbers are lower than before: others are taken to have asked nothing."""
    limit = KeyLimit(Rate(10, 1))
    limit.learn(5, 1000, START)
    limit.learn(5, 5, START + 1)
    assert all(limit.take(START + 1) for _ in range(10))


def test_how_a_key_stands() -> None:
    """Its own rate, else the default, else none; one that changes holds at once."""
    now = START + 0.5
    limits = KeyLimits(Rate(3, 60), lambda: now)
    assert limits.take("a", "2/second") == Quota(True, Rate(2, 1), 1, 1)
    assert limits.take("a", "2/second") == Quota(True, Rate(2, 1), 0, 1)
    refused = limits.take("a", "2/second")
    assert refused == Quota(False, Rate(2, 1), 0, 1)
    assert refused.headers() == {"RateLimit-Policy": '"key";q=2;w=1', "RateLimit": '"key";r=0;t=1'}
    assert limits.take("a", "5/second") == Quota(True, Rate(5, 1), 4, 1)
    assert limits.take("b", None) == Quota(True, Rate(3, 60), 2, 60)
    assert KeyLimits().take("b", None) is None


def test_what_is_learned_of_keys() -> None:
    """It is a key's own; nothing is learned of keys without a rate, or of those that were not seen here."""
    now = START
    limits = KeyLimits(clock=lambda: now)
    for second in range(3):
        now = START + second
        for key_id, rate in (("a", "10/second"), ("b", "10/second"), ("c", None)):
            limits.take(key_id, rate)
        stored = (("a", 1, 101 * second), ("b", 1, second), ("c", 1, 9), ("d", 1, 9))
        limits.learn(Flushed(*one) for one in stored)
    now += 1
    a, b = limits.take("a", "10/second"), limits.take("b", "10/second")
    assert a is not None
    assert b is not None
    assert (a.left, b.left) == (0, 9)


def test_more_keys_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """All begin anew."""
    monkeypatch.setattr(limits_module, "REMEMBERED", 3)
    limits = KeyLimits(clock=lambda: START)
    for number in range(10):
        assert limits.take(str(number), "1/hour") == Quota(True, Rate(1, 3600), 0, 1200)
        assert len(limits._limits) <= 3
