"""Ends connections whose callers do not read their answers (Linux only).

The server writes an answer as fast as its caller reads, and would wait for ever. What is not read yet fills the
system's memory and the worker's, and an answer in pieces holds a thread. The system knows how many bytes each
connection could not send yet, so a thread in each worker asks it from time to time.
"""

import fcntl
import os
import socket
import stat
import struct
import sys
import termios
import threading
import time

INTERVAL = 15.0  # seconds from one look to the next
# The bytes that a caller must have taken from one look to the next, while more are waiting: about 2 KiB per second. It
# has twice the interval at most.
FEWEST_BYTES = 32 * 1024

# Of struct tcp_info in linux/tcp.h: tcpi_bytes_acked (64 bits), and tcpi_notsent_bytes (32 bits).
_TCP_INFO = struct.Struct("=120xQ16xI")


def watch(port: int) -> None:
    """Start a thread that ends connections to this process's `port` whose callers hardly read."""
    if sys.platform == "linux":
        threading.Thread(target=_watch, args=(port,), daemon=True, name="slow readers").start()


def _watch(port: int) -> None:
    seen: dict[int, int] = {}
    while True:
        time.sleep(INTERVAL)
        seen = end_slow(port, seen)


def end_slow(port: int, seen: dict[int, int]) -> dict[int, int]:
    """End each connection to `port` that waits since the last look, and has got on by less than FEWEST_BYTES.

    `seen` is what the last look has returned: by inode, the bytes that the caller had taken of each that waits.
    """
    waiting = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            # Nearly all have nothing to send, so this one call is all they cost.
            if not any(fcntl.ioctl(int(number), termios.TIOCOUTQ, bytes(4))):
                continue
            if not stat.S_ISSOCK(os.stat(int(number)).st_mode):  # a terminal
                continue
            inode, taken = _look(int(number), port, seen)
        except OSError:  # closed meanwhile, or no connection
            continue
        if taken is not None:
            waiting[inode] = taken
    return waiting


def _look(number: int, port: int, seen: dict[int, int]) -> tuple[int, int | None]:
    """The inode of this process's file `number`, and the bytes that its caller has taken; None: it does not wait."""
    # A copy stays what it is, even if the server closes the file meanwhile and opens another under its number.
    with socket.socket(fileno=os.dup(number)) as connection:
        inode = os.fstat(connection.fileno()).st_ino
        if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.getsockname()[1] != port:
            return inode, None
        taken, unsent = _TCP_INFO.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
        if not unsent:
            return inode, None
        if inode in seen and taken - seen[inode] < FEWEST_BYTES:
            connection.shutdown(socket.SHUT_RDWR)  # the server then finds it closed, and forgets it
            return inode, None
        return inode, taken
