"""What the bench reads from its load generators, and what it makes of that. Nothing here is timed."""

import json

import pytest

from bench import events, webhooks
from bench.load import is_whole
from bench.measurement import Measurement, Unreadable, from_pgbench, from_wrk, percentile
from bench.rates import rows
from bench.ratios import Row, Spread
from bench.report import table

WRK = """\
Running 1s test @ http://127.0.0.1:45459/event
  2 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     6.51ms    7.26ms  79.30ms   93.72%
    Req/Sec   361.81     64.90   500.00     66.67%
  758 requests in 1.10s, 264.04KB read
  Non-2xx or 3xx responses: 569
Requests/sec:    688.53
Transfer/sec:    239.84KB
{"requests": 758, "duration": 1100901, "p50": 5041, "p99": 44357, "errors": 569}
"""

PGBENCH = """\
pgbench (18.6)
transaction type: bench/baseline.sql
scaling factor: 1
query mode: prepared
number of clients: 2
number of threads: 2
maximum number of tries: 1
duration: 1 s
number of transactions actually processed: 2400
number of failed transactions: 0 (0.000%)
latency average = 0.828 ms
initial connection time = 7.741 ms
tps = 2415.140516 (without initial connection time)
"""

PGBENCH_LOG = ["1 1 3747 0 1795324303 924916", "1 2 1180 0 1795324303 926109", "1 3 1455 0 1795324303 927570"]


def test_wrk_counts_only_what_was_answered_well() -> None:
    """The rate is that of the answers below 400; latencies come in microseconds and leave in milliseconds."""
    assert from_wrk(WRK) == Measurement(189 / 1.100901, 5.041, 44.357, 189, 569)


def test_wrk_without_figures_is_an_error() -> None:
    """A script that failed or a server that is not there must not count as zero events."""
    with pytest.raises(Unreadable, match="unable to connect"):
        from_wrk("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_pgbench_gives_rate_and_latencies() -> None:
    """The rate leaves the time to connect out; latencies are the log's third column, in microseconds."""
    assert from_pgbench(PGBENCH, PGBENCH_LOG) == Measurement(2415.140516, 1.455, 3.747, 2400, 0)


@pytest.mark.parametrize(("output", "log"), [("pgbench: error: connection failed", PGBENCH_LOG), (PGBENCH, [])])
def test_pgbench_without_figures_is_an_error(output: str, log: list[str]) -> None:
    """A failed run and one without transactions have no figures."""
    with pytest.raises(Unreadable):
        from_pgbench(output, log)


@pytest.mark.parametrize(("share", "expected"), [(0, 1), (0.5, 2), (0.51, 3), (0.99, 4), (1, 4)])
def test_percentile(share: float, expected: float) -> None:
    """A percentile is one of the values, in whatever order they come."""
    assert percentile([4, 1, 3, 2], share) == expected


@pytest.mark.parametrize(
    ("status", "content", "whole"),
    [
        (200, b'{"accepted": 10000, "rejected": 0, "results": []}', True),
        (200, b'{"results":[],"accepted":10000,"rejected":0}', True),
        (200, b"[]", False),
        (200, b"", False),
        (200, b'{"accepted": 9999, "rejected": 1, "results": []}', False),
        (503, b'{"title": "Service Unavailable"}', False),
        (0, b"ConnectionResetError()", False),
    ],
)
def test_an_answer_to_many_events_is_whole_only_if_all_are_stored(status: int, content: bytes, whole: bool) -> None:
    """One refused event makes the measurement invalid."""
    assert is_whole(status, content, 10_000) is whole


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("a", Spread(0.6, 0.5, 0.7), at_least=0.6), True),
        (Row("a", Spread(0.59, 0.5, 0.7), at_least=0.6), False),
        (Row("a", Spread(2.5, 1, 3), at_most=2.5), True),
        (Row("a", Spread(2.6, 1, 3), at_most=2.5), False),
        (Row("a", Spread(1, 1, 1)), None),
    ],
)
def test_the_median_is_held_to_the_target(row: Row, met: bool | None) -> None:
    """The bound itself is good enough; a row without a target is neither met nor missed."""
    assert row.met is met


def test_ratios_are_formed_within_a_round() -> None:
    """A machine that is twice as fast in one round changes no ratio."""

    def at_speed(speed: float) -> dict[str, Measurement]:
        titles = ["pgbench, 16 clients", "pgbench, 1 client", "POST /events of 10,000", "COPY of 10,000"]
        titles += [f"{n} connection{'s' * (n > 1)}{off}" for n in (1, 16, 64) for off in ("", ", GROUP_COMMIT=off")]
        return {title: Measurement((n + 1) * speed, 8 / speed, 9 / speed, 1, 0) for n, title in enumerate(titles)}

    spreads = [row.spread for row in rows([at_speed(1), at_speed(2), at_speed(4)])]
    assert [spread for spread in spreads if spread.lowest != spread.highest] == []
    assert spreads[0].median == 9 / 1  # the ninth title against the first


def test_webhooks_are_compared_within_a_pair() -> None:
    """And what is measured once a round, with the pair before it."""

    def at(title: str, rate: float) -> dict[str, Measurement]:
        return {title: Measurement(rate, 1, 1, 1, 0)}

    pairs = [at(webhooks.UNTOLD, 100 * n) | at(webhooks.TOLD, 90 * n) for n in range(1, 2 * webhooks.PAIRS + 1)]
    rounds = [at(webhooks.OFF, 200 * n * webhooks.PAIRS) for n in (1, 2)]
    told, untold = webhooks.rows(pairs, rounds)
    assert (told.spread, told.met) == (Spread(0.9, 0.9, 0.9), True)
    assert untold.spread == Spread(0.5, 0.5, 0.5)


def test_made_events_go_forward_in_time() -> None:
    """Events never arrive late by themselves and name one of the users."""
    made = json.loads(events.body(1_000, 50))
    times = [event["time"] for event in made]
    assert times == sorted(times)
    assert times[0] == 50
    assert {event["type"] for event in made} == {"deposit", "withdraw"}
    assert all(1 <= event["user_id"] <= events.USERS for event in made)


def test_rows_to_copy_have_a_key_each() -> None:
    """Two calls that follow each other make rows that violate no key."""
    text = events.copy_rows(1_500, 0) + events.copy_rows(1_500, 1_500)
    keys = [tuple(line.split("\t")[:2]) for line in text.splitlines()]
    assert len(set(keys)) == len(keys) == 3_000


def test_table_lines_up() -> None:
    """The first column is aligned left, the others right."""
    assert table(["load", "n"], [["a", "10"], ["long name", "5"]]) == "load        n\na          10\nlong name   5"
