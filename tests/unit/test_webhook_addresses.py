"""Where webhooks may be sent: how URLs are read, and which addresses are public."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from work.webhook_addresses import (
    LONGEST_URL,
    AddressPolicy,
    Target,
    UrlRefused,
    check_addresses,
    check_url,
    is_public,
)

STRICT = AddressPolicy()
PRIVATE = AddressPolicy(allow_private=True)

# https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast (RFC 5771).
IPV4_BLOCKS = [
    *("0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32", "192.0.0.170/32"),
    *("192.0.0.171/32", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
    *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "255.255.255.255/32"),
    "224.0.0.0/4",
]
# https://www.iana.org/assignments/iana-ipv6-special-registry, multicast, and what was given back (site-local, 6bone).
IPV6_BLOCKS = [
    *("::1/128", "::/128", "::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64"),
    *("2001::/23", "2001::/32", "2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:2::/48", "2001:3::/32"),
    *("2001:4:112::/48", "2001:10::/28", "2001:20::/28", "2001:30::/28", "2001:db8::/32", "2002::/16"),
    *("2620:4f:8000::/48", "3ffe::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
]
PRIVATE_BLOCKS = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.com", ("https", "example.com", 443, "/")),
        ("https://example.com/", ("https", "example.com", 443, "/")),
        ("HTTPS://Example.COM:8443/A?b=C", ("https", "example.com", 8443, "/A?b=C")),
        ("https://example.com?a=/b@c:d", ("https", "example.com", 443, "/?a=/b@c:d")),
        ("https://xn--bcher-kva.example.org/", ("https", "xn--bcher-kva.example.org", 443, "/")),
        ("https://a_b.example.org/", ("https", "a_b.example.org", 443, "/")),
        ("https://8.8.8.8/", ("https", "8.8.8.8", 443, "/")),
        ("https://[2606:4700:0::1111]:444/", ("https", "2606:4700::1111", 444, "/")),
        ("https://[::ffff:8.8.8.8]/", ("https", "::ffff:8.8.8.8", 443, "/")),
        ("https://1.2.3.4.example.com/", ("https", "1.2.3.4.example.com", 443, "/")),
    ],
)
def test_urls(url: str, target: tuple[str, str, int, str]) -> None:
    """What is taken, and in which parts."""
    scheme, host, port, path = target
    read = check_url(url, STRICT)
    assert (read.scheme, ip_or_name(read.host), read.port, read.path) == (scheme, ip_or_name(host), port, path)


def ip_or_name(host: str) -> object:
    """Versions of Python write a mapped address in different ways."""
    try:
        return ip_address(host)
    except ValueError:
        return host


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "must be a URL"),
        ("example.com", "must be a URL"),
        ("//example.com/", "must be a URL"),
        ("ftp://example.com/", "must be a URL"),
        ("file:///etc/passwd", "must be a URL"),
        ("gopher://example.com/", "must be a URL"),
        ("https:example.com", "must be a URL"),
        ("https:/example.com", "must be a URL"),
        ("https://", "must name a host"),
        ("https:///path", "must name a host"),
        ("https://?query", "must name a host"),
        ("https://:443/", "must name a host"),
        ("https://user@example.com/", "no user"),
        ("https://user:word@example.com/", "no user"),
        ("https://example.com@127.0.0.1/", "no user"),
        ("https://@example.com/", "no user"),
        ("https://example.com/#part", "no fragment"),
        ("https://example.com#@127.0.0.1/", "no fragment"),
        ("https://example.com\\@127.0.0.1/", "no spaces"),
        ("https://exa mple.com/", "no spaces"),
        (" https://example.com/", "no spaces"),
        ("https://example.com/\r\nX-Injected:1", "no spaces"),
        ("https://exa\tmple.com/", "no spaces"),
        ("https://example.com/\x00", "no spaces"),
        ("https://example.com/\x7f", "no spaces"),
        ("https://example.com:/", "port"),
        ("https://example.com:0/", "port"),
        ("https://example.com:65536/", "port"),
        ("https://example.com:000000443/", "port"),
        ("https://example.com:443x/", "must be a URL"),
        ("https://example.com:-1/", "must be a URL"),
        ("https://example.com:80:80/", "must be a URL"),
        ("https://bücher.example/", "only ASCII"),
        ("https://①②⑦.⓪.⓪.①/", "only ASCII"),
        ("https://example。com/", "only ASCII"),
        ("https://example.com/ü", "only ASCII"),
        ("https://example.com./", "no dot at the end"),
        ("https://127.0.0.1./", "no dot at the end"),
        ("https://exa..mple.com/", "not the name"),
        ("https://.example.com/", "not the name"),
        ("https://-example.com/", "not the name"),
        ("https://example-.com/", "not the name"),
        ("https://exa%6dple.com/", "not the name"),
        ("https://exa*mple.com/", "not the name"),
        (f"https://{'a' * 64}.com/", "not the name"),
        (f"https://{'a.' * 127}com/", "not the name"),
        # What some programs take for an address: one, two or three numbers, octal, hexadecimal.
        ("https://2130706433/", "all four numbers"),
        ("https://127.1/", "all four numbers"),
        ("https://127.0.1/", "all four numbers"),
        ("https://0x7f.1/", "all four numbers"),
        ("https://0x7f000001/", "all four numbers"),
        ("https://0X7F.0.0.0x1/", "all four numbers"),
        ("https://0177.0.0.1/", "all four numbers"),
        ("https://127.0.0.01/", "all four numbers"),
        ("https://127.0.0.256/", "all four numbers"),
        ("https://1.2.3.4.5/", "all four numbers"),
        ("https://0/", "all four numbers"),
        ("https://0x/", "all four numbers"),
        ("https://example.0x7f/", "all four numbers"),
        ("https://[::1/", "must be a URL"),
        ("https://::1/", "must be a URL"),
        ("https://[]/", "is not an address"),
        ("https://[1.2.3.4]/", "is not an address"),
        ("https://[v1.x]/", "is not an address"),
        ("https://[example.com]/", "is not an address"),
        ("https://[fe80::1%eth0]/", "no zone"),
        ("https://[2606:4700::1111%251]/", "no zone"),
        ("https://[::1]x/", "must be a URL"),
        (f"https://example.com/{'a' * LONGEST_URL}", "longer than"),
        # Not public.
        ("https://localhost/", "this machine"),
        ("https://LOCALHOST:5000/", "this machine"),
        ("https://a.localhost/", "this machine"),
        ("https://127.0.0.1/", "not a public address"),
        ("https://127.255.255.254/", "not a public address"),
        ("https://10.0.0.1/", "not a public address"),
        ("https://169.254.169.254/latest/meta-data/", "not a public address"),
        ("https://[::1]/", "not a public address"),
        ("https://[::]/", "not a public address"),
        ("https://[::ffff:127.0.0.1]/", "not a public address"),
        ("https://[::ffff:7f00:1]/", "not a public address"),
        ("https://[0:0:0:0:0:ffff:a9fe:a9fe]/", "not a public address"),
        ("https://[::127.0.0.1]/", "not a public address"),
        ("https://[64:ff9b::7f00:1]/", "not a public address"),
        ("https://[64:ff9b::808:808]/", "not a public address"),
        ("https://[2002:7f00:1::]/", "not a public address"),
        ("https://[fd00:ec2::254]/", "not a public address"),
        # Anybody on the way could read it.
        ("http://example.com/", "must be https"),
        ("http://8.8.8.8/", "must be https"),
    ],
)
def test_refused_urls(url: str, reason: str) -> None:
    """What is not taken, and why."""
    with pytest.raises(UrlRefused, match=reason):
        check_url(url, STRICT)


@given(st.text(max_size=60) | st.from_regex(r"https?://[\x20-\x7e]{0,40}"))
def test_any_text_is_read_or_refused(url: str) -> None:
    """Nothing raises anything else, and what is read needs no escape in the first line of a request."""
    try:
        target = check_url(url, AddressPolicy(allow=("localhost", IPv4Network("0.0.0.0/0")), allow_private=True))
    except UrlRefused:
        return
    assert target.host == target.host.lower()
    assert set(target.host) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.:")
    assert all("!" <= letter <= "~" for letter in target.path)


@pytest.mark.parametrize(
    ("target", "header"),
    [
        (("https", "example.com", 443), "example.com"),
        (("https", "example.com", 80), "example.com:80"),
        (("http", "example.com", 80), "example.com"),
        (("https", "2606:4700::1111", 443), "[2606:4700::1111]"),
        (("https", "2606:4700::1111", 8443), "[2606:4700::1111]:8443"),
    ],
)
def test_host_header(target: tuple[str, str, int], header: str) -> None:
    """The port only where it is not the scheme's own, brackets around an address of IPv6."""
    scheme, host, port = target
    assert Target(scheme=scheme, host=host, port=port, path="/").host_header == header


