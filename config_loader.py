"""The service's settings: read once from the environment and a `.env` file, checked, then frozen.

This is the only place that reads the environment. `.env.example` lists every setting with its meaning. The file is the
`.env` of the current folder for everything that reads settings: never one of a folder above, and no `.flaskenv`.
"""

import os
import secrets
import sys
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import click
from click.core import ParameterSource
from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import URL

import env_file
import setting_forms as forms
from access.caller import Scope
from rules.policy import LATE_LIMIT
from rules.registry import DEFAULT_CODES

# How alike a name must be to count as a mistyped setting: other programs' variables stand in the environment too.
_ALIKE_IN_FILE, _ALIKE_IN_ENVIRONMENT = 0.8, 0.9

_MAKE_ONE = 'python3 -c "import secrets; print(secrets.token_hex(32))"'

_warned: set[str] = set()  # names: each is warned of once; workers that are forked know those of the server


class SettingsError(click.ClickException):
    """The settings cannot be used; `problems` has one line for each bad one. It ends a command with status 2."""

    exit_code = 2

    def __init__(self, problems: list[str]) -> None:
        super().__init__("Bad settings:\n" + "\n".join(f"  {problem}" for problem in problems))
        self.problems = problems


class Settings(BaseSettings):
    """Everything that can be configured. Times are in seconds; an empty variable counts as unset."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    database_url: SecretStr | None = None
    db_host: forms.DatabaseHost | None = None
    db_port: int = Field(5432, ge=1, le=65535)
    db_name: str | None = None
    db_user: str | None = None
    db_password: SecretStr | None = None
    # A replica of it, for lists, exports, backtests and verify.
    database_read_url: SecretStr | None = None
    test_database_url: SecretStr | None = None
    data_dir: forms.Folder = Path(".local")

    backend_host: str = "127.0.0.1"
    backend_port: int = Field(5000, ge=1, le=65535)
    # Where `/metrics` is, if on a port apart.
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = Field(None, ge=1, le=65535)
    # The collector that traces are sent to, and the share of the requests that are recorded if callers do not say.
    otel_exporter_otlp_endpoint: forms.CollectorUrl | None = None
    otel_traces_sampler_arg: float = Field(1.0, ge=0, le=1)
    # The names under which callers address the service, besides those of loopback; see `own_names`.
    trusted_hosts: Annotated[tuple[forms.HostName, ...], NoDecode, forms.SEVERAL] = ()
    # Keys that are taken in at the start if they were never known, one a line.
    keys_file: forms.Folder | None = None
    # How many requests a key may make that has no rate of its own.
    key_rate: forms.Rate | None = None
    # Whether everybody may call, on any address, until the first key is made.
    allow_anonymous: bool = False
    # What signs the sessions of people and encrypts the secrets of webhooks, and what did so before.
    secret_key: forms.LongSecret | None = None
    secret_key_fallbacks: Annotated[tuple[forms.LongSecret, ...], NoDecode, forms.SEVERAL] = ()
    # In which header a proxy names the people it lets in, from which addresses it is believed, and what they may do.
    trusted_proxy_header: forms.HeaderName | None = None
    trusted_proxies: Annotated[tuple[forms.Network, ...], NoDecode, forms.SEVERAL] = forms.LOOPBACK
    trusted_proxy_scopes: Annotated[tuple[Scope, ...], NoDecode, forms.SEVERAL] = ("read", "work")
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

    rules: Annotated[tuple[int, ...], NoDecode, forms.CODES] = DEFAULT_CODES
    # Whether a start may change the rules of another service that runs on the same database.
    rules_apply: bool = False
    unknown_users: Literal["create", "reject"] = "create"
    overdraft: Literal["allow", "reject"] = "allow"
    out_of_order: Literal["accept", "reject"] = "accept"
    # How many of its user's actions may stand behind a late event: all of them may have to be judged again.
    late_limit: int = Field(LATE_LIMIT, ge=0, le=100_000_000)
    # Whether the `time` of events is seconds since 1970, in UTC.
    time_is_epoch: bool = False
    # How many seconds ahead of the clock an event may then be.
    max_ahead: int | None = Field(None, ge=0, le=10_000_000_000)
    # What webhooks may reach besides public addresses (hosts by exact name, networks; private ranges); who delivers.
    webhook_allow: Annotated[tuple[forms.HostOrNetwork, ...], NoDecode, forms.SEVERAL] = ()
    webhook_allow_private: bool = False
    deliver: bool = True
    # How long the law keeps the data of a person whose account is closed.
    retention_years: int = Field(5, ge=0, le=100)

    # No setting: what signs sessions where there is no SECRET_KEY.
    _secret_of_this_start: SecretStr | None = PrivateAttr(None)

    @field_validator("database_url", "database_read_url", "test_database_url")
    @classmethod
    def _postgresql_only(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(forms.with_driver(value.get_secret_value()))

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

    @model_validator(mode="after")
    def _ports_apart(self) -> Self:
        if self.metrics_port == self.backend_port:
            raise ValueError("METRICS_PORT must not be BACKEND_PORT: leave it out to have the metrics there")
        return self

    @model_validator(mode="after")
    def _replica_of_something(self) -> Self:
        if self.database_read_url is not None and self.database is None:
            raise ValueError("DATABASE_READ_URL needs DATABASE_URL or DB_HOST: the embedded database has no replica")
        return self

    @model_validator(mode="after")
    def _clock_to_compare_with(self) -> Self:
        if self.max_ahead is not None and not self.time_is_epoch:
            raise ValueError("MAX_AHEAD needs TIME_IS_EPOCH=true: by another clock nobody knows what is ahead")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether the service can be reached from its own machine alone."""
        return forms.is_loopback(self.backend_host)

    @property
    def own_names(self) -> tuple[str, ...]:
        """The hosts that are answered besides loopback: those trusted, and the one that is listened on.

        Listening on all addresses names none of them.
        """
        named = not (forms.is_address(self.backend_host) and ip_address(self.backend_host).is_unspecified)
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
            url = URL.create(forms.DRIVER, self.db_user, password, database=self.db_name, query=place)
        else:
            url = URL.create(forms.DRIVER, self.db_user, password, self.db_host, self.db_port, self.db_name)
        return url.render_as_string(hide_password=False)

    @property
    def replica(self) -> str | None:
        """The SQLAlchemy URL of the replica to read from, if there is one."""
        return None if self.database_read_url is None else self.database_read_url.get_secret_value()

    def with_database(self, url: str) -> "Settings":
        """The same settings, bound to the PostgreSQL at `url` (a SQLAlchemy URL)."""
        return self.model_copy(update={"database_url": SecretStr(url)})

    @property
    def session_secret(self) -> SecretStr | None:
        """What signs sessions."""
        return self.secret_key or self._secret_of_this_start

    @property
    def secret_keys(self) -> tuple[str | None, list[str]]:
        """SECRET_KEY, or None, and those that it had before, as plain text."""
        present = None if self.secret_key is None else self.secret_key.get_secret_value()
        return present, [one.get_secret_value() for one in self.secret_key_fallbacks]

    def with_secret_key(self, secret: str) -> "Settings":
        """The same settings; without a SECRET_KEY, with this one, which later starts have too."""
        return self if self.secret_key else self.model_copy(update={"secret_key": SecretStr(secret)})

    def with_session_secret(self, secret: str | None = None) -> "Settings":
        """The same settings; without a SECRET_KEY, with a secret for sessions alone: this one, or a new one."""
        settings = self.model_copy()
        settings._secret_of_this_start = SecretStr(secret or secrets.token_hex(forms.SECRET_LENGTH))
        return settings

    def with_secret(self, making_a_key: str = "") -> "Settings":
        """The same settings; without a SECRET_KEY, with a secret for the sessions of this start.

        Raises SettingsError, which also names the command `making_a_key`, if others can reach the service with keys:
        their sessions would end with each start.
        """
        if self.secret_key is not None:
            return self
        if not self.is_loopback and not self.allow_anonymous:
            reached = f"is needed where others can reach the service (BACKEND_HOST is {self.backend_host})"
            problems = [f"SECRET_KEY: {reached}; to make one: {_MAKE_ONE}"]
            if making_a_key:
                problems.append(f"Callers need keys there too; to make the first: {making_a_key}")
            raise SettingsError(problems)
        return self.with_session_secret()


