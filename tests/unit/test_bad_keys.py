"""Bad keys by address."""

import pytest

from access import bad_keys
from access.bad_keys import MOST, WINDOW, BadKeys


def counted(keys: BadKeys, address: str, times: int = MOST) -> int:
    """What is said to the last of so many bad keys."""
    return [keys.count(address) for _ in range(times)][-1]


def test_too_many_bad_keys_of_an_address() -> None:
    """Beyond the bound it is said how long to wait; another address is not affected; the next minute begins anew."""
    now = 7.0
    keys = BadKeys(lambda: now)
    assert counted(keys, "192.0.2.1") == 0
    now += 20
    assert keys.count("192.0.2.1") == WINDOW - 20
    assert keys.count("192.0.2.2") == 0
    now += WINDOW - 21.4
    assert keys.count("192.0.2.1") == 2  # whole seconds, after which there may be more: 1 would be too soon
    now += 1.4
    assert keys.count("192.0.2.1") == 0


@pytest.mark.parametrize(
    ("address", "other", "are_one"),
    [
        ("2001:db8::1", "2001:db8:0:0:ffff::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("odd:", "odd:", True),
        ("", "", True),
    ],
)
def test_what_counts_as_one_address(address: str, other: str, are_one: bool) -> None:
    """A network of IPv6 is one, since whoever has an address there has all of them."""
    keys = BadKeys(lambda: 0.0)
    counted(keys, address)
    assert bool(keys.count(other)) == are_one


def test_more_addresses_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was quiet for longest is forgotten; one that goes on is not."""
    monkeypatch.setattr(bad_keys, "REMEMBERED", 3)
    keys = BadKeys(lambda: 0.0)
    counted(keys, "busy")
    counted(keys, "quiet")
    for number in range(10):
        assert keys.count("busy") > 0
        keys.count(f"other {number}")
        assert len(keys._counts) <= 3
    assert keys.count("quiet") == 0
