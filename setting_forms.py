"""How single settings are written: folders, hosts and their addresses, rules, rates, and the database's URL."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import AfterValidator, BeforeValidator, SecretStr
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from access.rates import read_rate
from database import connecting
from rules.registry import REGISTRY

DRIVER = "postgresql+psycopg2"

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_HOSTS = re.compile(r"([a-z0-9+]+://(?:[^@/?]*@)?)([^@/?\[]*:\d+,[^@/?\[]*)(.*)", re.DOTALL)


def expanded(path: Path) -> Path:
    """A folder with `~` as the home that a shell would put there."""
    if str(path).startswith("$"):
        raise ValueError("begins with a variable that nobody has replaced; in .env, ${HOME} would be")
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"there is no home folder for {path.parts[0]}") from None


Folder = Annotated[Path, AfterValidator(expanded)]


def _folder_or_name(value: str) -> str:
    return str(expanded(Path(value))) if value.startswith("~") else value


DatabaseHost = Annotated[str, AfterValidator(_folder_or_name)]


def is_address(text: str) -> bool:
    """Whether this is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_host(text: str) -> bool:
    """Whether this is the name of a host, or an address, perhaps in brackets."""
    return _HOST_NAME.fullmatch(text) is not None or is_address(text.strip("[]"))


def is_loopback(host: str) -> bool:
    """Whether what listens on this address or name can be reached from its own machine alone."""
    return ip_address(host).is_loopback if is_address(host) else host.lower() == "localhost"


def words(text: str) -> list[str]:
    """What stands between the commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


# Several values, with commas between them.
SEVERAL = BeforeValidator(lambda value: tuple(words(value)) if isinstance(value, str) else value)


def _host_name(value: str) -> str:
    if not is_host(value):
        raise ValueError(f"{value!r} is not the name or address of a host (without scheme, port or *)")
    return value


HostName = Annotated[str, AfterValidator(_host_name)]


def _codes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    codes = []
    for word in value.split(","):
        if not (word.strip().isascii() and word.strip().isdigit()) or int(word) not in REGISTRY:
            known = ", ".join(str(code) for code in REGISTRY)
            raise ValueError(f"{word.strip()!r} is not the code of a rule; the rules are {known}")
        codes.append(int(word))
    return tuple(code for code in REGISTRY if code in codes)


CODES = BeforeValidator(_codes)


def _rate(value: str) -> str:
    read_rate(value)
    return value


Rate = Annotated[str, AfterValidator(_rate)]


def _network(value: Any) -> Any:
    try:
        return ip_network(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a network such as 10.1.0.0/16, or an address") from None


Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


def _host_or_network(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if is_host(value) and not is_address(value.strip("[]")):
        return value.rstrip(".").lower()
    return _network(value.strip("[]"))


HostOrNetwork = Annotated[str | IPv4Network | IPv6Network, BeforeValidator(_host_or_network)]

SECRET_LENGTH = 32  # characters, of what signs sessions


def _long_secret(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < SECRET_LENGTH:
        raise ValueError(f"must have at least {SECRET_LENGTH} characters")
    return value


LongSecret = Annotated[SecretStr, AfterValidator(_long_secret)]

# They cannot name a person: every caller, or every browser, sends them.
_IN_USE = ("authorization", "cookie", "host", "origin", "content-type", "content-length", "x-request-id")


def _header_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", value):
        raise ValueError("is not the name of a header: letters, digits and -")
    if value.lower() in _IN_USE or value.lower().startswith("sec-"):
        raise ValueError(f"{value} is a header that callers send for other reasons")
    return value


HeaderName = Annotated[str, AfterValidator(_header_name)]


_COLLECTOR = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[^\s?#@]*)?")


def _collector_url(value: str) -> str:
    if not _COLLECTOR.fullmatch(value):
        raise ValueError("is not the address of a collector, such as http://127.0.0.1:4318 (without /v1/traces)")
    return value


CollectorUrl = Annotated[str, AfterValidator(_collector_url)]


def with_driver(text: str) -> str:
    """The URL of a PostgreSQL, with our driver named. Raises ValueError, whose message has no password."""
    # Since SQLAlchemy 2.1 a bare postgresql:// means a driver other than ours, so we always name it.
    text = text.strip()
    # libpq's way to name several hosts, which SQLAlchemy reads from the parameters alone.
    if several := _HOSTS.fullmatch(text):
        hosts = "&".join(f"host={quote(host)}" for host in several[2].split(","))
        text = f"{several[1]}{several[3]}{'&' if '?' in several[3] else '?'}{hosts}"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # their messages can contain the password
        raise ValueError("is not a database URL like postgresql://user:password@host:5432/name") from None
    if url.drivername not in ("postgres", "postgresql", DRIVER):
        raise ValueError(f"must be a postgresql:// URL, not {url.drivername}://")
    url = url.set(drivername=DRIVER)
    if problems := connecting.problems(url):
        raise ValueError("; ".join(problems))
    return url.render_as_string(hide_password=False)
