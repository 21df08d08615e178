"""Reading the body of a request: complete, unpacked, and never more bytes than a limit."""

import io
import zlib
from contextlib import suppress
from typing import Any

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from routes.http.problems import Problem

MAX_BODY = 64 * 1024  # bytes; a single event or user needs a few hundred

# A packed body may unpack to this many bytes, and further ones up to so many times its packed size. Events that differ
# in their times and ids alone pack by 16 to 120.
FREE, RATIO = 1024 * 1024, 200
MEMBERS = 1_000  # of one packed body; programs that write many use 64 KiB for each

_STRETCH = 64 * 1024  # bytes that are unpacked at a time
_GZIP = 31  # zlib's number for gzip with the largest window


def _too_large(limit: int) -> Problem:
    return Problem(413, f"The body has more than {limit:,} bytes.")


TOO_LARGE = _too_large(MAX_BODY)  # the example in the OpenAPI document


def read_body(limit: int = MAX_BODY, may_be_gzip: bool = False) -> bytes:
    """The body of the current request, unpacked if it came as gzip.

    Raises Problem: 415 for another Content-Encoding (including gzip, unless `may_be_gzip`), 400 if its gzip is broken,
    413 for more than `limit` bytes, packed or unpacked, and if it is gzip of more than `MEMBERS` members, or unpacks to
    more than `FREE` bytes and `RATIO` times its size.
    """
    coding = request.content_encoding
    if coding is not None and not (may_be_gzip and coding.lower() == "gzip"):
        takes = "gzip, or be left out" if may_be_gzip else "left out: compressed bodies are not accepted here"
        raise Problem(415, f"The Content-Encoding must be {takes}.")
    body = _received(limit)
    return body if coding is None else _unpacked(body, limit)


def _received(limit: int) -> bytes:
    # Without a Content-Length, reading stops at the maximum and does not show whether there is more, so allow one byte
    # more than the limit.
    request.max_content_length = limit + 1
    with suppress(RequestEntityTooLarge):
        body = request.get_data(cache=False)
        if len(body) <= limit:
            return body
    raise _too_large(limit)


def _unpacked(packed: bytes, limit: int) -> bytes:
    most = min(limit, FREE + RATIO * len(packed))
    try:
        body = _all_members(packed, most)
    except zlib.error:
        body = None
    if body is None:
        raise Problem(400, "The body is not gzip, or it is broken or incomplete.")
    if len(body) <= most:
        return body
    if most == limit:
        raise _too_large(limit)
    raise Problem(413, f"The body unpacks to more than {FREE:,} bytes plus {RATIO} times its packed size.")


def _all_members(packed: bytes, most: int) -> bytes | None:
    """What the gzip members in `packed` unpack to, but no more than `most` bytes and one; None if one is cut off.

    Raises zlib.error, and Problem 413 for too many members.
    """
    unpacked = io.BytesIO()
    at = members = 0
    member: Any = None
    while at < len(packed):
        some = packed[at : at + _STRETCH]
        if member is None:
            if members and not (rest := some.lstrip(b"\0")):
                at += len(some)  # some programs fill up the last block
                continue
            if members:
                at, some = at + len(some) - len(rest), rest
            members += 1
            if members > MEMBERS:
                raise Problem(413, f"The body has more than {MEMBERS:,} gzip members.")
            member = zlib.decompressobj(wbits=_GZIP)
        unpacked.write(member.decompress(some, most + 1 - unpacked.tell()))
        if unpacked.tell() > most:
            break
        at += len(some) - len(member.unused_data)
        if member.eof:
            member = None
    else:
        if member is not None or not members:
            return None
    return unpacked.getvalue()
