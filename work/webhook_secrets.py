"""The secrets that sign messages to webhooks: made here, shown once, and stored encrypted.

The keys that encrypt them are derived from the setting SECRET_KEY, and from those that it had before, by HKDF with a
label of their own: what signs sessions and what encrypts these secrets are never the same bytes.
"""

import base64
import secrets
from collections.abc import MutableMapping, Sequence
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PREFIX = "whsec_"
SECRET_BYTES = 32  # Standard Webhooks asks for 24 to 64
LENGTH = len(PREFIX) + 4 * -(-SECRET_BYTES // 3)

_LABEL = b"transaction-alerts: secrets of webhooks, 1"
_KEY = "transaction-alerts webhook secrets"


class NoSecretKey(Exception):
    """Without the setting SECRET_KEY no secret can be stored, since no later start could read it."""


class SecretUnreadable(Exception):
    """A stored secret was encrypted with a SECRET_KEY that this process does not have; the text says so."""


class WebhookSecrets:
    """Makes secrets and reads stored ones. `secret_key` and `fallbacks` are SECRET_KEY and those that it had before."""

    def __init__(self, secret_key: str | None, fallbacks: Sequence[str] = ()) -> None:
        keys = [Fernet(_derived(one)) for one in (secret_key, *fallbacks) if one is not None]
        self._present = keys[0] if secret_key is not None else None
        self._any = MultiFernet(keys) if keys else None

    def store_in(self, extensions: MutableMapping[str, Any]) -> None:
        """Put it where `of` finds it among the extensions of an application."""
        extensions[_KEY] = self

    @classmethod
    def of(cls, extensions: MutableMapping[str, Any]) -> "WebhookSecrets":
        """The secrets of the application with these extensions."""
        found = extensions[_KEY]
        assert isinstance(found, cls)
        return found

    def new(self) -> tuple[str, bytes]:
        """A new random secret, as its receiver needs it, and as it is stored. Raises NoSecretKey."""
        if self._present is None:
            raise NoSecretKey
        secret = PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")
        return secret, self._present.encrypt(secret.encode("ascii"))

    def read(self, encrypted: bytes) -> str:
        """The secret that was stored so. Raises SecretUnreadable."""
        try:
            if self._any is not None:
                return self._any.decrypt(encrypted).decode("ascii")
        except InvalidToken:
            pass
        raise SecretUnreadable(
            "Its secret was stored with another SECRET_KEY: set that one again, or name it in SECRET_KEY_FALLBACKS, or "
            "rotate the secret."
        )

    def renewed(self, encrypted: bytes) -> bytes | None:
        """A stored secret encrypted with the present SECRET_KEY instead; None if it is already, or there is none.

        Raises SecretUnreadable.
        """
        secret = self.read(encrypted)
        if self._present is None:
            return None
        try:
            self._present.decrypt(encrypted)
        except InvalidToken:
            return self._present.encrypt(secret.encode("ascii"))
        return None


def _derived(secret_key: str) -> bytes:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_LABEL).derive(secret_key.encode())
    return base64.urlsafe_b64encode(key)
