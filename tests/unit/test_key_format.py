"""The text of a key: what is one, and what cannot be."""

import string
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access.key_format import LENGTH, hash_key, make_key, read_key_id

DIGITS = string.digits + string.ascii_letters
# Made once by hand: the format must not change, or keys that were given out would be refused.
KNOWN = "tak_0AZaz09_" + "x" * 43
CHECKSUM_OF_KNOWN = "2pV2C8"


def test_a_new_key_reads_as_it_was_made() -> None:
    """Its length is fixed, and its id stands in it."""
    new = make_key()
    assert len(new.key) == LENGTH == 61
    assert new.key.startswith(f"tak_{new.key_id}_")
    assert read_key_id(new.key) == new.key_id
    assert hash_key(new.key) == sha256(new.key.encode()).digest()


def test_the_format_stays() -> None:
    """The checksum is CRC-32 in base 62, the most significant digit first, of all before it."""
    assert read_key_id(KNOWN + CHECKSUM_OF_KNOWN) == "0AZaz09"


def test_no_two_are_alike() -> None:
    """Neither their ids nor their secrets."""
    made = [make_key() for _ in range(500)]
    assert len({one.key_id for one in made}) == len({one.key[12:55] for one in made}) == 500


def test_each_other_character_is_refused() -> None:
    """Whatever one character is mistyped as, and wherever."""
    key = make_key().key
    for place, right in enumerate(key):
        for wrong in (*DIGITS, "_", "-", " ", "\n", "\0", "é", "\uff11", "\U0001f511"):
            if wrong != right:
                assert read_key_id(key[:place] + wrong + key[place + 1 :]) is None


def test_parts_and_more_are_refused() -> None:
    """A key that was cut off, or has something before or behind it."""
    key = make_key().key
    assert [read_key_id(key[:end]) for end in range(LENGTH)] == [None] * LENGTH
    assert [read_key_id(key[start:]) for start in range(1, LENGTH)] == [None] * (LENGTH - 1)
    for junk in ("", " ", "\n", "\r\n", "\0", "0", "é", "x" * 100_000):
        assert (read_key_id(key + junk), read_key_id(junk + key)) == ((key[4:11],) * 2 if not junk else (None, None))
    assert read_key_id(key.swapcase()) is None
    assert read_key_id(key * 2) is None


@pytest.mark.parametrize("digit", ["\u0661", "\uff11", "\u00b2", "\U0001d7d9"])
def test_digits_of_other_scripts_are_none(digit: str) -> None:
    """Python calls them digits too."""
    assert read_key_id("tak_" + digit * 7 + "_" + digit * 49) is None


@given(st.text(max_size=80))
def test_junk_is_no_key(text: str) -> None:
    """Any text is answered, and never with an error."""
    assert read_key_id(text) is None


@given(st.text(alphabet=DIGITS, min_size=56, max_size=56))
def test_what_only_looks_like_a_key_is_none(text: str) -> None:
    """One in four billion would do by chance."""
    assert read_key_id(f"tak_{text[:7]}_{text[7:]}") is None
