"""A run as tables for people and as JSON for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from bench.access import Costs
from bench.desk import Desk
from bench.flatness import Flatness
from bench.growth import Growth
from bench.hindsight import Hindsight
from bench.lists import Lists
from bench.processes import MB, Process
from bench.rates import Rates
from bench.ratios import Row, Spread
from bench.webhooks import Told

PARTS = ("rates", "access", "webhooks", "growth", "lists", "desk", "memory", "hindsight")


@dataclass
class Report:
    """The results of a run so far; parts that were not asked for stay None. A `quick` run only shows that all works."""

    about: dict[str, Any]
    quick: bool = False
    rates: Rates | None = None
    access: Costs | None = None
    webhooks: Told | None = None
    growth: Growth | None = None
    lists: Lists | None = None
    desk: Desk | None = None
    memory: Flatness | None = None
    hindsight: Hindsight | None = None
    problems: list[str] = field(default_factory=list)

    def all_problems(self) -> list[str]:
        """Everything that makes the run invalid."""
        return self.problems + [problem for part in self._parts() for problem in part.problems]

    def rows(self) -> list[Row]:
        """The rows of all parts."""
        return [row for part in self._parts() for row in part.rows]

    def _parts(self) -> list[Any]:
        return [part for name in PARTS if (part := getattr(self, name))]

    def as_json(self) -> dict[str, Any]:
        """All figures: rates in events/s, latencies in ms, memory in bytes (flatness: MB)."""
        rows = [row._asdict() | {"spread": row.spread._asdict(), "met": row.met} for row in self.rows()]
        parts = {name: asdict(part) for name in PARTS if (part := getattr(self, name))}
        for part in parts.values():
            del part["rows"], part["problems"]  # they are at the top, for all parts together
        if self.rates:
            parts["rates"]["memory"] = [process._asdict() for process in self.rates.memory]
        problems = self.all_problems()
        return {
            "about": self.about,
            "valid": not (problems or self.quick),
            "problems": problems,
            "ratios": rows,
        } | parts

    def as_text(self) -> str:
        """The tables, and at the end whether the run counts."""
        blocks = [_ratios(self.rows())]
        if self.rates:
            blocks += [_measurements(self.rates), _processes(self.rates.memory)]
        if self.access:
            blocks.append(_access(self.access))
        if self.webhooks:
            blocks.append(_webhooks(self.webhooks))
        if self.growth:
            blocks.append(_growth(self.growth))
        if self.lists:
            blocks.append(_few_and_many(self.lists, "call"))
        if self.desk:
            blocks.append(_few_and_many(self.desk, "page"))
        if self.memory:
            blocks.append(_flatness(self.memory))
        if self.hindsight:
            blocks.append(_hindsight(self.hindsight))
        problems = self.all_problems()
        verdict = ["INVALID: no figure of this run counts.", *(f"  {each}" for each in problems)]
        fine = "A quick run: everything works, its figures mean nothing." if self.quick else "The run is valid."
        return "\n\n".join([*blocks, "\n".join(verdict) if problems else fine])


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be: the first to the left, the others to the right."""
    rows = [heads, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    )


def _range(spread: Spread, form: str) -> str:
    return f"{spread.lowest:{form}} - {spread.highest:{form}}"


def _ratios(rows: Sequence[Row]) -> str:
    words = {True: "yes", False: "NO", None: ""}
    lines = [
        [row.title, f"{row.spread.median:.2f}", _range(row.spread, ".2f"), row.target, words[row.met]] for row in rows
    ]
    return table(["ratio", "median", "min - max", "target", "met"], lines)


def _measurements(rates: Rates) -> str:
    lines = []
    for title in rates.rounds[0]:
        found = [each[title] for each in rates.rounds]
        spread = Spread.of([one.rate for one in found])
        p50, p99 = ([f"{median(known):.2f}"] if (known := _known(values)) else ["-"] for values in _latencies(found))
        lines.append([title, f"{spread.median:,.0f}", _range(spread, ",.0f"), *p50, *p99, str(_failed(found))])
    heads = ["load", "events/s", "min - max", "p50 ms", "p99 ms", "failed"]
    share = f"{rates.alert_share:.0%} of the service's events raised an alert; latencies are of one request."
    return f"{table(heads, lines)}\n{share}"


