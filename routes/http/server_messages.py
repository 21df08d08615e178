"""What the server and the doors say to each other (ASGI)."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from routes.http import safe_headers
from routes.http.answers import Answer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CLOSE = (b"connection", b"close")  # the header of an answer after which the server ends the connection


async def send_answer(send: Send, answer: Answer, named: tuple[str, str]) -> None:
    """Send a whole answer, with the header `named` and those for browsers besides its own."""
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in (*answer.headers.items(), named)]
    own = {name for name, _ in headers}
    headers += (one for one in safe_headers.AS_BYTES if one[0] not in own)
    headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
