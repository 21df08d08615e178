"""Who makes a request, and what that caller may do."""

from typing import Literal, NamedTuple, get_args

from access.rates import Quota

# What a key may be made for: to post events; to read; to work alerts; to tune rules, ratings and overrides, and run
# backtests; to manage keys, webhooks and people's data.
Scope = Literal["ingest", "read", "work", "tune", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

# What a call needs: one of the scopes; "any" living key, whatever its scopes; or no key at all.
Needs = Scope | Literal["any", "nothing"]

ANONYMOUS = "anonymous"  # who calls a service that asks for no key
COMMAND_LINE = "command line"  # who runs a command on the service's own machine


class Caller(NamedTuple):
    """Who makes a request: the name for histories and logs, the scopes, and the key's id if there is one.

    `quota` is what is left of the key's rate, if it has one.
    """

    name: str
    scopes: frozenset[str]
    key_id: str | None = None
    quota: Quota | None = None

    def may(self, needs: Needs) -> bool:
        """Whether this caller may make a call with these needs."""
        return needs in ("any", "nothing") or needs in self.scopes


EVERYBODY = Caller(ANONYMOUS, frozenset(SCOPES))
NOBODY = Caller("nobody", frozenset())  # who makes a call that needs nothing
