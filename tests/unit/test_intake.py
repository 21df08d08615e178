"""Reading bodies on the event loop: their time, their share of memory, and the turns of large ones."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from routes.http import intake
from routes.http.bodies import MAX_BODY
from routes.http.intake import LARGE_BODY, Intake
from routes.http.problems import Problem

LARGE = 16 * MAX_BODY


def chunks(*parts: bytes, last: bool = False) -> Callable[[], Awaitable[dict[str, Any]]]:
    """A caller that sends these parts, one a message, and then stalls, unless the `last` one ends the body."""
    left = list(parts)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        if not left:
            await asyncio.Event().wait()
        part = left.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(left) or not last}

    return receive


async def hung_up() -> dict[str, Any]:
    return {"type": "http.disconnect"}


@pytest.mark.parametrize(
    ("parts", "last", "length", "limit", "expected"),
    [
        ((b"abc",), True, 3, 10, b"abc"),
        ((b"abc",), False, 3, 10, b"abc"),  # the end need not be announced
        ((b"a", b"b", b"c"), False, 3, 10, b"abc"),
        ((b"a", b"", b"bc"), True, None, 10, b"abc"),
        ((b"a" * 11,), True, None, 10, b"a" * 11),  # one byte more than the limit shows that there is more
        ((b"a" * 6,) * 3, False, None, 10, b"a" * 11),
        ((b"",), True, None, 10, b""),
    ],
)
def test_what_is_read(parts: tuple[bytes, ...], last: bool, length: int | None, limit: int, expected: bytes) -> None:
    """A body is read up to its length, or up to one byte more than the limit."""
    assert asyncio.run(Intake(60).read(chunks(*parts, last=last), length, limit)) == expected


@pytest.mark.parametrize("length", [3, None])
@pytest.mark.parametrize("parts", [(), (b"a",), (b"a", b"b")])
def test_a_caller_that_hangs_up(parts: tuple[bytes, ...], length: int | None) -> None:
    """What has come until then is no body, also if it could be one."""
    some, left = chunks(*parts), len(parts)

    async def receive() -> dict[str, Any]:
        nonlocal left
        left -= 1
        return await (some if left >= 0 else hung_up)()

    with pytest.raises(Problem) as incomplete:
        asyncio.run(Intake(60).read(receive, length))
    assert incomplete.value.status == 400


def test_those_that_are_late_get_a_408() -> None:
    """A body that does not arrive in time is a 408, also if it came in part; others are read meanwhile and after."""

    async def run() -> list[Any]:
        taker = Intake(0.05)
        late = [taker.read(chunks(b"a"), 3) for _ in range(3)] + [taker.read(chunks(), 3)]
        found = await asyncio.gather(*late, taker.read(chunks(b"abc"), 3), return_exceptions=True)
        again = await asyncio.gather(taker.read(chunks(b"a"), 3), return_exceptions=True)
        return [*found, *again, await taker.read(chunks(b"abc"), 3)]

    *found, again, after = asyncio.run(run())
    assert [error.status for error in (*found[:4], again)] == [408] * 5
    assert (found[4], after) == (b"abc", b"abc")


def test_a_late_task_is_not_cancelled_for_good() -> None:
    """After its 408 a task can wait for something else."""

    async def run() -> str:
        try:
            await Intake(0.01).read(chunks(), 3)
        except Problem:
            await asyncio.sleep(0.01)
            return f"cancelled {asyncio.current_task().cancelling()} times"  # type: ignore[union-attr]
        return "not late"

    assert asyncio.run(run()) == "cancelled 0 times"


def test_a_task_that_somebody_else_cancels() -> None:
    """It ends as cancelled, not with a 408."""

    async def run() -> None:
        task = asyncio.create_task(Intake(60).read(chunks(), 3))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def stalled(taker: Intake, bodies: Iterable[tuple[bytes, int | None, int]]) -> list[asyncio.Task[bytes]]:
    """Tasks that read the beginning of these bodies (beginning, length, limit) and wait for more."""
    return [asyncio.create_task(taker.read(chunks(part), length, limit)) for part, length, limit in bodies]


def test_unfinished_bodies_share_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it one gets a 503; what comes in one piece, or is of the other kind, is still read; room comes back."""
    monkeypatch.setattr(intake, "MAX_UNFINISHED", 100)

    async def run() -> None:
        taker = Intake(60)
        held = stalled(taker, [(b"a" * 50, 60, MAX_BODY)] * 2)
        await asyncio.sleep(0.01)
        with pytest.raises(Problem) as full:
            await taker.read(chunks(b"a"), 2)
        assert (full.value.status, full.value.kind) == (503, "bodies-full")
        assert await taker.read(chunks(b"aa"), 2) == b"aa"
        large = stalled(taker, [(b"a" * 50, LARGE, LARGE), (b"a" * 50, None, LARGE)])
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in large)
        for task in (*held, *large):
            task.cancel()
        await asyncio.gather(*held, *large, return_exceptions=True)
        assert await taker.read(chunks(b"a" * 50, b"a" * 40), 90) == b"a" * 90

    asyncio.run(run())


def test_large_bodies_take_turns() -> None:
    """Beyond LARGE_AT_ONCE a large body gets a 503, before it is read if its size is known; small ones never wait."""

    async def run() -> None:
        taker = Intake(60)
        with taker.turn(True), taker.turn(True), taker.turn(False):
            for work in (taker.check_turns, taker.turn(True).__enter__):
                with pytest.raises(Problem) as full:
                    work()
                assert (full.value.status, full.value.kind) == (503, "large-bodies-full")
            with pytest.raises(Problem):  # it shows as it comes
                await taker.read(chunks(b"a" * LARGE_BODY, b"a", b"a"), None, 2 * LARGE_BODY)
            assert await taker.read(chunks(b"a" * LARGE_BODY), LARGE_BODY, 2 * LARGE_BODY)
        taker.check_turns()
        whole = await taker.read(chunks(b"a" * LARGE_BODY, b"a", b"a", last=True), None, 2 * LARGE_BODY)
        assert len(whole) == LARGE_BODY + 2

    asyncio.run(run())


def test_throwing_away_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with the body, after some bytes, after some silence, or when a body may take no longer."""
    monkeypatch.setattr(intake, "LINGER_SECONDS", 0.01)
    monkeypatch.setattr(intake, "LINGER_BYTES", 10)
    for receive, all_of_it in (
        (chunks(b"a", b"b", last=True), True),
        (chunks(b"a"), False),
        (chunks(b"a" * 11), False),
        (hung_up, True),
    ):
        assert asyncio.run(Intake(60).throw_away(receive)) is all_of_it
    monkeypatch.setattr(intake, "LINGER_SECONDS", 3600.0)
    assert asyncio.run(Intake(0.01).throw_away(chunks(b"a"))) is False
