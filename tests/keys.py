"""Keys for tests: made in the database, or a keyring that needs none."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from flask import Flask

from access.caller import SCOPES, Caller
from access.key_format import hash_key, make_key, read_key_id
from access.keyring import Keyring, LivingKey
from access.limits import KeyLimits
from app import create_app
from config_loader import load_settings
from database import keys
from routes.http.access import Access
from routes.http.origins import TrustedHosts
from tests.contract.helpers import Sessions
from tests.postgres import transaction

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


def add_key(
    sessions: Sessions,
    name: str = "Ada",
    scopes: Sequence[str] = SCOPES,
    expires_at: datetime | None = None,
    rate: str | None = None,
) -> str:
    """Store a new key and return it. An application that has just looked does not know it before `look`."""
    made = make_key()
    with transaction(sessions) as session:
        keys.lock_keys(session)
        keys.add_key(
            session,
            made.key_id,
            secret_hash=hash_key(made.key),
            name=name,
            scopes=list(scopes),
            rate=rate,
            expires_at=expires_at,
            created_by="test",
        )
    return made.key


def revoke_key(sessions: Sessions, key: str) -> None:
    """Revoke it in the database."""
    key_id = read_key_id(key)
    assert key_id is not None
    with transaction(sessions) as session:
        keys.lock_keys(session)
        keys.revoke_key(session, key_id)


def look(app: Flask) -> None:
    """Have an application know all keys that there are now."""
    Keyring.of(app.extensions).look()


def bearer(key: str) -> dict[str, str]:
    """The headers of a request with this key."""
    return {"Authorization": f"Bearer {key}"}


class NoKeys(Keyring):
    """A keyring that knows without a database that no key was ever made."""

    def __init__(self) -> None:
        """It has nothing to prepare."""

    @property
    def has_keys(self) -> bool:
        return False

    def find(self, presented: str) -> LivingKey | None:
        return None


def keep_open(app: Flask) -> None:
    """Have an application that may have no database let everybody in."""
    hosts = app.extensions.get("trusted-hosts") or TrustedHosts(())
    Access(NoKeys(), hosts, KeyLimits(), is_loopback=True, allow_anonymous=True).store_in(app.extensions)


class OneKey(NoKeys):
    """A keyring that knows one key, which may do everything and never ends."""

    def __init__(self) -> None:
        self.key = make_key().key
        name, scopes = "Ada", frozenset[str](SCOPES)
        self._living = LivingKey("0000000", name, scopes, 1, None, None, Caller(name, scopes, "0000000"))

    @property
    def has_keys(self) -> bool:
        return True

    def find(self, presented: str) -> LivingKey | None:
        return self._living if presented == self.key else None

    def count_use(self, key_id: str) -> None:
        """Nobody asks how often it was used."""


def keep_one_key(app: Flask) -> str:
    """Have an application let in the holder of one key, whatever becomes of those in its database. Returns the key."""
    keyring = OneKey()
    hosts = TrustedHosts.of(app.extensions)
    access = Access(keyring, hosts, KeyLimits(), is_loopback=True, allow_anonymous=False)
    access.store_in(app.extensions)
    return keyring.key


def app_without_database(**settings: Any) -> Flask:
    """An application that lets everybody in, whether its database is there or not; by default it is not."""
    app = create_app(load_settings(None, **({"database_url": NOWHERE} | settings)))
    keep_open(app)
    return app
