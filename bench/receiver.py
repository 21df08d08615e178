"""A receiver of webhooks that answers 204 at once, a process of its own: `python -m bench.receiver` says its port."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

NICE = 19  # elsewhere it would have a machine of its own
LONGEST = 65_536  # bytes of a message with its head
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
PATIENCE = 30  # seconds until it has ended


class _Connection(asyncio.Protocol):
    """Reads one message after the other, and answers each once it is whole."""

    def __init__(self) -> None:
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", self._read[:end])
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._read) < whole:
                break
            self._read = self._read[whole:]
            self._transport.write(ANSWER)
        if len(self._read) > LONGEST:
            self._transport.abort()


@contextmanager
def receiver() -> Iterator[str]:
    """The URL of one that runs meanwhile."""
    command = [sys.executable, "-m", "bench.receiver"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            port = program.stdout.readline().strip()
            assert port, "the receiver did not start"
            yield f"http://127.0.0.1:{port}"
        finally:
            program.terminate()
            program.wait(PATIENCE)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    os.nice(NICE)
    asyncio.run(_serve())
