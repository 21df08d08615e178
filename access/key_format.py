"""What a key looks like: `tak_`, 7 characters of id, `_`, 43 of secret, 6 of checksum; letters and digits of ASCII.

The checksum is no protection: it tells a key from what only looks like one, to whoever searches texts for keys that got
out, or types one in. A key is stored as the SHA-256 of all of it. A slow hash is for secrets that people choose. This
one has 256 random bits, which nobody can try out; a slow hash would take 0.2 s of a processor for every request with a
junk key.
"""

import re
import secrets
import string
import zlib
from hashlib import sha256
from typing import NamedTuple

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIX = "tak"
ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 7, 43, 6  # 62^43 is over 2^256, 62^6 over 2^32
LENGTH = len(PREFIX) + 1 + ID_LENGTH + 1 + SECRET_LENGTH + CHECKSUM_LENGTH
KEY_ID = f"[0-9A-Za-z]{{{ID_LENGTH}}}"
_FORM = re.compile(f"{PREFIX}_({KEY_ID})_[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}")


class NewKey(NamedTuple):
    """A key that was just made: its id, and all of it, which is shown once."""

    key_id: str
    key: str


def make_key() -> NewKey:
    """A new random key."""
    key_id = "".join(secrets.choice(_DIGITS) for _ in range(ID_LENGTH))
    secret = "".join(secrets.choice(_DIGITS) for _ in range(SECRET_LENGTH))
    start = f"{PREFIX}_{key_id}_{secret}"
    return NewKey(key_id, start + _checksum(start))


def read_key_id(key: str) -> str | None:
    """The id of a key, or None for text that cannot be one."""
    found = _FORM.fullmatch(key)
    if found is None or _checksum(key[:-CHECKSUM_LENGTH]) != key[-CHECKSUM_LENGTH:]:
        return None
    return found[1]


def hash_key(key: str) -> bytes:
    """What is stored of a key: 32 bytes."""
    return sha256(key.encode("ascii")).digest()


def _checksum(start: str) -> str:
    number, written = zlib.crc32(start.encode("ascii")), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_DIGITS))
        written = _DIGITS[digit] + written
    return written
