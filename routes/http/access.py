"""Who makes a request, and whether that caller may make it: found by its head alone, for both doors."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from flask import g

from access import bad_keys
from access.bad_keys import BadKeys
from access.caller import EVERYBODY, NOBODY, Caller, Needs
from access.keyring import Keyring, KeysUnknown, LivingKey
from access.limits import KeyLimits
from access.rates import Quota, Rate
from routes.http.operation import needs_of
from routes.http.origins import TrustedHosts, must_be_of_own_page
from routes.http.pages import SignInFirst, is_for_part, prefers_page
from routes.http.problems import DATABASE_UNFIT, Problem
from routes.http.proxies import BadPerson, TrustedProxy
from routes.http.sessions import SignedSessions
from rules.payload import BadPayload, FieldProblem

# Where the bridge puts the caller for Flask: no header makes a name like this in a WSGI environ.
CALLER = "transaction-alerts.caller"

_KEY = "access"
_CHALLENGE = 'Bearer realm="transaction-alerts"'

NO_KEY = Problem(
    401,
    "A key is needed: send it as Authorization: Bearer tak_...",
    kind="no-key",
    headers={"WWW-Authenticate": _CHALLENGE},
)
BAD_KEY = Problem(
    401,
    "There is no such key, or it was revoked or has expired.",
    kind="bad-key",
    headers={"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'},
)
BAD_PERSON = Problem(
    401,
    "The proxy has named somebody whose name cannot be that of a caller.",
    kind="bad-person",
    headers={"WWW-Authenticate": _CHALLENGE},
)
NEEDS_KEY = Problem(
    403,
    "Until a key is made, only callers on this machine that use a name of loopback are answered. To make one: "
    "flask --app app keys create NAME --scope admin",
    kind="needs-key",
)
KEYS_UNKNOWN = Problem(
    503, "The database is unavailable, so nobody knows which keys hold; nothing was stored. Try again.", "keys-unknown"
)


def scope_needed(scope: Needs | None) -> Problem:
    """The answer to a caller who lacks this scope; None: a call that nobody may make."""
    detail = f"This call needs a key with the scope {scope}." if scope else "Nobody may make this call."
    return Problem(403, detail, kind="scope")


def too_many_bad_keys(seconds: int) -> Problem:
    """The answer to one more bad key from an address, for so many seconds."""
    detail = "Too many bad keys came from this address. A good one is let in at once."
    return Problem(429, detail, kind="bad-keys", headers={"Retry-After": str(seconds)})


def over_rate(quota: Quota) -> Problem:
    """The answer to a key that has made as many requests as it may."""
    requests, seconds = quota.rate
    return Problem(
        429,
        f"This key may make {requests:,} requests in {seconds} s, and has; nothing was stored. Try again later.",
        kind="rate",
        headers={"Retry-After": str(quota.seconds)} | quota.headers(),
    )


OVER_RATE = over_rate(Quota(may=False, rate=Rate(100, 1), left=0, seconds=1))
BAD_KEYS_FULL = too_many_bad_keys(bad_keys.WINDOW)


class Access:
    """Says who makes a request, and whether that caller may; one per application.

    `is_loopback` is whether the service listens on a loopback address: as long as no key was ever made, it is then open
    to callers that use a name of loopback. `allow_anonymous` opens it to all callers until then. `limits` counts the
    requests of keys. People come with `sessions`, or through a `proxy`.
    """

    def __init__(
        self,
        keyring: Keyring,
        hosts: TrustedHosts,
        limits: KeyLimits,
        *,
        is_loopback: bool,
        allow_anonymous: bool,
        sessions: SignedSessions | None = None,
        proxy: TrustedProxy | None = None,
    ) -> None:
        self._sessions, self._proxy = sessions, proxy
        self._keyring, self._hosts, self._limits = keyring, hosts, limits
        self._bad_keys = BadKeys()
        self._is_loopback, self._allow_anonymous = is_loopback, allow_anonymous

    def admit(self, environ: Mapping[str, Any], view: object | None) -> Caller:
        """Who makes the WSGI request `environ`, which `view` would answer; None: nothing is found at its path.

        Raises Problem: 403 for a host or an origin that is not trusted, and for too few scopes, 401 without a key or
        with a bad one, 429 beyond the rate of the key or after too many bad ones, and 503 while it is unknown which
        keys hold.
        """
        self._hosts.must_trust(environ)
        needs = "any" if view is None else needs_of(view, environ.get("QUERY_STRING", ""))
        if environ["REQUEST_METHOD"] == "OPTIONS" and needs not in ("nothing", None):
            needs = "any"  # it says which methods a path has, and whichever of its views is found first answers
        if needs == "nothing":
            must_be_of_own_page(environ, or_of_none=True)
            return NOBODY
        try:
            person = self._person(environ)
            found = person or self._program(environ)
        except KeysUnknown as unknown:
            raise _keys_unknown(unknown) from None
        # What a browser sends by itself says nothing of who made it do so.
        must_be_of_own_page(environ, or_of_none=person is None)
        if needs is None or not found.may(needs):
            raise _to(found, scope_needed(needs))
        return found

    def admit_plain(self, headers: Mapping[bytes, bytes]) -> Caller | None:
        """Who posts an event with these headers, as they came; None if another door has to say that, or to refuse."""
        authorization = headers.get(b"authorization")
        try:
            if authorization is None:
                return EVERYBODY if b"cookie" not in headers and self._is_open(headers[b"host"]) else None
            key = self._keyring.find(_presented(authorization.decode("latin-1")))
        except KeysUnknown:
            return None
        if key is None or "ingest" not in key.scopes:
            return None
        quota = self._limits.take(key.key_id, key.rate)
        if quota is not None and not quota.may:
            return None
        self._keyring.count_use(key.key_id)
        return _holds(key, quota)

    def _person(self, environ: Mapping[str, Any]) -> Caller | None:
        """Who is signed in, or was let in by the proxy. A request with `Authorization` is never looked at for that."""
        if "HTTP_AUTHORIZATION" in environ:
            return None
        if self._sessions is not None and (key := self._sessions.key_of(environ, self._keyring)) is not None:
            return self._counted(key)
        try:
            return self._proxy.person(environ) if self._proxy is not None else None
        except BadPerson:
            raise BAD_PERSON.anew() from None

    def _program(self, environ: Mapping[str, Any]) -> Caller:
        authorization = environ.get("HTTP_AUTHORIZATION")
        if authorization is not None:
            return self._counted(self._living(_presented(authorization), environ))
        # Another server than our own (`flask run --host`) may listen elsewhere than the settings say.
        is_near = self._allow_anonymous or self._is_of_this_machine(environ)
        if is_near and self._is_open(str(environ.get("HTTP_HOST", "")).encode("latin-1")):
            return EVERYBODY
        if self._is_loopback and self._proxy is None and not self._keyring.has_keys:
            raise NEEDS_KEY.anew()
        is_page = environ["REQUEST_METHOD"] == "GET" and not is_for_part(environ)
        if is_page and prefers_page(environ.get("HTTP_ACCEPT", "")):
            raise SignInFirst(environ)
        raise NO_KEY.anew()

    def _living(self, presented: str, environ: Mapping[str, Any]) -> LivingKey:
        """The living key that somebody presents. Raises Problem 401 if it is none, and 429 after too many bad ones."""
        key = self._keyring.find(presented)
        if key is None:
            seconds = self._bad_keys.count(environ.get("REMOTE_ADDR", ""))
            raise too_many_bad_keys(seconds) if seconds else BAD_KEY.anew()
        return key

    def signed_in(self, presented: str, environ: Mapping[str, Any]) -> LivingKey:
        """The living key with which somebody signs in, which counts as a request with it.

        Raises Problem: 401 if there is none, 429 beyond its rate or after too many bad ones, and 503 while it is
        unknown which keys hold.
        """
        try:
            key = self._living(presented, environ)
        except KeysUnknown as unknown:
            raise _keys_unknown(unknown) from None
        self._counted(key)
        return key

    def _counted(self, key: LivingKey) -> Caller:
        """Who holds the key; counts one more request with it. Raises Problem 429 if it has made all that it may."""
        self._keyring.count_use(key.key_id)
        quota = self._limits.take(key.key_id, key.rate)
        if quota is not None and not quota.may:
            raise _to(key.caller, over_rate(quota))
        return _holds(key, quota)

    def _is_open(self, host: bytes) -> bool:
        if self._keyring.has_keys or self._proxy is not None:
            return False
        return self._allow_anonymous or (self._is_loopback and self._hosts.names_loopback(host))

    def _is_of_this_machine(self, environ: Mapping[str, Any]) -> bool:
        peer = str(environ.get("REMOTE_ADDR", ""))
        return self._hosts.names_loopback((f"[{peer}]" if ":" in peer else peer).encode("latin-1", "replace"))

    def store_in(self, extensions: MutableMapping[str, Any]) -> None:
        """Put it where `of` finds it among the extensions of an application."""
        extensions[_KEY] = self

    @classmethod
    def of(cls, extensions: Mapping[str, Any]) -> "Access":
        """The access of the application with these extensions."""
        found = extensions[_KEY]
        assert isinstance(found, cls)
        return found


def _presented(authorization: str) -> str:
    """What an `Authorization` header presents as a key; nothing if it is of another scheme."""
    scheme, _, presented = authorization.partition(" ")
    return presented.strip(" ") if scheme.lower() == "bearer" else ""


def _keys_unknown(unknown: KeysUnknown) -> Problem:
    return (DATABASE_UNFIT if unknown.is_unfit else KEYS_UNKNOWN).anew()


def _to(caller: Caller, problem: Problem) -> Problem:
    problem.who = caller.name
    return problem


def _holds(key: LivingKey, quota: Quota | None) -> Caller:
    return key.caller if quota is None else Caller(key.name, key.scopes, key.key_id, quota)


def caller() -> Caller:
    """Who makes the current request."""
    found: Caller = g.caller
    return found


def must_be_author(author: str | None) -> None:
    """Raise BadPayload if a body says that somebody other than the current caller makes a change."""
    if author is not None and author != caller().name:
        fault = f'must be left out, or be "{caller().name}": who makes the change follows from the key'
        raise BadPayload("The request has missing or bad fields.", [FieldProblem("/author", fault)])


def must_hold(scope: Needs) -> None:
    """Raise Problem 403 unless the current caller has this scope, which not every request to the view needs."""
    if not caller().may(scope):
        raise scope_needed(scope)
