"""The living keys, in the memory of every process that answers requests.

Looking a key up in the database would cost every request a round trip. So each process keeps them all, and a thread
asks once a second, on a connection of its own, whether any key has changed. It fails closed: when the last look began
more than STALE seconds ago, because the database is away or hangs or this process did, nothing is known of any key, nor
whether there are any, and KeysUnknown is raised (a 503). Until its first look has succeeded a process knows nothing
either. So STALE seconds after a key was revoked no process anywhere accepts it: a later look has seen the revocation,
and an earlier one has become too old. What has revoked it answers only then (`wait_until_known`).
"""

import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from access.caller import Caller
from access.key_format import LENGTH, hash_key
from database import keys
from database.errors import cause, is_unfit
from database.session import make_asking_engine

INTERVAL = 1.0  # seconds from the beginning of one look to the next
STALE = 5.0  # seconds after which a look says nothing any more
TIMEOUT = 2.0  # seconds for a connection, and for each statement
CLOSING = 2.0  # seconds: the server soon kills what does not end

log = structlog.get_logger()

_KEY = "transaction-alerts keyring"
_LOOKING, _FLUSHING = "keys_not_read", "key_uses_not_stored"  # what failed, in the log
# A machine that sleeps stops its monotonic clock; this one goes on, where there is one (Linux).
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def seconds() -> float:
    """The time by which the age of a look is told."""
    return time.clock_gettime(_CLOCK)


class KeysUnknown(Exception):
    """It is not known which keys there are: the last look at them is too long ago.

    `is_unfit` is whether that stays so until somebody mends the database.
    """

    def __init__(self, *, is_unfit: bool = False) -> None:
        super().__init__()
        self.is_unfit = is_unfit


class LivingKey(NamedTuple):
    """A key that is neither revoked nor expired.

    `changed` is the number of its newest change, `rate` what it was given as one, such as "100/second", or None.
    """

    key_id: str
    name: str
    scopes: frozenset[str]
    changed: int
    rate: str | None
    expires_at: datetime | None
    caller: Caller


class Flushed(NamedTuple):
    """Uses of a key that were just stored: this process's since its last flush, and all there ever were, of all."""

    key_id: str
    ours: int
    requests: int


class _Trouble(NamedTuple):
    """What prevents a step of the keyring, and whether it stays so until somebody mends the database."""

    cause: str
    is_unfit: bool


class _Look(NamedTuple):
    """What was seen when the database was asked at `began`. `ahead` turns our clock into the database's."""

    began: float
    ahead: float
    newest: int | None
    by_hash: Mapping[bytes, LivingKey]
    by_id: Mapping[str, LivingKey]

    def lives(self, key: LivingKey, now: float) -> bool:
        return key.expires_at is None or now + self.ahead < key.expires_at.timestamp()


_NOTHING = _Look(float("-inf"), 0.0, None, {}, {})


