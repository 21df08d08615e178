"""How exchanges end: those of one turn of an event loop together, counted and logged as each would be by itself."""

import asyncio
import json
from collections.abc import Iterator
from io import StringIO
from typing import Any
from unittest.mock import patch

import pytest
import structlog
from prometheus_client import CollectorRegistry, Histogram, Metric

import logs
import metrics
from routes.http.decisions import answer_with, decision_of
from routes.http.exchange import Endings, Exchange, begin, end
from rules.model import Verdict


class Counted:
    """What was counted of requests, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str | None, str, int, int]] = []

    def requests_done(self, route: str | None, method: str, status: int, seconds: list[float]) -> None:
        self.calls.append((route, method, status, len(seconds)))


@pytest.fixture
def counted() -> Iterator[Counted]:
    """Counts requests instead of the metrics."""
    found = Counted()
    with patch.object(metrics, "requests_done", found.requests_done):
        yield found


@pytest.fixture
def lines() -> Iterator[StringIO]:
    """Where the JSON lines of the log go."""
    before, config = logs._plain_json, structlog.get_config()
    file = StringIO()
    with patch("log_output.without_waiting", lambda _: file), patch("logs.log", structlog.get_logger()):
        logs.configure(readable=False)
        yield file
    logs._plain_json = before
    structlog.configure(**config)


def _answered(status: int, request_id: str) -> Exchange:
    exchange = begin(request_id, "")
    exchange.who = "till"
    exchange.answered(status)
    return exchange


def _read(file: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_what_ends_in_one_turn_ends_together(counted: Counted, lines: StringIO) -> None:
    """Requests answered alike are counted at once, and the lines are those that each would have, in order."""
    endings = Endings()

    async def turns() -> None:
        for number, status in enumerate((200, 409, 200)):
            endings.add(_answered(status, f"id-{number}"), route="/event", method="POST")
        assert (counted.calls, lines.getvalue()) == ([], "")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert counted.calls == [("/event", "POST", 200, 2), ("/event", "POST", 409, 1)]
        endings.add(_answered(200, "id-3"), route="/api/events", method="POST")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(turns())
    assert counted.calls[2:] == [("/api/events", "POST", 200, 1)]
    assert [line["request_id"] for line in _read(lines)] == ["id-0", "id-1", "id-2", "id-3"]


def test_the_lines_are_as_those_of_single_exchanges(counted: Counted, lines: StringIO) -> None:
    """Byte for byte, but for the time at the end."""
    exchange = _answered(200, "one")
    end(exchange, route="/event", method="POST")

    async def turn() -> None:
        endings = Endings()
        endings.add(exchange, route="/event", method="POST")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(turn())
    single, together = lines.getvalue().splitlines()
    assert single.partition('"timestamp"')[0] == together.partition('"timestamp"')[0]
    assert len(single) == len(together)
    assert counted.calls == [("/event", "POST", 200, 1)] * 2


def test_text_for_people_stays_text(counted: Counted) -> None:
    """Where the log is readable text, so are these lines."""
    file = StringIO()
    before, config = logs._plain_json, structlog.get_config()
    with patch("log_output.without_waiting", lambda _: file), patch("logs.log", structlog.get_logger()):
        logs.configure(readable=True)
        logs.info_all("request", [{"status": 200, "who": "till"}])
    logs._plain_json = before
    structlog.configure(**config)
    assert "request" in file.getvalue()
    assert not file.getvalue().startswith("{")


@pytest.mark.parametrize("values", [[], [0.0004], [0.0005, 0.00051, 9.9, 10, 11], [0.002] * 50 + [3, 70]])
def test_many_values_are_counted_as_one_by_one(values: list[float]) -> None:
    """A histogram has the same buckets, count and sum whether values come together or not."""
    registry = CollectorRegistry()
    single = Histogram("single", "s", buckets=metrics._SECONDS, registry=registry)
    together = Histogram("together", "t", buckets=metrics._SECONDS, registry=registry)
    for value in values:
        single.observe(value)
    metrics._observe_all(together, values)
    one, other = registry.collect()

    def samples(metric: Metric) -> list[tuple[str, dict[str, str], float]]:
        kept = [each for each in metric.samples if not each.name.endswith("_created")]
        return [(each.name.removeprefix(metric.name), each.labels, round(each.value, 9)) for each in kept]

    assert samples(one) == samples(other)


@pytest.mark.parametrize("codes", [(), (30,), (1100, 30, 300, 123)])
@pytest.mark.parametrize("user_id", [1, 10, 2**63 - 1])
def test_an_answer_is_the_json_of_its_decision(codes: tuple[int, ...], user_id: int) -> None:
    """However it is put together, an answer has the members of the decision, in their order."""
    verdict = Verdict(user_id, codes)
    expected = json.dumps(decision_of(verdict), separators=(",", ":")) + "\n"
    assert answer_with(verdict).body == expected.encode()
