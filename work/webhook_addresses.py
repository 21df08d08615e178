"""Which addresses webhooks may reach: public ones, and what WEBHOOK_ALLOW and WEBHOOK_ALLOW_PRIVATE add.

A URL is checked when it is entered, and what its host resolves to at each attempt. Sources: RFC 3986 for URLs; for
addresses the IPv4 and IPv6 Special-Purpose Address Registries of IANA.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_URL = 2048  # characters

PRIVATE = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))

# Where clouds tell a machine its secrets, as far as it is no special address anyway (169.254.169.254, 100.100.100.200,
# 192.0.0.192).
METADATA = tuple(map(ip_network, ("168.63.129.16/32", "fd00:c1::/32", "fd00:ec2::/32", "fd20:ce::/32", "fd00:42::/32")))

# Special purposes, and addresses for many at once. Also those that may be routed, such as 192.88.99.0/24: no receiver
# lives there.
_NOT_PUBLIC = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
# Of IPv6 only this is given out to anybody, and in it are holes: protocols (Teredo among them), examples, 6to4.
_ALLOTTED = IPv6Network("2000::/3")
_HOLES = tuple(
    map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3ffe::/16", "3fff::/20"))
)
# Addresses of IPv6 that lead to one of IPv4, and how many bits follow it.
_EMBEDDING = ((IPv6Network("64:ff9b::/96"), 0), (IPv6Network("64:ff9b:1::/48"), 0), (IPv6Network("2002::/16"), 80))

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[^\]]*\]|[^/?#:@\[\]]*)(?::(?P<port>[0-9]*))?(?P<target>(?:/[^?#]*)?(?:\?[^#]*)?)",
    re.IGNORECASE,
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# What other programs read as an address of IPv4: 127.1, 2130706433, 0x7f.1, 0177.0.0.1.
_NUMERIC = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")
_PORTS = {"http": 80, "https": 443}


class UrlRefused(Exception):
    """A webhook may not be sent there; `reason` says why, for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class AddressPolicy:
    """What may be reached besides public addresses.

    `allow` has hosts by their exact names (lower case, no dot at the end) and networks, `allow_private` is for the
    networks of PRIVATE.
    """

    allow: tuple[str | Network, ...] = ()
    allow_private: bool = False

    def names(self, host: str) -> bool:
        """Whether the host itself is allowed, wherever it leads."""
        return host in self.allow

    def is_allowed(self, address: Address) -> bool:
        """Whether an address may be reached: it is public, or allowed."""
        return is_public(address) or self.is_allowed_although_not_public(address)

    def is_allowed_although_not_public(self, address: Address) -> bool:
        """Whether settings allow an address; also a public one, if its network is named."""
        address = _unmapped(address)
        allowed = any(address in one for one in self.allow if not isinstance(one, str))
        if (embedded := _embedded(address)) is not None:
            return allowed and self.is_allowed(embedded)
        is_private = any(address in one for one in PRIVATE) and not any(address in one for one in METADATA)
        return allowed or (self.allow_private and is_private)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A URL that was checked, in parts.

    `host` is a name in lower case or an address without brackets; `path` is what a request names: path and query.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def address(self) -> Address | None:
        """The host, if it is an address."""
        return _address(self.host)

    @property
    def host_header(self) -> str:
        """The host as a request names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def is_public(address: Address) -> bool:
    """Whether anybody may have this address: no special purpose, and not for many at once."""
    address = _unmapped(address)
    if any(address in one for one in METADATA):
        return False
    if isinstance(address, IPv4Address):
        return not any(address in one for one in _NOT_PUBLIC)
    return address.scope_id is None and address in _ALLOTTED and not any(address in one for one in _HOLES)


def check_url(url: str, policy: AddressPolicy) -> Target:
    """Read the URL of a webhook. Raises UrlRefused if nothing may be sent there, as far as the URL alone tells.

    Plain http is only for what settings allow: where the way there is the public network, anybody on it could read.
    """
    target = _read(url)
    if policy.names(target.host):
        return target
    if target.address is not None:
        _check_address(target, target.address, policy)
    elif target.host == "localhost" or target.host.endswith(".localhost"):
        raise UrlRefused(f"{target.host} is this machine; WEBHOOK_ALLOW can allow it")
    elif target.scheme == "http" and not policy.allow_private and not any(not isinstance(o, str) for o in policy.allow):
        raise UrlRefused("the scheme must be https, unless settings allow the host or its address")
    return target


def check_addresses(target: Target, addresses: Iterable[Address], policy: AddressPolicy) -> None:
    """Raises UrlRefused unless a webhook may be sent to every one of the addresses that its host has now."""
    found = list(addresses)
    if not found:
        raise UrlRefused(f"{target.host} has no address")
    if not policy.names(target.host):
        for address in found:
            _check_address(target, address, policy)


def _check_address(target: Target, address: Address, policy: AddressPolicy) -> None:
    is_of = "" if target.host == str(address) else f"{target.host} has the address {address}: "
    if not policy.is_allowed(address):
        what = f"{address} is not a public address" if not is_of else "it is not public"
        raise UrlRefused(f"{is_of}{what}, and settings do not allow it")
    if target.scheme == "http" and not policy.is_allowed_although_not_public(address):
        raise UrlRefused(f"{is_of}the scheme must be https for a public address")


def _read(url: str) -> Target:
    if len(url) > LONGEST_URL:
        raise UrlRefused(f"longer than {LONGEST_URL} characters")
    if not url.isascii():
        raise UrlRefused("only ASCII: write the host as DNS knows it (xn--...), and the rest percent-encoded")
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise UrlRefused("no spaces, control characters or backslashes")
    if "#" in url:
        raise UrlRefused("no fragment (#...): it is never sent")
    authority = re.split(r"[/?]", url.partition("://")[2], maxsplit=1)[0]
    if "@" in authority:
        raise UrlRefused("no user or password: messages are signed instead")
    if (found := _URL.fullmatch(url)) is None:
        raise UrlRefused("must be a URL such as https://example.com/alerts")
    scheme, host, port, path = found["scheme"].lower(), found["host"].lower(), found["port"], found["target"]
    if not host:
        raise UrlRefused("must name a host")
    if port is not None and not (1 <= len(port) <= 5 and 1 <= int(port) <= 65535):
        raise UrlRefused("the port must be a number from 1 to 65535")
    return Target(
        scheme=scheme,
        host=_read_host(host),
        port=_PORTS[scheme] if port is None else int(port),
        path=path if path.startswith("/") else f"/{path}",
    )


def _read_host(host: str) -> str:
    """A host as it stands in a URL, in the one form that policies compare."""
    if host.startswith("["):
        try:
            address = IPv6Address(host[1:-1])
        except AddressValueError:
            raise UrlRefused(f"{host} is not an address") from None
        if address.scope_id is not None:
            raise UrlRefused("no zone in an address (%...)")
        return str(address)
    if host.endswith("."):
        raise UrlRefused("no dot at the end of the host")
    labels = host.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(host))
        except AddressValueError:
            raise UrlRefused(f"{host} is not an address: write all four numbers, such as 192.0.2.1") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlRefused(f"{host} is not the name of a host")
    return host


def _address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _unmapped(address: Address) -> Address:
    """The address of IPv4 in `::ffff:0:0/96`, which is the same to the system; else the address itself."""
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _embedded(address: Address) -> IPv4Address | None:
    """The address of IPv4 to which a translator takes this one of IPv6."""
    for network, behind in _EMBEDDING:
        if address in network:
            return IPv4Address(int(address) >> behind & 0xFFFFFFFF)
    return None
