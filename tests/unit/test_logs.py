"""How log lines are written: each at once, those of one turn of an event loop together."""

import asyncio
import io
import os
import threading

import pytest

from log_output import _Output
from logs import _Lines


class File(io.StringIO):
    """A file that records its contents whenever it is flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.flushed: list[str] = []

    def flush(self) -> None:
        self.flushed.append(self.getvalue())


def test_a_line_of_a_thread_is_out_at_once() -> None:
    """If no event loop runs, a line is in the file when `write` is done."""
    file = File()
    lines = _Lines(file)
    lines.write("a\n")
    lines.write("b\n")
    assert file.flushed == ["a\n", "a\nb\n"]


def test_the_lines_of_a_turn_go_out_together_at_its_end() -> None:
    """What one turn logs is written once, before the next turn ends, and in order."""
    file = File()
    lines = _Lines(file)

    async def turns() -> None:
        for word in ("a\n", "b\n"):
            lines.write(word)
        assert file.flushed == []
        await asyncio.sleep(0)
        assert file.flushed == ["a\nb\n"]
        lines.write("c\n")
        await asyncio.sleep(0)

    asyncio.run(turns())
    assert file.flushed == ["a\nb\n", "a\nb\nc\n"]


def test_what_need_not_wait_for_the_end_of_the_turn() -> None:
    """It is written at once, with what was logged before it in that turn."""
    file = File()
    lines = _Lines(file)

    async def turn() -> None:
        lines.write("a\n")
        lines.write_now("b\nc\n")
        assert file.flushed == ["a\nb\nc\n"]

    asyncio.run(turn())
    assert file.getvalue() == "a\nb\nc\n"


def test_a_thread_does_not_wait_for_the_turn() -> None:
    """A line of another thread is written at once, even while a turn has lines to write."""
    file = File()
    lines = _Lines(file)

    async def turn() -> None:
        lines.write("loop\n")
        thread = threading.Thread(target=lines.write, args=("thread\n",))
        thread.start()
        thread.join()
        assert file.flushed == ["thread\n"]

    asyncio.run(turn())
    assert file.flushed == ["thread\n", "thread\nloop\n"]


def test_a_file_that_cannot_be_written_for_a_while() -> None:
    """Lines that could not be written are lost, but later ones are not."""
    file = File()
    lines = _Lines(file)

    def full(_: str) -> int:
        raise OSError("no space left")

    async def turns() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        write, file.write = file.write, full  # type: ignore[method-assign]
        lines.write("a\n")
        await asyncio.sleep(0)
        file.write = write  # type: ignore[method-assign]
        lines.write("b\n")
        await asyncio.sleep(0)

    asyncio.run(turns())
    assert file.flushed == ["b\n"]


def test_lines_go_out_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are written at once, no more goes out in one piece than a pipe takes, and no line is cut."""
    written: list[bytes] = []

    def write(_: int, data: bytes) -> int:
        written.append(data)
        return len(data)

    monkeypatch.setattr(os, "write", write)
    output = _Output(1)
    lines = [b"%d %b\n" % (n, b"x" * (n * 37 % 300)) for n in range(200)]
    output._put(b"".join(lines))
    assert b"".join(written) == b"".join(lines)
    assert all(data.endswith(b"\n") and len(data) <= 4096 for data in written)
    assert len(written) > 1

    written.clear()
    long = b"y" * 10_000 + b"\n"
    output._put(b"a\n" + long + b"b\n")
    assert written == [b"a\n", long, b"b\n"]
