"""Events per second and latency: PostgreSQL alone and the service in turn, round by round."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from sqlalchemy import URL

from bench import load, processes
from bench.events import Clock
from bench.measurement import Measurement, failures
from bench.processes import Process
from bench.ratios import Row, Spread, quotient
from bench.servers import add_baseline, database, service

Round = dict[str, Measurement]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Rates:
    """All rounds, rows for the table of ratios, memory after the last round, and what makes the run invalid."""

    rounds: list[Round]
    rows: list[Row]
    memory: list[Process]
    alert_share: float  # of all events that the service with group commit has stored, 0 to 1
    problems: list[str]


def measure(server: URL, rounds: int, seconds: int, with_ids: bool, say: Say) -> Rates:
    """Measure everything `rounds` times, each for `seconds`; `with_ids` gives single events an event_id.

    Both services run all the time, each on its own database on the same server; only one is under load at a time.
    """
    with ExitStack() as stack:
        plain = stack.enter_context(database(server, "plain"))
        grouped = stack.enter_context(database(server, "on"))
        single = stack.enter_context(database(server, "off"))
        add_baseline(plain)
        on = stack.enter_context(service(grouped, GROUP_COMMIT="on"))
        off = stack.enter_context(service(single, GROUP_COMMIT="off"))
        clock = Clock()

        def singles(port: int, connections: int, duration: int = seconds) -> Measurement:
            return load.wrk(port, connections, duration, clock(), with_ids)

        # What is compared is measured back to back, so that changes in the machine's speed affect both.
        plan: dict[str, Callable[[], Measurement]] = {
            "pgbench, 16 clients": lambda: load.pgbench(plain, 16, seconds),
            "64 connections": lambda: singles(on.port, 64),
            "64 connections, GROUP_COMMIT=off": lambda: singles(off.port, 64),
            "pgbench, 1 client": lambda: load.pgbench(plain, 1, seconds),
            "1 connection": lambda: singles(on.port, 1),
            "1 connection, GROUP_COMMIT=off": lambda: singles(off.port, 1),
            "16 connections": lambda: singles(on.port, 16),
            "16 connections, GROUP_COMMIT=off": lambda: singles(off.port, 16),
            # Last, since afterwards nobody's last actions are kept as they are.
            "POST /events of 10,000": lambda: load.post_many(on.port, seconds, clock()),
            "COPY of 10,000": lambda: load.copy(plain, seconds, clock()),
        }

        # Warm up: connections, prepared statements and users exist before the first round.
        warm = [load.pgbench(plain, 16, 1), singles(on.port, 64, 1), singles(off.port, 64, 1)]
        found: list[Round] = []
        for number in range(1, rounds + 1):
            found.append({})
            for title, run in plan.items():
                found[-1][title] = measured = run()
                say(f"round {number}/{rounds}  {title}: {measured.rate:,.0f} events/s, {measured.failed} failed")
        memory = processes.of_service(on.group) + processes.of_postgres(plain)
        alerted = grouped.ask("SELECT coalesce(avg((alert_codes <> '{}')::int), 0) FROM user_actions")
        problems = [problem for number, each in enumerate(found, 1) for problem in failures(number, each)]
        for name, where, first in (("on", grouped, warm[1]), ("off", single, warm[2])):
            posted = first.stored + sum(_posted(name, one) for one in found)
            if (kept := int(where.ask("SELECT count(*) FROM user_actions"))) < posted:
                problems.append(f"GROUP_COMMIT={name}: {posted} events were answered, only {kept} are stored")
    return Rates(found, rows(found), memory, float(alerted), problems)


def _posted(name: str, each: Round) -> int:
    """How many events of a round the service with GROUP_COMMIT=`name` has answered as stored."""
    titles = [title for title in each if "connection" in title or title.startswith("POST")]
    return sum(each[title].stored for title in titles if title.endswith("GROUP_COMMIT=off") == (name == "off"))


def rows(rounds: list[Round]) -> list[Row]:
    """The ratios, each computed within a round, with the targets from docs/performance.md."""

    def rate(title: str, against: str) -> Spread:
        return Spread.of([quotient(each[title].rate, each[against].rate) for each in rounds])

    def p50(title: str, against: str) -> Spread:
        return Spread.of([quotient(each[title].p50, each[against].p50) for each in rounds])

    many, plain = "64 connections", "pgbench, 16 clients"
    one, plain_one = "1 connection", "pgbench, 1 client"
    off = ", GROUP_COMMIT=off"
    return [
        Row("rate, 64 connections / pgbench", rate(many, plain), at_least=1),
        Row("rate, 64 connections / GROUP_COMMIT=off", rate(many, many + off), at_least=3),
        Row("p50, 1 connection / pgbench with 1 client", p50(one, plain_one), at_most=2),
        Row("rate, POST /events / 64 connections", rate("POST /events of 10,000", many), at_least=8),
        Row("rate, 16 connections / pgbench", rate("16 connections", plain), at_least=0.7),
        Row("rate, 16 connections / GROUP_COMMIT=off", rate("16 connections", "16 connections" + off)),
        Row("p50, 1 connection / GROUP_COMMIT=off", p50(one, one + off)),
        Row("rate, POST /events / COPY", rate("POST /events of 10,000", "COPY of 10,000"), at_least=0.33),
    ]
