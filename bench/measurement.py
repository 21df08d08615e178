"""The result of one measurement, and reading it from the output of wrk and pgbench."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


class Unreadable(Exception):
    """A load generator failed, or printed something other than its figures."""


@dataclass(frozen=True)
class Measurement:
    """Events per second, latency of one request in milliseconds (None: not measured), and counts.

    `stored` counts the events that were answered as stored, `failed` the requests (or transactions) that got another
    answer or none; `note` says more about a failure, if more is known.
    """

    rate: float
    p50: float | None
    p99: float | None
    stored: int
    failed: int
    note: str = ""


def failures(number: int, measured: Mapping[str, Measurement]) -> list[str]:
    """What makes the round with this number invalid; `measured` has its measurements by title."""
    return [
        f"round {number}, {title}: {one.failed} requests failed, {one.stored} events stored {one.note}".rstrip()
        for title, one in measured.items()
        if one.failed or not one.stored
    ]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that `share` (0 to 1) of them do not exceed; `values` must not be empty."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def from_wrk(output: str) -> Measurement:
    """Read the line of JSON that wrk.lua adds to wrk's output. Raises Unreadable if it is not there."""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise Unreadable(f"wrk printed no figures:\n{output}")
    found = json.loads(lines[-1])
    stored = max(0, found["requests"] - found["errors"])
    seconds = found["duration"] / 1e6
    return Measurement(stored / seconds, found["p50"] / 1e3, found["p99"] / 1e3, stored, found["errors"])


def from_pgbench(output: str, log: Iterable[str]) -> Measurement:
    """Read pgbench's summary, and latencies from the lines of its transaction log (`--log`). Raises Unreadable."""
    rate = re.search(r"^tps = ([0-9.]+) \(without initial connection time\)$", output, re.MULTILINE)
    stored = re.search(r"^number of transactions actually processed: (\d+)", output, re.MULTILINE)
    failed = re.search(r"^number of failed transactions: (\d+)", output, re.MULTILINE)
    if not (rate and stored and failed):
        raise Unreadable(f"pgbench printed no figures:\n{output}")
    times = [int(line.split()[2]) / 1e3 for line in log]  # the third column: microseconds
    if not times:
        raise Unreadable(f"pgbench logged no transaction:\n{output}")
    return Measurement(float(rate[1]), percentile(times, 0.5), percentile(times, 0.99), int(stored[1]), int(failed[1]))
