"""What the OpenAPI document says of keys: how they are sent, and which scope a call needs."""

from typing import Any

from routes.http.operation import Operation

_NAME, _SESSION = "key", "session"

SCHEMES: dict[str, Any] = {
    _NAME: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "tak_...",
        "description": "A key with the scope of the call. Until the first one is made, a service on a loopback address "
        "answers without.",
    },
    _SESSION: {
        "type": "apiKey",
        "in": "cookie",
        "name": "transaction-alerts",
        "description": "What POST /session sets in a browser: it stands for a key. Over TLS the name begins with "
        "__Host-.",
    },
}


def needed(operation: Operation) -> list[dict[str, list[str]]]:
    """With what `operation` can be called: keys, each with its scopes, or a session; none if it needs neither."""
    if operation.needs == "nothing":
        return []
    scopes = [operation.needs] + ([operation.dry_run_needs] if operation.dry_run_needs else [])
    keys: list[dict[str, list[str]]] = [{_NAME: [] if scope == "any" else [scope]} for scope in scopes]
    return [*keys, {_SESSION: []}]


def sentence(operation: Operation) -> str:
    """The same in words: pages show no scopes."""
    if operation.needs == "nothing":
        return "Needs no key."
    if operation.needs == "any":
        return "Needs a key, with whatever scopes."
    also = f", or `{operation.dry_run_needs}` for a dry run" if operation.dry_run_needs else ""
    return f"Needs the scope `{operation.needs}`{also}."


def headers(status: int) -> dict[str, Any]:
    """The headers of the answers with this status that are about keys."""
    text = {"type": "string"}
    if status == 401:
        return {"WWW-Authenticate": {"required": True, "schema": text, "description": "How to send a key."}}
    if status == 429:
        return {
            "Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}, "description": "Seconds."},
            "RateLimit-Policy": {"schema": text, "description": "The rate of the key, if it has one."},
            "RateLimit": {"schema": text, "description": "What is left of it, on every answer to such a key."},
        }
    return {}
