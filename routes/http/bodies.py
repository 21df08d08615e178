"""Reading the body of a request: complete, unpacked, and never more bytes than a limit."""

import gzip
import io
import zlib

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from routes.http.problems import Problem

MAX_BODY = 64 * 1024  # bytes; a single event or user needs a few hundred


def read_body(limit: int = MAX_BODY, may_be_gzip: bool = False) -> bytes:
    """The body of the current request, unpacked if it came as gzip.

    Raises Problem: 415 for another Content-Encoding (including gzip, unless `may_be_gzip`), 400 if the body is cut
    short or its gzip is broken. Raises RequestEntityTooLarge (413) for more than `limit` bytes, packed or unpacked.
    """
    coding = request.content_encoding
    if coding is not None and not (may_be_gzip and coding.lower() == "gzip"):
        takes = "gzip, or be left out" if may_be_gzip else "left out: compressed bodies are not accepted here"
        raise Problem(415, f"The Content-Encoding must be {takes}.")
    body = _received(limit)
    return body if coding is None else _unpacked(body, limit)


def whole(body: bytes, length: int) -> bytes:
    """Returns `body`, which was announced as `length` bytes. Raises Problem 400 if it is shorter.

    When a caller hangs up, the server ends the body as if it were complete.
    """
    if len(body) < length:
        raise Problem(400, "The body is incomplete: it is shorter than its Content-Length.")
    return body


def _received(limit: int) -> bytes:
    # Without a Content-Length, reading stops at the maximum and does not show whether there is more, so allow one byte
    # more than the limit.
    request.max_content_length = limit + 1
    body = request.get_data(cache=False)
    if len(body) > limit:
        raise RequestEntityTooLarge
    return whole(body, request.content_length or 0)


def _unpacked(packed: bytes, limit: int) -> bytes:
    try:
        if not packed:
            raise EOFError  # gzip would take no bytes at all as an empty file
        with gzip.open(io.BytesIO(packed)) as file:
            body = file.read(limit + 1)  # unpacks no more than this, however much there is
    except (OSError, EOFError, zlib.error):
        raise Problem(400, "The body is not gzip, or it is broken or incomplete.") from None
    if len(body) > limit:
        raise RequestEntityTooLarge
    return body
