"""Which requests are answered at all: those for a host that this service goes by, at a path that it has, as written.

A web page can make its reader's browser call any address. It cannot choose the `Host` (a page that has its own name
point here sends that name) or hide where it comes from (`Origin`, `Sec-Fetch-Site`).
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from routes.http.problems import Problem

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# What asks whether the service is alive (a load balancer, an orchestrator) often names it by its address, or not at
# all. Nobody can have an address point elsewhere, so these two are answered then.
HEALTH_PATHS = ("/healthz", "/readyz")

UNTRUSTED_HOST = Problem(
    403, "The service is not known by this Host: name it in the setting TRUSTED_HOSTS.", kind="untrusted-host"
)
OTHER_ORIGIN = Problem(403, "A web page of another origin cannot change anything here.", kind="other-origin")

REMEMBERED = 256  # hosts, trusted or not: a caller can send any number

_KEY = "trusted-hosts"
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(:[0-9]{0,5})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_IN_A_PATH = "/!$&'()*+,;=:@"  # what stands in a path as it is (RFC 3986), besides letters, digits and -._~


class TrustedHosts:
    """The names that the service goes by: those of loopback, and `names` (without ports)."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {"localhost", *(host_name(f"[{name}]" if _is_bare(name) else name) for name in names)}
        self.trusts = lru_cache(maxsize=REMEMBERED)(self._trusts)
        self.names_loopback = lru_cache(maxsize=REMEMBERED)(names_loopback)

    def _trusts(self, host: bytes) -> bool:
        """Whether a `Host` header names the service."""
        name = host_name(host.decode("latin-1"))
        return name is not None and (name in self._names or names_loopback(host))

    def must_trust(self, environ: Mapping[str, Any]) -> None:
        """Raise Problem 403 if the WSGI request `environ` is for another host."""
        host = str(environ.get("HTTP_HOST", ""))
        if self.trusts(host.encode("latin-1")):
            return
        if not (is_no_name(host) and environ.get("PATH_INFO") in HEALTH_PATHS):
            raise UNTRUSTED_HOST.anew()

    def store_in(self, extensions: dict[str, Any]) -> None:
        """Put it where `of` finds it among the extensions of an application."""
        extensions[_KEY] = self

    @classmethod
    def of(cls, extensions: Mapping[str, Any]) -> "TrustedHosts":
        """The trusted hosts of the application with these extensions."""
        found = extensions[_KEY]
        assert isinstance(found, cls)
        return found


def host_name(host: str) -> str | None:
    """The name or address in `host` (perhaps with a port), in the form that is compared; None if it is none."""
    match = _HOST.fullmatch(host)
    if match is None:
        return None
    name = match[1].lower().removesuffix(".")
    address = _address(name.strip("[]"))
    if name.startswith("[") and (address is None or address.version == 4):
        return None
    return name if address is None else str(address)


def is_no_name(host: str) -> bool:
    """Whether a `Host` header is an address, or is not there."""
    name = host_name(host)
    return not host or (name is not None and _address(name) is not None)


def must_be_of_own_page(environ: Mapping[str, Any], *, or_of_none: bool) -> None:
    """Raise Problem 403 if the WSGI request `environ` changes something and comes from a page of another origin.

    `or_of_none`: whether it may also come from a program, which does not say where from. Any browser says it.
    """
    if environ["REQUEST_METHOD"] in SAFE_METHODS:
        return
    is_said = "HTTP_SEC_FETCH_SITE" in environ or "HTTP_ORIGIN" in environ
    if not (_is_own(environ, str(environ.get("HTTP_HOST", ""))) and (is_said or or_of_none)):
        raise OTHER_ORIGIN.anew()


def is_as_written(environ: Mapping[str, Any]) -> bool:
    """Whether the path of the WSGI request `environ` was sent in its one plain form; not, say, as `/%6detrics`."""
    raw = str(environ.get("REQUEST_URI", "")).partition("?")[0]
    if raw.startswith("//") or str(environ.get("PATH_INFO", "")).startswith("//"):
        return False  # Werkzeug would take away all slashes but one
    return "%" not in raw or raw == quote(unquote_to_bytes(raw.encode("latin-1")), safe=_IN_A_PATH)


def _is_bare(name: str) -> bool:
    return ":" in name and not name.startswith("[")  # an IPv6 address as a setting may have it


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def names_loopback(host: bytes) -> bool:
    """Whether a `Host` header is a name or an address of loopback."""
    name = host_name(host.decode("latin-1"))
    address = _address(name or "")
    return name == "localhost" or (address is not None and address.is_loopback)


def _is_own(environ: Mapping[str, Any], host: str) -> bool:
    if environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("same-origin", "none"):
        return False
    origin = environ.get("HTTP_ORIGIN")
    if origin is None:  # no browser, or an old one that sends no JSON for a page of elsewhere
        return True
    scheme, _, place = str(origin).lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    # The scheme is not compared: behind a proxy the service does not know its own.
    return port is not None and place.removesuffix(port) == host.lower().removesuffix(port)