class Keyring:
    """The keys in the database at `url` (a SQLAlchemy URL); any number of threads may ask it.

    Without `watch` whoever asks looks first if the last look is older than INTERVAL.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = make_asking_engine(url, "keys", timeout=TIMEOUT)
        self._look = _NOTHING
        self._known: int | None = None  # the newest change whose keys were read, if all of them were
        self._has_keys = False
        self._is_watched = False
        self._looking = threading.Lock()
        self._uses: dict[str, int] = {}
        self._counting = threading.Lock()
        self._when_flushed: Callable[[list[Flushed]], None] | None = None
        self._troubles: dict[str, _Trouble | None] = {}  # what prevented the last of each step
        self._thread: threading.Thread | None = None
        self._is_closed = threading.Event()

    def find(self, presented: str) -> LivingKey | None:
        """The living key that is `presented`, or None. Raises KeysUnknown."""
        # The checksum is not looked at: that would take twice as long as the hash.
        if len(presented) != LENGTH or not presented.isascii():
            return None
        look, now = self._fresh()
        key = look.by_hash.get(hash_key(presented))
        return key if key is not None and look.lives(key, now) else None

    def with_id(self, key_id: str) -> LivingKey | None:
        """The living key with this id, or None. Raises KeysUnknown."""
        look, now = self._fresh()
        key = look.by_id.get(key_id)
        return key if key is not None and look.lives(key, now) else None

    @property
    def has_keys(self) -> bool:
        """Whether any key was ever made, even if none lives: what was closed never opens by itself.

        Raises KeysUnknown.
        """
        if not self._has_keys:
            self._fresh()
        return self._has_keys

    def count_use(self, key_id: str) -> None:
        """Count a request with this key. It is stored about once a second."""
        with self._counting:
            self._uses[key_id] = self._uses.get(key_id, 0) + 1

    def when_flushed(self, do: Callable[[list[Flushed]], None]) -> None:
        """Have `do` called, in the thread that looks, whenever uses were stored."""
        self._when_flushed = do

    def watch(self) -> None:
        """Start the thread that looks once a second. Returns when it has looked, or failed to."""
        self._engine = make_asking_engine(self._url, "keys", timeout=TIMEOUT, keep=True)
        self._is_watched = True
        looked = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(looked,), name="keyring", daemon=True)
        self._thread.start()
        looked.wait(STALE)

    def close(self) -> None:
        """End that thread. It stores the uses that are left, if that takes no more than CLOSING seconds."""
        self._is_closed.set()
        if self._thread is not None:
            self._thread.join(CLOSING)

    def look(self) -> None:
        """Ask the database now. Raises SQLAlchemyError."""
        with self._looking:
            before, self._known = self._known, None  # if this fails, perhaps because another server takes over
            began = seconds()
            with self._engine.connect() as connection:
                newest, now = keys.newest_change(connection)
                # As if it had been read at once: keys rather expire a moment too early.
                seen = self._look._replace(began=began, ahead=now.timestamp() - began, newest=newest)
                if before is None or newest != before:
                    # What changes from here on is read as well, and once more at the next look.
                    seen = _read(connection, seen, before)
            self._has_keys = self._has_keys or newest is not None
            self._look, self._known = seen, newest

    def flush(self) -> None:
        """Store the uses that were counted. Raises SQLAlchemyError; then they stay counted."""
        with self._counting:
            uses, self._uses = self._uses, {}
        if not uses:
            return
        try:
            with self._engine.connect() as connection:
                stored = keys.add_uses(connection, uses)
        except BaseException:
            with self._counting:
                for key_id, times in uses.items():
                    self._uses[key_id] = self._uses.get(key_id, 0) + times
            raise
        if self._when_flushed is not None:
            self._when_flushed([Flushed(key_id, uses[key_id], requests) for key_id, requests in stored.items()])

    def forget(self) -> None:
        """Have the next question look, unless a thread does once a second: until then it can go on."""
        if not self._is_watched:
            self._look, self._known = _NOTHING, None

    def store_in(self, extensions: MutableMapping[str, Any]) -> None:
        """Put it where `of` finds it among the extensions of an application."""
        extensions[_KEY] = self

    @classmethod
    def of(cls, extensions: MutableMapping[str, Any]) -> "Keyring":
        """The keyring of the application with these extensions."""
        found = extensions[_KEY]
        assert isinstance(found, cls)
        return found

    def _fresh(self) -> tuple[_Look, float]:
        """The last look, and the time by the same clock."""
        look, now = self._look, seconds()
        if not self._is_watched and now - look.began > INTERVAL:
            self._ask()
            look, now = self._look, seconds()
        if now - look.began > STALE:
            trouble = self._troubles.get(_LOOKING)
            raise KeysUnknown(is_unfit=trouble is not None and trouble.is_unfit)
        return look, now

    def _watch(self, looked: threading.Event) -> None:
        while not self._is_closed.is_set():
            began = seconds()
            self._ask()
            looked.set()
            self._is_closed.wait(max(0.0, began + INTERVAL - seconds()))
        self._try(self.flush, _FLUSHING)
        self._engine.dispose()

    def _ask(self) -> None:
        self._try(self.look, _LOOKING)
        self._try(self.flush, _FLUSHING)

    def _try(self, step: Callable[[], None], failed: str) -> None:
        """Do it; whatever prevents it is logged when it begins and when it has ended: the next one may succeed."""
        trouble = None
        try:
            step()
        except SQLAlchemyError as error:
            trouble = _Trouble(cause(error), is_unfit(error))
        except Exception as error:
            trouble = _Trouble(type(error).__name__, is_unfit=False)
        if trouble != self._troubles.get(failed):
            self._troubles[failed] = trouble
            if trouble:
                log.warning(failed, cause=trouble.cause)
            else:
                log.info(f"{failed}_no_more")


def _read(connection: Connection, look: _Look, before: int | None) -> _Look:
    """The same with the keys of now: all of them, unless they were known up to the change `before`."""
    if before is None or look.newest is None or look.newest < before:
        living = {key.secret_hash: _living(key) for key in keys.living_keys(connection)}
    else:
        living = {hashed: key for hashed, key in look.by_hash.items() if look.lives(key, look.began)}
        for key in keys.changed_keys(connection, before):
            living[key.secret_hash] = _living(key)
            if not key.is_living:
                del living[key.secret_hash]
    return look._replace(by_hash=living, by_id={key.key_id: key for key in living.values()})


def _living(key: keys.HashedKey) -> LivingKey:
    scopes = frozenset(key.scopes)
    caller = Caller(key.name, scopes, key.key_id)
    return LivingKey(key.key_id, key.name, scopes, key.changed, key.rate, key.expires_at, caller)
