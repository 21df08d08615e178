"""What a request can be answered whatever its view says: by the doors, and by the bounds that all views share."""

from collections.abc import Iterator

from routes.http.access import (
    BAD_KEY,
    BAD_KEYS_FULL,
    BAD_PERSON,
    KEYS_UNKNOWN,
    NEEDS_KEY,
    NO_KEY,
    OVER_RATE,
    scope_needed,
)
from routes.http.heads import LARGE_HEADERS, LONG_URL, MANY_HEADERS
from routes.http.intake import LARGE_BODY
from routes.http.operation import Operation
from routes.http.origins import OTHER_ORIGIN, SAFE_METHODS, UNTRUSTED_HOST
from routes.http.paging import NO_QUERY
from routes.http.problems import (
    BODIES_FULL,
    DATABASE_READ_ONLY,
    DATABASE_UNFIT,
    DEFECT,
    LARGE_BODIES_FULL,
    LATE_BODY,
    METHOD_NOT_ALLOWED,
    OLD_HTTP,
    OUT_OF_MEMORY,
    READS_FULL,
    REQUESTS_FULL,
    STREAMS_FULL,
    Problem,
)


def problems_of(method: str, operation: Operation) -> Iterator[Problem]:
    """Examples of the errors that a call of `operation` by `method` can be answered, besides its own."""
    if operation.query is None:
        yield NO_QUERY
    yield UNTRUSTED_HOST
    if operation.needs != "nothing":
        yield from (NO_KEY, BAD_KEY, BAD_PERSON, NEEDS_KEY, OVER_RATE, BAD_KEYS_FULL, KEYS_UNKNOWN)
    if operation.needs not in ("any", "nothing"):
        yield scope_needed(operation.needs)
    if method not in SAFE_METHODS:
        yield OTHER_ORIGIN
    yield METHOD_NOT_ALLOWED
    if operation.body:
        yield LATE_BODY
    yield from (LONG_URL, MANY_HEADERS, LARGE_HEADERS, DEFECT)
    if operation.body:
        yield BODIES_FULL
    if operation.max_body > LARGE_BODY:
        yield LARGE_BODIES_FULL
    yield REQUESTS_FULL
    if method in SAFE_METHODS:
        yield READS_FULL
    if operation.streams:
        yield from (STREAMS_FULL, OLD_HTTP)
    yield OUT_OF_MEMORY
    yield DATABASE_UNFIT
    if method not in SAFE_METHODS:
        yield DATABASE_READ_ONLY
