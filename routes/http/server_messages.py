"""What the server and the doors say to each other (ASGI)."""

from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any

from routes.http import safe_headers
from routes.http.answers import Answer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

Header = tuple[bytes, bytes]

REMEMBERED = 64  # sets of headers: nearly all answers have one of a few
CLOSE = (b"connection", b"close")  # the header of an answer after which the server ends the connection


async def send_answer(send: Send, answer: Answer, named: tuple[str, str]) -> None:
    """Send a whole answer, with the header `named` and those for browsers besides its own."""
    own, for_browsers = _headers(tuple(answer.headers.items()))
    name, value = named
    headers = [
        *own,
        (name.lower().encode(), value.encode("latin-1")),
        *for_browsers,
        (b"content-length", b"%d" % len(answer.body)),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


@lru_cache(maxsize=REMEMBERED)
def _headers(named: tuple[tuple[str, str], ...]) -> tuple[list[Header], list[Header]]:
    """An answer's own headers as the server wants them, and those for browsers that it does not have itself."""
    own = [(name.lower().encode(), value.encode("latin-1")) for name, value in named]
    names = {name for name, _ in own}
    return own, [one for one in safe_headers.AS_BYTES if one[0] not in names]
