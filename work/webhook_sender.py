"""One attempt to send a message, whatever the receiver does: no redirects, no proxies, no cookies."""

import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from urllib3.exceptions import HTTPError, SSLError

from version import VERSION
from work.webhook_addresses import Address, AddressPolicy, Target, UrlRefused, check_addresses, check_url
from work.webhook_connections import MOST_READ, Deadlines, Http, Https, NameLookups, NotSent
from work.webhook_schedule import asked_pause

ATTEMPT_SECONDS = 15.0  # for a whole attempt, however slowly its parts go on
MOST_ADDRESSES = 4  # addresses of a receiver to which an attempt may connect, one after the other
DRAIN_SECONDS = 0.5  # for the rest of an answer: its status is known
IDLE_SECONDS = 5.0  # a connection that was not used for so long is not used again
LONGEST_ERROR = 200  # characters

_LOST = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)


class Attempted(NamedTuple):
    """What came of an attempt: the status of the answer, or the error why there was none.

    `asked` is for how many seconds the receiver asks to be left alone, None if it does not.
    """

    seconds: float
    status: int | None
    error: str | None
    asked: float | None = None


class _LostConnection(NotSent):
    """The connection broke before there was any answer."""


class Sender:
    """Sends messages to one endpoint, one after the other. For one thread; `lookups` and `deadlines` are shared.

    `context` returns what verifies certificates.
    """

    def __init__(
        self, policy: AddressPolicy, lookups: NameLookups, deadlines: Deadlines, context: Callable[[], ssl.SSLContext]
    ) -> None:
        self._policy, self._lookups, self._deadlines = policy, lookups, deadlines
        self._context = context
        self._connection: Http | Https | None = None
        self._target: Target | None = None
        self._used = 0.0

    def send(self, url: str, body: str, headers: Mapping[str, str]) -> Attempted:
        """Send a message. Whatever happens is in what is returned."""
        began = time.monotonic()
        until = began + ATTEMPT_SECONDS
        status, error, asked = None, None, None
        try:
            target = check_url(url, self._policy)
            addresses = self._lookups.addresses(target, until)
            check_addresses(target, addresses, self._policy)
            status, answered = self._exchange(target, addresses, body.encode(), headers, until)
            asked = asked_pause(status, answered, datetime.now(UTC))
        except (UrlRefused, NotSent) as problem:
            error = _printable(str(problem))[:LONGEST_ERROR]
        return Attempted(time.monotonic() - began, status, error, asked)

    def close(self) -> None:
        """Close the connection that is kept for the next message."""
        if self._connection is not None:
            self._connection.end()
            self._connection = None

    def _exchange(
        self, target: Target, addresses: list[Address], body: bytes, headers: Mapping[str, str], until: float
    ) -> tuple[int, dict[str, str]]:
        if self._may_go_on(target, addresses):
            with suppress(_LostConnection):  # the receiver has closed it meanwhile
                return self._over(target, body, headers, until)
        self.close()
        problem: NotSent = NotSent("there is no address")
        some = addresses[:MOST_ADDRESSES]
        for place, address in enumerate(some):
            # One that keeps silent leaves time for the others.
            now = time.monotonic()
            share = now + (until - now) / (len(some) - place)
            self._connection = self._new(target, address, share)
            self._target = target
            try:
                self._connect(share)
            except NotSent as one:
                problem = one
                self.close()
                continue
            return self._over(target, body, headers, until)
        raise problem

    def _may_go_on(self, target: Target, addresses: list[Address]) -> bool:
        kept = self._connection
        return (
            kept is not None
            and self._target is not None
            and (self._target.scheme, self._target.host, self._target.port) == (target.scheme, target.host, target.port)
            and kept.pinned in addresses
            and time.monotonic() - self._used < IDLE_SECONDS
            and kept.is_connected
        )

    def _new(self, target: Target, address: Address, until: float) -> Http | Https:
        connection: Http | Https
        if target.scheme == "https":
            connection = Https(
                target.host,
                target.port,
                ssl_context=self._context(),
                server_hostname=target.host,
            )
        else:
            connection = Http(target.host, target.port)
        connection.pinned, connection.until, connection.deadlines = address, until, self._deadlines
        return connection

    def _connect(self, until: float) -> None:
        assert self._connection is not None
        self._connection.timeout = max(0.001, until - time.monotonic())
        try:
            self._connection.connect()
        except (HTTPError, OSError, ValueError) as error:
            raise _why(error, until, "no connection") from None

    def _over(
        self, target: Target, body: bytes, headers: Mapping[str, str], until: float
    ) -> tuple[int, dict[str, str]]:
        connection = self._connection
        assert connection is not None
        handle = connection.handle
        assert handle is not None
        self._deadlines.add(handle, until)
        connection.sock.settimeout(max(0.001, until - time.monotonic()))
        try:
            connection.request(
                "POST",
                target.path,
                body=body,
                headers={"Host": target.host_header, "User-Agent": f"transaction-alerts/{VERSION}", **headers},
                preload_content=False,
                enforce_content_length=False,
            )
            answer = connection.getresponse()
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            was_cut = self._deadlines.has_cut(handle)
            self.close()
            if isinstance(error, _LOST) and not was_cut:
                raise _LostConnection(f"no answer: {_text(error)}") from None
            raise _why(error, until, "no answer") from None
        if self._deadlines.has_cut(handle):
            self.close()
            raise _why(EOFError("cut off"), until, "no answer")
        status, answered = int(answer.status), {name.lower(): value for name, value in answer.headers.items()}
        self._drain(answer, until)
        return status, answered

    def _drain(self, answer: Any, until: float) -> None:
        """Read the rest of a short answer, so that its connection can be used again; else close it."""
        connection = self._connection
        assert connection is not None
        handle = connection.handle
        assert handle is not None
        if connection.sock is not None:  # else the answer goes on until the connection ends
            self._deadlines.add(handle, min(until, time.monotonic() + DRAIN_SECONDS))
            left = MOST_READ + 1
            with suppress(HTTPError, http.client.HTTPException, OSError, ValueError):
                while left > 0 and (some := answer.read(left, decode_content=False)):
                    left -= len(some)
                if left > 0 and not self._deadlines.has_cut(handle):
                    self._deadlines.remove(handle)
                    self._used = time.monotonic()
                    return
        self.close()


def _why(error: Exception, until: float, what: str) -> NotSent:
    if time.monotonic() >= until - 0.01:
        return NotSent(f"{what} within {ATTEMPT_SECONDS:g} s")
    return NotSent(f"{what}: {_text(error)}")


def _printable(text: str) -> str:
    """A text that the database takes, and people can read, whatever of it came from the receiver."""
    return "".join(one if one.isprintable() else "?" for one in text.strip())


def _text(error: Exception) -> str:
    """What happened, without addresses of objects in memory."""
    if isinstance(error, SSLError) and error.args:
        return f"TLS: {getattr(error.args[0], 'verify_message', None) or error.args[0]}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