@pytest.mark.parametrize("block", IPV4_BLOCKS)
def test_special_blocks_of_ipv4(block: str) -> None:
    """Their first, last and middle address is refused, also as IPv6 writes it."""
    network = IPv4Network(block)
    for address in (network[0], network[-1], network[network.num_addresses // 2]):
        assert not STRICT.is_allowed(address)
        assert not STRICT.is_allowed(IPv6Address(f"::ffff:{address}"))
        assert AddressPolicy(allow=(network,)).is_allowed(address)
        assert AddressPolicy(allow=(network,)).is_allowed(IPv6Address(f"::ffff:{address}"))


@pytest.mark.parametrize("block", IPV6_BLOCKS)
def test_special_blocks_of_ipv6(block: str) -> None:
    """Their first, last and middle address is refused."""
    network = IPv6Network(block)
    for address in (network[0], network[-1], network[network.num_addresses // 2]):
        assert not STRICT.is_allowed(address)


@given(st.data())
def test_special_addresses(data: st.DataObject) -> None:
    """No address of a special block is allowed by itself; private ones by the setting for them, and no others."""
    network = ip_network(data.draw(st.sampled_from(IPV4_BLOCKS + IPV6_BLOCKS)))
    address = network[data.draw(st.integers(0, network.num_addresses - 1))]
    assert not is_public(address)
    assert not STRICT.is_allowed(address)
    is_private = any(address in ip_network(one) for one in PRIVATE_BLOCKS)
    assert PRIVATE.is_allowed(address) <= is_private


@given(st.ip_addresses(v=4))
def test_ipv4_agrees_with_python(address: IPv4Address) -> None:
    """What Python's own tables do not call global is never public."""
    assert is_public(address) <= (address.is_global and not address.is_multicast)


@given(st.ip_addresses(v=6))
def test_ipv6_agrees_with_python(address: IPv6Address) -> None:
    """What Python's own tables do not call global is never public, and nothing is outside 2000::/3."""
    if address.ipv4_mapped is None:
        assert is_public(address) <= (address.is_global and address in IPv6Network("2000::/3"))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "223.255.255.255",
        "2001:200::1",
        "2001:db7:ffff::1",
        "2001:4860:4860::8888",
        "2606:4700::1111",
        "2a00::1",
        "2c0f::1",
        "::ffff:8.8.8.8",
    ],
)
def test_public_addresses(address: str) -> None:
    """Also right beside special blocks."""
    assert STRICT.is_allowed(ip_address(address))


@pytest.mark.parametrize("address", ["10.1.2.3", "172.31.0.1", "192.168.0.1", "fd12::1", "::ffff:10.1.2.3"])
def test_private_addresses(address: str) -> None:
    """They are allowed by their own setting, also in plain http, or by their network."""
    read = ip_address(address)
    assert not STRICT.is_allowed(read)
    assert PRIVATE.is_allowed(read)
    host = f"[{address}]" if read.version == 6 else address
    assert check_url(f"http://{host}:8080/", PRIVATE).port == 8080


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16", "224.0.0.1"),
        *("fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fe80::1", "::1", "ff02::1", "64:ff9b::a00:1"),
    ],
)
def test_private_does_not_mean_those(address: str) -> None:
    """Loopback, link-local, carriers' own, and where clouds keep secrets, need WEBHOOK_ALLOW."""
    read = ip_address(address)
    assert not PRIVATE.is_allowed(read)
    assert not is_public(read)