def load_settings(path: Path | None = Path(".env"), **overrides: Any) -> Settings:
    """Read the settings from the environment and from the file at `path` (None: from the environment alone).

    `overrides` wins over both. A name that is nearly a setting's is warned of on standard error. Raises SettingsError,
    which names every bad value, and every line of the file that cannot be read, and never contains a secret.
    """
    if path is not None:
        _forget_what_flask_read()
    try:
        found = _from_file(path)  # first, since Flask has put into the environment what it read in the file
        for name in os.environ:
            _warn_of_near_miss(name, "the environment", _ALIKE_IN_ENVIRONMENT)
        return Settings(**found | overrides)
    except ValidationError as error:
        raise SettingsError([_problem(detail) for detail in error.errors(include_input=False)]) from None
    except env_file.Unreadable as error:
        raise SettingsError(error.problems) from None


def _from_file(path: Path | None) -> dict[str, Any]:
    """The settings in the file that the environment leaves to it."""
    if path is None:
        return {}
    names, taken = _names(), {name.upper() for name, value in os.environ.items() if value}
    found = env_file.read(path, wanted=names, environment=os.environ)
    for name, entry in found.items():
        _warn_of_near_miss(name, f"{path}, line {entry.line}", _ALIKE_IN_FILE)
    return {name.lower(): entry.value for name, entry in found.items() if name in names - taken and entry.value}


def _names() -> set[str]:
    """The names of all settings, as they are written."""
    return {name.upper() for name in Settings.model_fields}


def _warn_of_near_miss(name: str, where: str, alike: float) -> None:
    if (upper := name.upper()) in _names():
        return
    for meant in get_close_matches(upper, _names(), n=1, cutoff=alike):
        if name not in _warned:
            _warned.add(name)
            print(f"Warning: {where}: {name} is not a setting; is {meant} meant?", file=sys.stderr, flush=True)


def _forget_what_flask_read() -> None:
    """Undo what Flask's command line has done to the environment before the application was loaded.

    It reads `.flaskenv` and `.env` of the current folder or, if that has none, of one above, by rules of its own: the
    service does not. What the process was started with stays. Raises SettingsError for a file named by hand.
    """
    if os.environ.get("FLASK_RUN_FROM_CLI") != "true":
        return
    context = click.get_current_context(silent=True)
    source = context.find_root().get_parameter_source("env_file") if context else None
    if source in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
        raise SettingsError(["--env-file: settings are read from the environment and the .env of this folder alone"])
    if (began := env_file.names_at_start()) is not None:
        for name in set(os.environ) - began:
            if name.upper() in _names() or name.startswith("PG"):
                del os.environ[name]


def _problem(detail: Any) -> str:
    name = str(detail["loc"][0]).upper() if detail["loc"] else ""  # whichever of several values it is
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
