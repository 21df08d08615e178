"""What pages cost as alerts and actions become many, and what pages that are open cost events."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from urllib.parse import urlencode

from sqlalchemy import URL

from bench import load
from bench.events import EVIDENCE, Clock
from bench.load import Poster
from bench.measurement import Measurement, failures, percentile
from bench.ratios import Row, Spread, quotient
from bench.servers import Database, database, service
from work.figures_job import fill_figures

# Alerts: about as many as the demo data has, and many. A user has EACH, and ACTIONS actions.
SMALL, LARGE, QUICK_LARGE = 4_000, 1_000_000, 20_000
EACH, ACTIONS = 20, 200
TURN = 5  # pages of one service in a row
AT_MOST, PULSE_AT_MOST, AT_LEAST = 2, 1.2, 0.97

PAGES = {
    "inbox": "/desk/",
    "inbox, by user": "/desk/?by=user",
    "inbox, closed": "/desk/?tab=closed",
    "inbox, a filter that fits none": "/desk/?code=690",
    "alert": "/desk/alerts/{alert}",
    "users": "/desk/users",
    "user": "/desk/users/{user}",
    "rules": "/desk/rules",
    "rule": "/desk/rules/1100",
    "overview": "/desk/overview",
    "send an event": "/desk/send",
    "log": "/desk/log",
    "find": "/desk/find?q=30",
}
PULSE = "pulse"

TABS, EVERY = 10, 5.0  # pages that are open, and seconds between two questions of one
PAIRS, QUICK_PAIRS = 36, 2  # short ones: the difference is a matter of percents, and a machine's speed drifts
WITHOUT, WITH = "no page open", f"the inbox open in {TABS} tabs"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Desk:
    """The median milliseconds of each page by round, with few alerts and with many; how many; and pairs of rates."""

    few: dict[str, list[float]]
    many: dict[str, list[float]]
    alerts: tuple[int, int]
    pairs: list[dict[str, Measurement]]
    rows: list[Row]
    problems: list[str]


def measure(server: URL, rounds: int, calls: int, many: int, pairs: int, seconds: int, say: Say) -> Desk:
    """Load each page `calls` times per round from either service in turn.

    Then post events with pages open and without, `pairs` times for `seconds` each.
    """
    sizes = (SMALL, many)
    problems: set[str] = set()
    with ExitStack() as stack:
        running = []
        for alerts in sizes:
            made = stack.enter_context(database(server, f"desk_{alerts}"))
            _fill(made, alerts)
            running.append(stack.enter_context(service(made, WORKERS="1")))
            say(f"desk: {alerts:,} alerts and {alerts * ACTIONS // EACH:,} actions are stored")
        posters = [stack.enter_context(closing(Poster(one.port))) for one in running]
        p50: list[dict[str, list[float]]] = [{title: [] for title in (*PAGES, PULSE)} for _ in sizes]
        for number in range(-1, rounds):
            for title in (*PAGES, PULSE):
                took: list[list[float]] = [[], []]
                for first in range(0, calls, TURN):
                    for which, alerts in enumerate(sizes):
                        for _ in range(first, min(first + TURN, calls)):
                            took[which].append(_load(posters[which], title, alerts, problems))
                if number >= 0:  # the first round is to warm up
                    for which in range(len(sizes)):
                        p50[which][title].append(percentile(took[which], 0.5))
        rates = list(_pairs(running[0].port, pairs, seconds, say))
    few, lots = p50
    bad = [problem for number, pair in enumerate(rates, 1) for problem in failures(number, pair)]
    return Desk(few, lots, sizes, rates, _rows(few, lots, many, rates), sorted(problems) + bad)


def _rows(
    few: dict[str, list[float]], lots: dict[str, list[float]], many: int, pairs: list[dict[str, Measurement]]
) -> list[Row]:
    found = []
    for title, values in lots.items():
        ratios = [one / other for one, other in zip(values, few[title], strict=True)]
        at_most = PULSE_AT_MOST if title == PULSE else AT_MOST
        found.append(Row(f"{title}: {many:,} alerts / {SMALL:,}", Spread.of(ratios), at_most=at_most))
    rates = [quotient(pair[WITH].rate, pair[WITHOUT].rate) for pair in pairs]
    return [*found, Row(f"rate of events, {WITH} / {WITHOUT}", Spread.of(rates), at_least=AT_LEAST)]


def _pairs(port: int, pairs: int, seconds: int, say: Say) -> Iterator[dict[str, Measurement]]:
    clock = Clock()
    load.wrk(port, 64, 1, clock())  # warm up
    for number in range(1, pairs + 1):
        pair = {}
        for title in (WITHOUT, WITH) if number % 2 else (WITH, WITHOUT):
            with _open_pages(port, TABS if title == WITH else 0):
                pair[title] = load.wrk(port, 64, seconds, clock())
        yield pair
        say(f"desk pair {number}/{pairs}: " + ", ".join(f"{name}: {one.rate:,.0f}/s" for name, one in pair.items()))


@contextmanager
def _open_pages(port: int, tabs: int) -> Iterator[None]:
    """Have so many pages ask for what is new, each every EVERY seconds, the first at once and the others spread."""
    over = threading.Event()

    def ask(number: int) -> None:
        with closing(Poster(port)) as poster:
            pause = EVERY * number / tabs
            while not over.wait(pause):
                poster.ask("GET", _pulse(), b"")
                pause = EVERY

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(tabs)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _pulse() -> str:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - EVERY))
    return f"/desk/pulse?{urlencode({'since': since})}"


def _load(poster: Poster, title: str, alerts: int, problems: set[str]) -> float:
    user = alerts // EACH // 2
    path = _pulse() if title == PULSE else PAGES[title]
    path = path.replace("{alert}", f"{user}-{ACTIONS // 2}-1100").replace("{user}", str(user))
    seconds, status, content = poster.ask("GET", path, b"")
    if status not in (200, 204, 303):
        problems.add(f"desk: {title} was answered {status}: {content[:200]!r}")
    return seconds * 1e3


def _fill(made: Database, alerts: int) -> None:
    """Store actions, and of each user's every tenth an alert: the older half closed, every third taken by somebody."""
    users, every = alerts // EACH, ACTIONS // EACH
    made.do(
        f"INSERT INTO users (user_id, last_seq) SELECT u, {ACTIONS} FROM generate_series(1, {users}) AS u",
        f"""INSERT INTO user_actions (user_id, seq, type, amount, time, alert_codes, rules_number, settings_version,
            ordinal, running_total)
        SELECT (t - 1) % {users} + 1, (t - 1) / {users} + 1, 'withdraw', 150, t, '{{}}', 1, 0, (t - 1) / {users} + 1,
            150 * ((t - 1) / {users} + 1)
        FROM generate_series(1, {users * ACTIONS}) AS t""",
        f"""INSERT INTO alerts (user_id, seq, code, time, status, outcome, assignee, created_at, touched_at, evidence)
        SELECT user_id, seq, 1100, time,
            CASE WHEN seq <= {ACTIONS // 2} THEN 'closed' ELSE 'open' END,
            CASE WHEN seq <= {ACTIONS // 2} THEN 'true_positive' END,
            CASE WHEN time % 3 = 0 THEN 'p' || time % 2 END,
            now() - ({users * ACTIONS} - time) * interval '0.5 seconds' - interval '1 hour',
            now() - ({users * ACTIONS} - time) * interval '0.5 seconds' - interval '1 hour', '{EVIDENCE}'
        FROM user_actions WHERE seq % {every} = 0""",
        """INSERT INTO alert_history (user_id, seq, code, n, at, who, what, before, after)
        SELECT user_id, seq, code, 1, touched_at, 'p1', 'status', 'open', 'closed'
        FROM alerts WHERE status = 'closed'""",
        "VACUUM ANALYZE",
        "CHECKPOINT",
    )
    fill_figures(made.url.render_as_string(hide_password=False), anew=True)