def test_zones() -> None:
    """An address that holds on one of the machine's networks alone is not public."""
    assert not is_public(IPv6Address("2606:4700::1111%eth0"))


def test_translated_addresses() -> None:
    """Where a translator is allowed, what it leads to is judged as well."""
    nat64 = AddressPolicy(allow=(IPv6Network("64:ff9b::/96"), IPv6Network("2002::/16")))
    assert nat64.is_allowed(IPv6Address("64:ff9b::8.8.8.8"))
    assert nat64.is_allowed(IPv6Address("2002:808:808::1"))
    for bad in ("64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::10.0.0.1", "2002:7f00:1::1"):
        assert not nat64.is_allowed(IPv6Address(bad))
    both = AddressPolicy(allow=(IPv6Network("64:ff9b::/96"),), allow_private=True)
    assert both.is_allowed(IPv6Address("64:ff9b::10.0.0.1"))


def addresses(*texts: str) -> list[IPv4Address | IPv6Address]:
    """Addresses as a resolver finds them."""
    return [ip_address(text) for text in texts]


def test_what_a_name_leads_to() -> None:
    """All of its addresses must be allowed, and there must be one."""
    target = check_url("https://example.com/", STRICT)
    check_addresses(target, addresses("8.8.8.8", "2606:4700::1111"), STRICT)
    with pytest.raises(UrlRefused, match=r"example\.com has the address 127\.0\.0\.1: it is not public"):
        check_addresses(target, addresses("8.8.8.8", "127.0.0.1"), STRICT)
    with pytest.raises(UrlRefused, match="has no address"):
        check_addresses(target, [], STRICT)


def test_a_host_that_is_allowed_by_name() -> None:
    """It may lead anywhere, in plain http too; only the exact name counts."""
    policy = AddressPolicy(allow=("localhost", "alerts.internal"))
    for name in policy.allow:
        target = check_url(f"http://{name}:8080/", policy)
        check_addresses(target, addresses("127.0.0.1", "10.0.0.1"), policy)
    for other in ("http://a.alerts.internal/", "http://127.0.0.1/", "https://a.localhost/"):
        with pytest.raises(UrlRefused):
            check_url(other, policy)


def test_plain_http_to_an_allowed_network() -> None:
    """A name may turn out to be in it, which its addresses tell; a public one may not."""
    for policy in (AddressPolicy(allow=(IPv4Network("127.0.0.0/8"),)), AddressPolicy(allow_private=True)):
        target = check_url("http://alerts.internal/", policy)
        with pytest.raises(UrlRefused, match="must be https"):
            check_addresses(target, addresses("8.8.8.8"), policy)
        inside = "127.0.0.1" if policy.allow else "192.168.1.1"
        check_addresses(target, addresses(inside), policy)
        assert check_url(f"http://{inside}/", policy).host == inside
        with pytest.raises(UrlRefused, match="must be https"):
            check_addresses(target, addresses(inside, "8.8.8.8"), policy)
