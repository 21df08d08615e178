"""People whom a proxy in front of the service has let in: it names them in a header, and is believed by its address."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from access.caller import Caller
from access.key_terms import read_name


class BadPerson(Exception):
    """The trusted proxy named somebody whose name cannot be one."""


class TrustedProxy:
    """Believes the header of this name in requests from these networks: who it names may do what `scopes` allow."""

    def __init__(self, header: str, networks: Sequence[IPv4Network | IPv6Network], scopes: Iterable[str]) -> None:
        self._header = "HTTP_" + header.upper().replace("-", "_")
        self._networks, self._scopes = tuple(networks), frozenset(scopes)

    def person(self, environ: Mapping[str, Any]) -> Caller | None:
        """Whom the WSGI request `environ` is from, if the proxy says so. Raises BadPerson."""
        name = environ.get(self._header)
        if name is None or not self._is_trusted(str(environ.get("REMOTE_ADDR", ""))):
            return None
        try:
            name = read_name(name.encode("latin-1").decode())
        except (ValueError, UnicodeError):
            raise BadPerson from None
        if "," in name:  # as two headers become one: the second may be the caller's own
            raise BadPerson
        return Caller(name, self._scopes)

    def _is_trusted(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)