def _access(found: Costs) -> str:
    lines = []
    for title in found.rounds[0]:
        readings = [each[title] for each in found.rounds]
        rate = Spread.of([one.measured.rate for one in readings])
        p50 = median(_known([one.measured.p50 for one in readings]))
        used = Spread.of([one.microseconds for one in readings])
        lines.append(
            [
                title,
                f"{rate.median:,.0f}",
                _range(rate, ",.0f"),
                f"{p50:.2f}",
                f"{used.median:.0f}",
                _range(used, ".0f"),
            ]
        )
    return table(["load", "requests/s", "min - max", "p50 ms", "us of processor each", "min - max"], lines)


def _webhooks(found: Told) -> str:
    lines = []
    for rounds in (found.pairs, found.rounds):
        for title in rounds[0]:
            readings = [each[title] for each in rounds]
            rate = Spread.of([one.rate for one in readings])
            latencies = [f"{median(_known(values)):.2f}" for values in _latencies(readings)]
            lines.append([f"64 connections, {title}", f"{rate.median:,.0f}", _range(rate, ",.0f"), *latencies])
    sent, drain = Spread.of(found.under_load), found.drain
    end = f"{drain.left:,} of them were left" if drain.left else "none was left"
    notes = (
        f"{found.alert_share:.0%} of the events raised an alert. Messages delivered under load: {sent.median:,.0f}/s "
        f"({_range(sent, ',.0f')}).",
        f"Afterwards {drain.waiting:,} messages waited; {drain.seconds:.0f} s later {end} ({drain.rate:,.0f}/s).",
    )
    return "\n".join([table(["load", "events/s", "min - max", "p50 ms", "p99 ms"], lines), *notes])


def _latencies(found: Sequence[Any]) -> tuple[list[float | None], list[float | None]]:
    return [one.p50 for one in found], [one.p99 for one in found]


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _failed(found: Sequence[Any]) -> int:
    return sum(one.failed for one in found)


def _processes(processes: Sequence[Process]) -> str:
    if not processes:
        return "Memory: not available (it is read from /proc, for processes on this machine)."
    lines = []
    for role in dict.fromkeys(process.role for process in processes):
        same = [process for process in processes if process.role == role]
        rss = Spread.of([process.rss / MB for process in same])
        private = sum(process.private for process in same) / MB
        lines.append([role, str(len(same)), f"{rss.median:.0f}", _range(rss, ".0f"), f"{private:.0f}"])
    return table(["process", "number", "RSS MB", "min - max", "private MB of all"], lines)


def _growth(growth: Growth) -> str:
    new = growth.p50["new user"]
    lines = []
    for title, values in growth.p50.items():
        spread = Spread.of(values)
        more = median(one - other for one, other in zip(values, new, strict=True)) * 1e3
        lines.append([title, f"{spread.median:.3f}", _range(spread, ".3f"), f"{more:+.0f}"])
    return table(["one event for", "p50 ms", "min - max", "us against a new user"], lines)


def _few_and_many(found: Lists | Desk, each: str) -> str:
    lines = []
    for title, values in found.many.items():
        few, many = Spread.of(found.few[title]), Spread.of(values)
        lines.append([title, f"{few.median:.2f}", f"{many.median:.2f}", _range(many, ".2f")])
    few_alerts, many_alerts = found.alerts
    return table([f"one {each}, p50 ms", f"{few_alerts:,} alerts", f"{many_alerts:,} alerts", "min - max"], lines)


def _flatness(memory: Flatness) -> str:
    count = max(len(reading) for reading in memory.readings)
    lines = [
        [f"{number * memory.stored // max(1, len(memory.readings) - 1):,}", *(f"{mb:.0f}" for mb in reading)]
        for number, reading in enumerate(memory.readings)
        if len(reading) == count
    ]
    return table(["events", *(f"worker {n} MB" for n in range(1, count + 1))], lines)


def _hindsight(found: Hindsight) -> str:
    lines = []
    for way, seconds in found.seconds.items():
        spread = Spread.of([found.actions / took for took in seconds])
        lines.append([way, f"{median(seconds):.1f}", f"{spread.median:,.0f}", _range(spread, ",.0f")])
    heads = [f"{found.actions:,} stored actions, {found.alerts:,} alerts", "s", "actions/s", "min - max"]
    return f"{table(heads, lines)}\nbacktest and verify: {found.processes} processes, with their start."
