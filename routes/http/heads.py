"""How much a request may say before its body: the bounds on its headers and its URL."""

from routes.http.problems import Problem
from routes.http.server_messages import Scope

# A browser behind two proxies sends about 30 headers of 2 KiB in all. Beyond 100 headers or 32 KiB the server itself
# answers 431, with no body (see commands/connections.py).
MAX_HEADERS = 64
MAX_HEAD = 16 * 1024  # bytes of all names and values together
MAX_URL = 8 * 1024  # bytes of path and query; so a query has at most a few thousand parameters


MANY_HEADERS = Problem(431, f"The request has more than {MAX_HEADERS} headers.")
LARGE_HEADERS = Problem(431, f"The headers of the request have more than {MAX_HEAD:,} bytes.")
LONG_URL = Problem(414, f"The URL has more than {MAX_URL:,} bytes.")


def check_head(scope: Scope) -> None:
    """Raises Problem: 431 for too many headers or too large ones, 414 for too long a URL."""
    headers = scope["headers"]
    if len(headers) > MAX_HEADERS:
        raise MANY_HEADERS.anew()
    if sum(len(name) + len(value) for name, value in headers) > MAX_HEAD:
        raise LARGE_HEADERS.anew()
    if len(scope["path"]) + len(scope["query_string"]) > MAX_URL:
        raise LONG_URL.anew()
