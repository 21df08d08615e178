"""How every connection of ours is opened: what a database URL may ask for, and what the service needs whatever it says.

The URL's parameters are libpq's. They hold for every connection, `options` among them: ours are added to those. What
contradicts ours is refused at the start (`problems`), since PostgreSQL would heed only the last.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from psycopg2 import ProgrammingError
from psycopg2.extensions import make_dsn
from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from database import pooler

APPLICATION_NAME = "transaction-alerts"  # in pg_stat_activity, unless the URL has another

# The same however the role, the database or the environment are set: a role may be set up for another program.
_ALWAYS = {
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "default_transaction_isolation": "read committed",
    "DateStyle": "ISO",
    "TimeZone": "UTC",  # in others the last day of the year 9999 is in 10000, which Python cannot read
}
# What each kind of connection sets for itself, and which setting of the service says how.
_OURS = {
    "statement_timeout": "DB_TIMEOUT and READ_TIMEOUT bound statements",
    "lock_timeout": "DB_TIMEOUT bounds it",
    "idle_in_transaction_session_timeout": "DB_TIMEOUT bounds it",
    "plan_cache_mode": "the service sets it",
    "jit": "the service sets it",
    "client_encoding": "the service speaks UTF-8",
    "default_transaction_read_only": "the service writes",
    **{name.lower(): "the service sets it" for name in _ALWAYS},
}
_TIMES = ("connect_timeout", "tcp_user_timeout")
# Of other drivers, by which people know what they want.
_FOREIGN = {
    "schema": "options=-csearch_path%3DNAME",
    "currentschema": "options=-csearch_path%3DNAME",
    "search_path": "options=-csearch_path%3DNAME",
    "ssl": "sslmode=require",
}
_UTF8 = {"utf8", "utf-8", "unicode"}
_OPTION = re.compile(r"(?:-c\s*|--)([A-Za-z_][\w.-]*)=((?:\\.|\S)*)")


def make(
    url: str,
    purpose: str = "",
    *,
    settings: Mapping[str, object] = MappingProxyType({}),
    driver: Mapping[str, object] = MappingProxyType({}),
    one_by_one: bool = False,
    **more: Any,
) -> Engine:
    """An engine on the PostgreSQL at `url`.

    `purpose` is added to the name in pg_stat_activity; `settings` are PostgreSQL's, for its connections or, where a
    pooler keeps them from those, for its transactions (`one_by_one` as in `pooler.adapt`). `driver` has further
    arguments of the driver, and `more` is for SQLAlchemy.
    """
    query = make_url(url).query
    ours: dict[str, object] = {pooler.ARRIVED: "on", **_ALWAYS, **settings}
    arguments: dict[str, object] = {
        "application_name": f"{_text(query, 'application_name') or APPLICATION_NAME} {purpose}".strip(),
        "client_encoding": "utf8",
        "options": " ".join([_text(query, "options"), *(f"-c {name}={_escaped(ours[name])}" for name in ours)]).strip(),
    }
    # Looking for a type that the service does not use would take three messages for each connection.
    engine = create_engine(url, connect_args={**arguments, **driver}, use_native_hstore=False, **more)
    asked = {name.replace("-", "_"): re.sub(r"\\(.)", r"\1", value) for name, value in _options(query)}
    pooler.adapt(engine, {**asked, **ours}, one_by_one=one_by_one)
    return engine


def connect(url: str, purpose: str = "", **more: Any) -> Engine:
    """The same for work that has no limits of its own."""
    return make(url, purpose, driver={"connect_timeout": 10}, **more)


def _escaped(value: object) -> str:
    return str(value).replace("\\", "\\\\").replace(" ", r"\ ")


def _options(query: Any) -> list[tuple[str, str]]:
    return _OPTION.findall(_text(query, "options"))


def dsn(url: URL) -> str:
    """The address as libpq reads it, for its own programs.

    Raises ArgumentError or ValueError for hosts that cannot be read, and the driver's ProgrammingError for parameters
    that libpq does not know.
    """
    parts = url.get_dialect()().create_connect_args(url)[1]
    if not re.fullmatch("[0-9,]*", str(parts.get("port", ""))):
        raise ValueError("a port is no number")
    return str(make_dsn(**parts))


def place_of(url: str) -> str:
    """Which database on which host `url` names, for people: more than one part of a URL can be a secret."""
    parts = make_url(url)
    hosts = parts.query.get("host", ())
    named = parts.host or (hosts if isinstance(hosts, str) else ", ".join(hosts))
    return f"{parts.database or 'of the role'} on {named if named and named[0] != '/' else 'the local socket'}"


def chooses_schema(url: URL) -> bool:
    """Whether `url` says itself in which schema the tables are."""
    return any(name.lower() == "search_path" for name, _ in _options(url.query))


def problems(url: URL) -> list[str]:
    """What in `url` the service cannot do, a sentence each, without any value."""
    found = []
    for name in url.query:
        if name in _TIMES:
            found.append(f"{name} cannot be set: DB_TIMEOUT bounds it")
        elif name == "client_encoding" and _text(url.query, name).lower() not in _UTF8:
            found.append("client_encoding cannot be set: the service speaks UTF-8")
        elif name.lower() in _FOREIGN:
            found.append(f"{name} is another driver's: {_FOREIGN[name.lower()]} would do the same")
    for name, value in _options(url.query):
        setting = name.lower().replace("-", "_")
        if setting in _OURS and not (setting == "client_encoding" and value.lower() in _UTF8):
            found.append(f"options: {setting} cannot be set: {_OURS[setting]}")
    return found or _unknown(url)


def _unknown(url: URL) -> list[str]:
    try:
        dsn(url)
    except (ArgumentError, ValueError):
        return ["has hosts that cannot be read; several are written ?host=a:5432&host=b:5432"]
    except (ProgrammingError, TypeError):  # the message repeats the parameter, which may be part of a password
        return ["has a parameter that libpq does not know (a ? or & in a password must be written as %3F or %26)"]
    return []


def _text(query: Any, name: str) -> str:
    value = query.get(name, "")
    return value if isinstance(value, str) else " ".join(value) if name == "options" else value[-1]
