"""Sessions of people: Flask's signed cookie, which holds the id of a key and the number of its newest change.

Nothing is stored: a session ends when its key does, or is changed, and after LIFETIME at the latest.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flask import Flask, Request, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from itsdangerous import BadData
from werkzeug.http import parse_cookie

from access.keyring import Keyring, LivingKey
from routes.http.origins import names_loopback

LIFETIME = 12 * 3600  # seconds; a working day

# Browsers take a name that begins so only over TLS, for this host alone and all of its paths. On loopback there is no
# TLS, and nobody in between.
_ELSEWHERE, _ON_LOOPBACK = "__Host-transaction-alerts", "transaction-alerts"


def _is_on_loopback(environ: Mapping[str, Any]) -> bool:
    return names_loopback(str(environ.get("HTTP_HOST", "")).encode("latin-1"))


class HeldSession(NamedTuple):
    """What a session holds: the id of a key, the number of that key's newest change, and when the session ends."""

    key: str
    changed: int
    until: float  # seconds since 1970

    @classmethod
    def read(cls, found: object) -> "HeldSession | None":
        """What `found` holds; None for something else that was signed with the same secret, as by another release."""
        match found:
            case {"key": str(key), "changed": int(changed), "until": (int() | float()) as until}:
                now = time.time()
                return cls(key, changed, until) if now < until < now + 2 * LIFETIME else None  # twice: clocks differ
        return None


class HostCookies(SecureCookieSessionInterface):
    """Flask's sessions in a cookie for this host alone, which no other site's page makes a browser send along."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """The session of the request; an empty one if its cookies cannot be read, which must not be a defect."""
        try:
            return super().open_session(app, request)
        except (BadData, TypeError, ValueError):
            return self.session_class()

    def get_cookie_name(self, app: Flask) -> str:  # noqa: ARG002
        """The name of the cookie, as the current request's host has it."""
        return _ON_LOOPBACK if _is_on_loopback(request.environ) else _ELSEWHERE

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002
        """Whether the cookie may only be sent over TLS."""
        return not _is_on_loopback(request.environ)


class SignedSessions:
    """Reads the sessions that HostCookies writes, before Flask has the request."""

    def __init__(self, app: Flask, secret: str, fallbacks: Sequence[str]) -> None:
        app.config.update(
            SECRET_KEY=secret,
            SECRET_KEY_FALLBACKS=list(fallbacks),
            SESSION_COOKIE_HTTPONLY=True,
            SESSION_COOKIE_SAMESITE="Lax",
            SESSION_COOKIE_PATH="/",
            SESSION_REFRESH_EACH_REQUEST=False,  # or a session would last for as long as it is used
            PERMANENT_SESSION_LIFETIME=LIFETIME,
        )
        app.session_interface = cookies = HostCookies()
        self._serializer = cookies.get_signing_serializer(app)

    def key_of(self, environ: Mapping[str, Any], keyring: Keyring) -> LivingKey | None:
        """The living key of the session in the WSGI request `environ`, if there is one. Raises KeysUnknown."""
        cookie = environ.get("HTTP_COOKIE")
        if cookie is None or self._serializer is None:
            return None
        try:
            signed = parse_cookie(cookie).get(_ON_LOOPBACK if _is_on_loopback(environ) else _ELSEWHERE, "")
            found = self._serializer.loads(signed, max_age=LIFETIME)
        except (BadData, TypeError, ValueError):
            return None
        return _living_key(found, keyring)


def begin_session(key: LivingKey) -> None:
    """Have the answer to the current request begin a session with `key`."""
    until = time.time() + LIFETIME
    if key.expires_at is not None:
        until = min(until, key.expires_at.timestamp())
    session.clear()
    session.permanent = True
    session.update(HeldSession(key.key_id, key.changed, until)._asdict())


def end_session() -> None:
    """Have the answer to the current request end the session, if there is one."""
    session.clear()


def session_key(keyring: Keyring) -> LivingKey | None:
    """The living key of the session of the current request; None if it has none. Raises KeysUnknown."""
    return _living_key(dict(session), keyring)


def session_ends() -> float | None:
    """When the session of the current request ends, in seconds since 1970; None if it has none."""
    held = HeldSession.read(dict(session))
    return None if held is None else held.until


def _living_key(found: object, keyring: Keyring) -> LivingKey | None:
    held = HeldSession.read(found)
    if held is None:
        return None
    key = keyring.with_id(held.key)
    return key if key is not None and key.changed == held.changed else None
