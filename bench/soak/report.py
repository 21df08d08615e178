"""What a soak found, in a page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.soak.http import NO_ANSWER, SINGLE, Tally
from bench.soak.watch import Reading, Watch

# The largest worker may grow by this much, in MB, from the end of the warm-up to the end: what one big body takes
# stays with the process. In a short soak the warm-up ends before the workers have seen everything once.
GROWTH, GROWTH_IN_SHORT = 64, 256
# And of the time after the warm-up, the median of the last third may be above that of the first by this much: held
# against each kind of process in a soak that is not short.
FLAT_SHARE, FLAT_MB = 0.10, 10
# A worker keeps the connections to the database and the threads that it has once needed.
DESCRIPTORS, THREADS = 32, 80
# Of the single events that nothing has to do with: this share may be turned away other than after a kill.
TURNED_AWAY = 0.01
WARM_UP = 0.25  # of the whole time
# Single events may not become slower, in a soak that is not short. A p50 of 100 ms is never held against it: two cores
# serve all callers.
SLOWER = 3
SHORT = 300  # seconds: anything below


@dataclass
class SoakReport:
    """What went wrong, and figures for people."""

    wrong: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def say(self, *lines: str) -> None:
        """Add lines."""
        self.lines += lines

    def answers(self, tally: Tally) -> None:
        """A table of answers by who asked."""
        columns = sorted({status for _, status in tally.counts})
        self.say("", f"{'answers':<32}" + "".join(f"{status or 'none':>9}" for status in columns))
        for who in sorted({who for who, _ in tally.counts}):
            self.say(f"{who:<32}" + "".join(f"{tally.counts[who, status]:>9,}" for status in columns))
        lost = sum(count for (_, status), count in tally.counts.items() if status == NO_ANSWER)
        unexcused = tally.unexcused[SINGLE]
        asked = sum(count for (who, _), count in tally.counts.items() if who == SINGLE)
        self.say(f"503 to single events of users of their own, other than after a kill: {unexcused:,} of {asked:,}")
        if unexcused > asked * TURNED_AWAY:
            self.wrong.append(f"{unexcused:,} of {asked:,} single events were turned away, and nothing had been killed")
        if tally.killed:
            self.say("killed: " + ", ".join(f"{count} {kind}" for kind, count in sorted(tally.killed.items())))
        elif lost:
            self.wrong.append(f"{lost:,} requests got no answer, and nothing was killed")

    def over_time(self, watch: Watch, seconds: float) -> None:
        """A table over time."""
        parts = max(1, min(10, int(seconds / 10)))
        self.say(
            "",
            "      seconds   events     p50 ms     p99 ms  main MB  worker MB  deliverer MB  all MB  files  threads"
            "  processes",
        )
        for part in range(parts):
            start, end = part * seconds / parts, (part + 1) * seconds / parts
            count, p50, p99 = watch.milliseconds(start, end)
            found = watch.between(start, end)
            self.say(
                f"{start:>6.0f}-{end:<6.0f}{count:>9,}{p50:>11.1f}{p99:>11.1f}"
                f"{_most(one.main_mb for one in found):>9.0f}{_most(one.worker_mb for one in found):>11.0f}"
                f"{_most(one.deliverer_mb or 0 for one in found):>14.0f}{_most(one.all_mb for one in found):>8.0f}"
                f"{_most(one.descriptors for one in found):>7.0f}{_most(one.threads for one in found):>9.0f}"
                f"{_most(one.processes for one in found):>11.0f}"
            )

        if seconds >= SHORT:
            (_, first, _), (_, last, _) = (
                watch.milliseconds(0, seconds / 3),
                watch.milliseconds(seconds * 2 / 3, seconds),
            )
            self.say(f"p50 of single events: {first:.1f} ms in the first third, {last:.1f} ms in the last")
            if last > max(SLOWER * first, 100):
                self.wrong.append(f"single events have become slower: {first:.1f} ms, then {last:.1f} ms")

    def use(self, before: Reading | None, readings: Sequence[Reading], after: Reading | None, seconds: float) -> None:
        """Hold what is used at the end, when nobody asks any more, against what was used before."""
        warm = [one for one in readings if WARM_UP / 2 * seconds <= one.at < WARM_UP * seconds]
        if before is None or after is None:
            self.wrong.append("the service was not there to be looked at")
            return
        if not warm:
            self.say("", "it was too short to compare what is used")
            return
        most = GROWTH if seconds >= SHORT else GROWTH_IN_SHORT
        grown = after.worker_mb - max(one.worker_mb for one in warm)
        self.say("", f"memory of the largest worker: {grown:+.0f} MB since the warm-up (at most {most:+} MB)")
        if grown > most:
            self.wrong.append(f"a worker has grown by {grown:.0f} MB since the warm-up")
        self._flat(readings, seconds)
        for what, more, was, now in (
            ("descriptors", DESCRIPTORS, before.descriptors, after.descriptors),
            ("threads", THREADS, before.threads, after.threads),
        ):
            self.say(f"{what} of a worker: {was} before, {now} after (at most {more:+})")
            if now > was + more:
                self.wrong.append(f"a worker has {now} {what}, and had {was}")

    def _flat(self, readings: Sequence[Reading], seconds: float) -> None:
        """Hold the memory of each kind of process in the last third after the warm-up against that in the first."""
        third = (1 - WARM_UP) * seconds / 3
        first = [one for one in readings if 0 <= one.at - WARM_UP * seconds < third]
        last = [one for one in readings if one.at >= seconds - third]
        for what, was, now in (
            ("first process", [one.main_mb for one in first], [one.main_mb for one in last]),
            ("largest worker", [one.worker_mb for one in first], [one.worker_mb for one in last]),
            (
                "delivery process",
                [one.deliverer_mb for one in first if one.deliverer_mb is not None],
                [one.deliverer_mb for one in last if one.deliverer_mb is not None],
            ),
        ):
            if not was or not now:
                self.wrong.append(f"there was no {what} to be looked at")
                continue
            begin, end = median(was), median(now)
            most = begin * (1 + FLAT_SHARE) + FLAT_MB
            self.say(f"memory of the {what}, median: {begin:.1f} MB, then {end:.1f} MB (at most {most:.1f})")
            if end > most and seconds >= SHORT:
                self.wrong.append(f"the {what} has grown: {begin:.1f} MB, then {end:.1f} MB")

    def text(self) -> str:
        """The page."""
        end = [f"WRONG: {one}" for one in self.wrong] or ["nothing is wrong"]
        return "\n".join([*self.lines, "", *end])


def _most(values: Iterable[float]) -> float:
    return max(values, default=0.0)
