"""Who makes the current request, and whether that caller may."""

from flask import g

from access.caller import EVERYBODY, Caller


def caller() -> Caller:
    """Who makes the current request."""
    found: Caller = g.get("caller", EVERYBODY)
    return found
