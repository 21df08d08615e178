"""The service's settings: read once from the environment and a `.env` file, checked, then frozen.

This is the only place that reads the environment. `.env.example` lists every setting with its meaning.
"""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from rules.policy import LATE_LIMIT
from rules.registry import DEFAULT_CODES, REGISTRY

DRIVER = "postgresql+psycopg2"

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


class SettingsError(Exception):
    """The settings cannot be used; `problems` has one line for each bad one."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("Bad settings:\n" + "\n".join(f"  {problem}" for problem in problems))
        self.problems = problems


class Settings(BaseSettings):
    """Everything that can be configured. Times are in seconds; an empty variable counts as unset."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    database_url: SecretStr | None = None
    db_host: str | None = None
    db_port: int = Field(5432, ge=1, le=65535)
    db_name: str | None = None
    db_user: str | None = None
    db_password: SecretStr | None = None
    test_database_url: SecretStr | None = None
    data_dir: Path = Path(".local")

    backend_host: str = "127.0.0.1"
    backend_port: int = Field(5000, ge=1, le=65535)
    # The names under which callers address the service, besides those of loopback; see `own_names`.
    trusted_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    # Two processes keep both cores of a small machine busy: Python runs one thread of a process at a time.
    workers: int = Field(2, ge=1, le=64)
    # How many requests other than POST /event one worker handles at once; with GROUP_COMMIT=off, POST /event included.
    threads: int = Field(32, ge=1, le=256)
    # How many reads (GET) one worker handles at once: few, since each takes turns with the judging of events.
    read_threads: int = Field(2, ge=1, le=32)
    # How long the body of a request may take to arrive before the answer is a 408.
    body_timeout: float = Field(15.0, ge=0.1, le=600)
    # How long a request waits for a connection, a lock or a statement before the answer is a 503.
    db_timeout: float = Field(5.0, ge=0.1, le=60)
    # The same for reads, which take some milliseconds.
    read_timeout: float = Field(2.0, ge=0.1, le=60)
    # Whether requests that arrive while others are being committed share the next transaction, and how many may.
    group_commit: Literal["on", "off"] = "on"
    group_commit_max: int = Field(256, ge=1, le=10_000)
    # How many events of one worker may wait for their transaction; further ones get a 503 at once.
    group_commit_queue: int = Field(10_000, ge=1, le=1_000_000)
    global_test_flag: bool = False

    rules: Annotated[tuple[int, ...], NoDecode] = DEFAULT_CODES
    unknown_users: Literal["create", "reject"] = "create"
    overdraft: Literal["allow", "reject"] = "allow"
    out_of_order: Literal["accept", "reject"] = "accept"
    # How many of its user's actions may stand behind a late event: all of them may have to be judged again.
    late_limit: int = Field(LATE_LIMIT, ge=0, le=100_000_000)

    @field_validator("database_url", "test_database_url")
    @classmethod
    def _postgresql_only(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(_with_driver(value.get_secret_value()))

    @field_validator("rules", mode="before")
    @classmethod
    def _known_codes(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        codes = []
        for word in value.split(","):
            if not (word.strip().isascii() and word.strip().isdigit()) or int(word) not in REGISTRY:
                known = ", ".join(str(code) for code in REGISTRY)
                raise ValueError(f"{word.strip()!r} is not the code of a rule; the rules are {known}")
            codes.append(int(word))
        return tuple(code for code in REGISTRY if code in codes)

    @field_validator("trusted_hosts", mode="before")
    @classmethod
    def _names_of_hosts(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        names = [word.strip() for word in value.split(",") if word.strip()]
        for name in names:
            if not _HOST_NAME.fullmatch(name) and not _is_address(name.strip("[]")):
                raise ValueError(f"{name!r} is not the name or address of a host (without scheme, port or *)")
        return tuple(names)

    @model_validator(mode="after")
    def _host_with_its_parts(self) -> Self:
        # A password alone is fine: docker compose reads it from the same .env.
        parts = {"DB_NAME": self.db_name, "DB_USER": self.db_user}
        if self.database_url is None:
            if self.db_host is None and (present := [name for name, part in parts.items() if part is not None]):
                raise ValueError(f"DB_HOST is needed with {' and '.join(present)}")
            if self.db_host is not None and (missing := [name for name, part in parts.items() if part is None]):
                raise ValueError(f"DB_HOST needs {' and '.join(missing)} too")
        return self

    @property
    def own_names(self) -> tuple[str, ...]:
        """The hosts that are answered besides loopback: those trusted, and the one that is listened on.

        Listening on all addresses names none of them.
        """
        named = not (_is_address(self.backend_host) and ip_address(self.backend_host).is_unspecified)
        return (*self.trusted_hosts, self.backend_host) if named else self.trusted_hosts

    @property
    def database(self) -> str | None:
        """The SQLAlchemy URL of the configured PostgreSQL, or None for the embedded one below `data_dir`."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        if self.db_host is None:
            return None
        password = self.db_password.get_secret_value() if self.db_password else None
        if self.db_host.startswith("/"):  # the folder of a Unix socket
            place = {"host": self.db_host, "port": str(self.db_port)}
            url = URL.create(DRIVER, self.db_user, password, database=self.db_name, query=place)
        else:
            url = URL.create(DRIVER, self.db_user, password, self.db_host, self.db_port, self.db_name)
        return url.render_as_string(hide_password=False)

    def with_database(self, url: str) -> "Settings":
        """The same settings, bound to the PostgreSQL at `url` (a SQLAlchemy URL)."""
        return self.model_copy(update={"database_url": SecretStr(url)})


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _with_driver(text: str) -> str:
    # Since SQLAlchemy 2.1 a bare postgresql:// means a driver other than ours, so we always name it.
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):  # their messages can contain the password
        raise ValueError("is not a database URL like postgresql://user:password@host:5432/name") from None
    if url.drivername not in ("postgres", "postgresql", DRIVER):
        raise ValueError(f"must be a postgresql:// URL, not {url.drivername}://")
    return url.set(drivername=DRIVER).render_as_string(hide_password=False)


def load_settings(env_file: Path | None = Path(".env"), **overrides: Any) -> Settings:
    """Read the settings from the environment and from `env_file` (None: from the environment alone).

    `overrides` wins over both. Raises SettingsError, which names every bad value and never contains a secret.
    """
    try:
        return Settings(_env_file=env_file, **overrides)
    except ValidationError as error:
        raise SettingsError([_problem(detail) for detail in error.errors(include_input=False)]) from None
    except UnicodeDecodeError:
        raise SettingsError([f"{env_file} is not text in UTF-8"]) from None


def _problem(detail: Any) -> str:
    name = "_".join(str(part) for part in detail["loc"]).upper()
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
