"""What reading and working alerts costs as they become many."""

import json
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass

from sqlalchemy import URL

from bench.events import EVIDENCE
from bench.load import Poster
from bench.measurement import percentile
from bench.ratios import Row, Spread
from bench.servers import Database, database, service

SMALL, LARGE, QUICK_LARGE = 1_000, 1_000_000, 20_000  # alerts
EACH = 20  # alerts of a user
TURN = 5  # calls to one service in a row
BULK = 500
AT_MOST = 1.5


@dataclass(frozen=True)
class Call:
    """A call to be measured, made for its n-th time; without a target where it has more to do among many alerts."""

    title: str
    method: str
    path: Callable[[int], str]
    body: Callable[[int, int], object] = lambda _number, _alerts: None
    has_target: bool = True


def _get(title: str, path: str, has_target: bool = True) -> Call:
    return Call(title, "GET", lambda _: path, has_target=has_target)


def _bulk(number: int, alerts: int) -> object:
    """Assign the oldest alerts, which are closed, so that the queue stays as it is."""
    ids = ["-".join(map(str, _id(place, alerts))) for place in range(1, BULK + 1)]
    return {"ids": ids, "set": {"assignee": ("ada", "bob")[number % 2]}}


CALLS = (
    _get("list", "/alerts"),
    _get("list, oldest first", "/alerts?sort=oldest"),
    _get("list, open", "/alerts?status=open&superseded=false"),
    _get("list, open, oldest first", "/alerts?status=open&sort=oldest"),
    _get("list, of one rule", "/alerts?code=123"),
    _get("list, of one assignee", "/alerts?assignee=p1"),
    _get("list, of one outcome", "/alerts?outcome=true_positive"),
    _get("list, of a rule that has none", "/alerts?code=690"),
    _get("list, of an assignee who has none", "/alerts?assignee=nemo&status=open"),
    _get("list, of an outcome that none has", "/alerts?outcome=inconclusive"),
    _get("list, none touched since", "/alerts?touched_from=2100-01-01T00:00:00Z"),
    _get("list, of ratings that no user has", "/alerts?risk=low", has_target=False),
    _get("around", "/alerts/{middle}/around?status=open"),
    _get("counts, open", "/alerts/counts?status=open", has_target=False),
    _get("counts, by status and code", "/alerts/counts?by=status,code", has_target=False),
    Call("next", "POST", lambda _: "/alerts/next", lambda _number, _alerts: {"query": {}}),
    Call(f"bulk of {BULK}", "POST", lambda _: "/alerts/bulk", _bulk),
)


@dataclass(frozen=True)
class Lists:
    """The median milliseconds of each call by round, among few alerts and among many; how many these are."""

    few: dict[str, list[float]]
    many: dict[str, list[float]]
    alerts: tuple[int, int]
    rows: list[Row]
    problems: list[str]


def measure(server: URL, rounds: int, calls: int, many: int) -> Lists:
    """Make each call `calls` times per round to a service with SMALL alerts and to one with `many`, in turn."""
    sizes = (SMALL, many)
    problems: set[str] = set()
    with ExitStack() as stack:
        posters = []
        for alerts in sizes:
            made = stack.enter_context(database(server, f"alerts_{alerts}"))
            _fill(made, alerts)
            # One worker, so that both have made their statements when it begins.
            posters.append(stack.enter_context(closing(Poster(stack.enter_context(service(made, WORKERS="1")).port))))
        p50: list[dict[str, list[float]]] = [{call.title: [] for call in CALLS} for _ in sizes]
        for number in range(-1, rounds):
            for call in CALLS:
                took: list[list[float]] = [[], []]
                for first in range(0, calls, TURN):
                    for which, alerts in enumerate(sizes):
                        for n in range(first, min(first + TURN, calls)):
                            took[which].append(_ask(posters[which], call, n, alerts, problems))
                if number >= 0:  # the first round is to warm up
                    for which in range(len(sizes)):
                        p50[which][call.title].append(percentile(took[which], 0.5))
    few, lots = p50
    rows = []
    for call in CALLS:
        ratios = [one / other for one, other in zip(lots[call.title], few[call.title], strict=True)]
        title = f"{call.title}: {many:,} alerts / {SMALL:,}"
        rows.append(Row(title, Spread.of(ratios), at_most=AT_MOST if call.has_target else None))
    return Lists(few, lots, sizes, rows, sorted(problems))


def _ask(poster: Poster, call: Call, number: int, alerts: int, problems: set[str]) -> float:
    middle = "-".join(map(str, _id(3 * alerts // 4, alerts)))
    path, body = call.path(number).replace("{middle}", middle), call.body(number, alerts)
    seconds, status, content = poster.ask(call.method, path, b"" if body is None else json.dumps(body).encode())
    if status != 200:
        problems.add(f"lists: {call.title} was answered {status}: {content[:200]!r}")
    return seconds * 1e3


def _id(place: int, alerts: int) -> tuple[int, int, int]:
    """The alert at this place in order of time: its user, `seq` and code."""
    users = alerts // EACH
    return (place - 1) % users + 1, (place - 1) // users + 1, (30, 1100, 1100, 123)[place % 4]


def _fill(made: Database, alerts: int) -> None:
    """Store alerts as the service would: the older half closed, every third taken by somebody."""
    users = alerts // EACH
    made.do(
        f"INSERT INTO users (user_id, last_seq) SELECT u, {EACH} FROM generate_series(1, {users}) AS u",
        f"""INSERT INTO user_actions (user_id, seq, type, amount, time, alert_codes, rules_number, settings_version,
            ordinal, running_total)
        SELECT (t - 1) % {users} + 1, (t - 1) / {users} + 1, 'withdraw', 150, t, '{{}}', 1, 0, (t - 1) / {users} + 1,
            150 * ((t - 1) / {users} + 1)
        FROM generate_series(1, {alerts}) AS t""",
        f"""INSERT INTO alerts (user_id, seq, code, time, status, outcome, assignee, touched_at, evidence)
        SELECT user_id, seq, (ARRAY[30, 1100, 1100, 123])[time % 4 + 1], time,
            CASE WHEN time <= {alerts // 2} THEN 'closed' ELSE 'open' END,
            CASE WHEN time <= {alerts // 2} THEN 'true_positive' END, CASE WHEN time % 3 = 0 THEN 'p' || time % 2 END,
            now() - ({alerts} - time) * interval '1 second', '{EVIDENCE}'
        FROM user_actions""",
        "VACUUM ANALYZE",
        "CHECKPOINT",
    )
