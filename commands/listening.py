"""The addresses that the service listens on."""

import errno
import os
import socket


class CannotListen(Exception):
    """Nothing can listen there; the message names the settings."""


def free_address(name: str, port: int, *, settings: str) -> str:
    """The numeric address of the host `name`, where nobody listens on `port` yet.

    `settings` begins the names of the two settings, as in BACKEND_HOST and BACKEND_PORT. Raises CannotListen.
    """
    # The server takes only numeric addresses, and would report "address in use" only after the database has started.
    try:
        _, _, _, _, place = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener(str(place[0]), port).close()
    except OSError as error:
        # Python's own text repeats the address; a name that is not found has no number of the system.
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror
        setting = f"{settings}_PORT" if error.errno == errno.EADDRINUSE else f"{settings}_HOST, {settings}_PORT"
        raise CannotListen(f"{setting}: cannot listen on {name}:{port}: {reason}") from None
    return str(place[0])


def listener(address: str, port: int) -> socket.socket:
    """A socket that listens on a numeric address. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family)
