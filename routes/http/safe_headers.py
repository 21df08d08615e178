"""The headers on every answer that keep browsers from doing more with it than its reader meant."""

from flask import Response

# The server adds its own name where an answer has no `Server`, so all of them have one that says nothing.
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Server": "",
}
AS_BYTES = [(name.lower().encode(), value.encode()) for name, value in _ALWAYS.items()]

# The document's page loads from and sends to this host alone. It uses inline styles and data: images.
PAGE_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)

# Pages of our own need nothing but what this host serves. Not 'none' for the rest: Firefox judges the parts of an SVG
# sprite by it.
STRICT_PAGE_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; object-src 'none'; frame-src 'none'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def add_to(response: Response) -> None:
    """Add them, except for those that `response` has already.

    What has an ETag may be kept by its reader alone, to be asked about each time.
    """
    if "ETag" in response.headers:
        response.headers.setdefault("Cache-Control", "private, no-cache")
    for name, value in _ALWAYS.items():
        response.headers.setdefault(name, value)
