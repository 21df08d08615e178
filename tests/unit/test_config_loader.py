"""Settings: where they come from, what is refused, and what is never shown."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import URL, make_url

from config_loader import SettingsError, load_settings
from rules.registry import REGISTRY

SECRET = "hunter2"
DRIVER = "postgresql+psycopg2"


def problems(**overrides: object) -> list[str]:
    """What is said about bad settings."""
    with pytest.raises(SettingsError) as caught:
        load_settings(None, **overrides)
    return caught.value.problems


def parts_url(**parts: object) -> URL:
    """The parsed URL made of DB_* parts."""
    database = load_settings(None, **parts).database
    assert database is not None
    return make_url(database)


def test_defaults() -> None:
    """With nothing configured the contract's defaults apply."""
    assert load_settings(None).model_dump() == {
        "database_url": None,
        "db_host": None,
        "db_port": 5432,
        "db_name": None,
        "db_user": None,
        "db_password": None,
        "database_read_url": None,
        "test_database_url": None,
        "data_dir": Path(".local"),
        "backend_host": "127.0.0.1",
        "backend_port": 5000,
        "metrics_host": "127.0.0.1",
        "metrics_port": None,
        "otel_exporter_otlp_endpoint": None,
        "otel_traces_sampler_arg": 1.0,
        "keys_file": None,
        "key_rate": None,
        "workers": 2,
        "threads": 32,
        "read_threads": 2,
        "body_timeout": 15.0,
        "db_timeout": 5.0,
        "read_timeout": 2.0,
        "group_commit": "on",
        "group_commit_max": 256,
        "group_commit_queue": 10_000,
        "global_test_flag": False,
        "rules": (1100, 30, 300, 123),
        "rules_apply": False,
        "unknown_users": "create",
        "overdraft": "allow",
        "out_of_order": "accept",
        "late_limit": 200_000,
        "time_is_epoch": False,
        "max_ahead": None,
        "webhook_allow": (),
        "webhook_allow_private": False,
        "deliver": True,
        "retention_years": 5,
        "trusted_hosts": (),
        "allow_anonymous": False,
        "secret_key": None,
        "secret_key_fallbacks": (),
        "trusted_proxy_header": None,
        "trusted_proxies": (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
        "trusted_proxy_scopes": ("read", "work"),
    }


def test_no_database_means_the_embedded_one() -> None:
    """Without DATABASE_URL and DB_HOST there is no configured database."""
    assert load_settings(None).database is None


ENVIRONMENT = {
    "BACKEND_HOST": ("0.0.0.0", "0.0.0.0"),
    "BACKEND_PORT": ("8080", 8080),
    "GLOBAL_TEST_FLAG": ("true", True),
    "DATA_DIR": ("/tmp/data", Path("/tmp/data")),
    "RULES": ("1100,500", (1100, 500)),
    "UNKNOWN_USERS": ("reject", "reject"),
    "OVERDRAFT": ("reject", "reject"),
    "OUT_OF_ORDER": ("reject", "reject"),
    "LATE_LIMIT": ("0", 0),
    "TIME_IS_EPOCH": ("true", True),
    "KEYS_FILE": ("/etc/keys", Path("/etc/keys")),
    "METRICS_HOST": ("0.0.0.0", "0.0.0.0"),
    "METRICS_PORT": ("9100", 9100),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("https://[::1]:4318/otlp", "https://[::1]:4318/otlp"),
    "OTEL_TRACES_SAMPLER_ARG": ("0.1", 0.1),
    "KEY_RATE": ("6000/minute", "6000/minute"),
    "WORKERS": ("4", 4),
    "THREADS": ("1", 1),
    "DB_TIMEOUT": ("0.5", 0.5),
    "GROUP_COMMIT_QUEUE": ("1", 1),
}


@pytest.mark.parametrize(("name", "text", "value"), [(n, *v) for n, v in ENVIRONMENT.items()], ids=ENVIRONMENT)
def test_environment_variable(name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment variable sets the setting of its name."""
    monkeypatch.setenv(name, text)
    assert getattr(load_settings(None), name.lower()) == value


@pytest.mark.parametrize(
    "name", [*ENVIRONMENT, "DATABASE_URL", "TEST_DATABASE_URL", "DB_HOST", "DB_PORT", "DB_PASSWORD"]
)
def test_empty_means_unset(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable counts as unset: the default applies."""
    unset = load_settings(None)
    monkeypatch.setenv(name, "")
    assert load_settings(None) == unset


def test_env_file(tmp_path: Path) -> None:
    """A .env file sets what the environment does not; other programs' names in it are ignored."""
    env_file = tmp_path / ".env"
    env_file.write_text('# comment\nBACKEND_PORT=8080\nOVERDRAFT="reject"\nSOMETHING_ELSE=1\nRULES=\n')
    settings = load_settings(env_file)
    assert (settings.backend_port, settings.overdraft, settings.rules) == (8080, "reject", (1100, 30, 300, 123))


def test_env_file_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name the .env file in the current folder is read."""
    (tmp_path / ".env").write_text("BACKEND_PORT=8080\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings().backend_port == 8080


def test_missing_env_file(tmp_path: Path) -> None:
    """There need not be a .env file."""
    assert load_settings(tmp_path / ".env") == load_settings(None)


def test_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment wins over the .env file, and what the caller passes wins over both."""
    env_file = tmp_path / ".env"
    env_file.write_text("BACKEND_PORT=1111\nWORKERS=3\nTHREADS=3\n")
    monkeypatch.setenv("BACKEND_PORT", "2222")
    monkeypatch.setenv("WORKERS", "4")
    settings = load_settings(env_file, backend_port=5555)
    assert (settings.backend_port, settings.workers, settings.threads) == (5555, 4, 3)


URLS = {
    "no driver": ("postgresql://app:pw@db:5432/alerts", f"{DRIVER}://app:pw@db:5432/alerts"),
    "the short name": ("postgres://app:pw@db:5432/alerts", f"{DRIVER}://app:pw@db:5432/alerts"),
    "the driver named": (f"{DRIVER}://app:pw@db/alerts", f"{DRIVER}://app:pw@db/alerts"),
    "a percent-encoded password": ("postgres://app:p%40s%2Fs%25@db/alerts", f"{DRIVER}://app:p%40s%2Fs%25@db/alerts"),
    "a socket folder": (
        "postgresql://app@/alerts?host=%2Ftmp%2Fpg+x",
        f"{DRIVER}://app@/alerts?host=%2Ftmp%2Fpg+x",
    ),
    "options": ("postgresql://db/alerts?sslmode=require", f"{DRIVER}://db/alerts?sslmode=require"),
}


@pytest.mark.parametrize("name", ["DATABASE_URL", "TEST_DATABASE_URL"])
@pytest.mark.parametrize(("text", "expected"), URLS.values(), ids=URLS)
def test_url_names_the_driver(name: str, text: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PostgreSQL URL is kept as it is but for the driver, which is always named."""
    monkeypatch.setenv(name, text)
    value = getattr(load_settings(None), name.lower())
    assert value.get_secret_value() == expected


def test_database_url_wins_over_the_parts() -> None:
    """With DATABASE_URL set, the DB_* parts do not matter, complete or not."""
    settings = load_settings(None, database_url="postgresql://db/alerts", db_host="other")
    assert settings.database == f"{DRIVER}://db/alerts"


def test_percent_encoded_password_is_decoded() -> None:
    """What the driver gets is the password that was meant."""
    database = load_settings(None, database_url="postgres://app:p%40s%2Fs%25@db/alerts").database
    assert make_url(database or "").password == "p@s/s%"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://app:hunter2@db/alerts",
        "sqlite:///hunter2.db",
        "postgresql+asyncpg://app:hunter2@db/alerts",
        "postgresql+psycopg://app:hunter2@db/alerts",
        "POSTGRESQL://app:hunter2@db/alerts",
    ],
)
def test_other_databases_are_refused(url: str) -> None:
    """Another dialect or driver is refused by name, without the rest of the URL."""
    (problem,) = problems(database_url=url)
    assert problem == f"DATABASE_URL: must be a postgresql:// URL, not {url.split(':')[0]}://"


@pytest.mark.parametrize("url", ["hunter2", "app:hunter2@db/alerts", "//hunter2", "postgresql:hunter2"])
def test_what_is_no_url_is_refused(url: str) -> None:
    """What cannot be read as a URL is refused with an example and without repeating it."""
    expected = "DATABASE_URL: is not a database URL like postgresql://user:password@host:5432/name"
    assert problems(database_url=url) == [expected]


@pytest.mark.parametrize(
    "url", ["postgresql://app:hunter2/alerts", "postgresql://app:hunter2", "postgresql://app@db:hunter2/alerts"]
)
def test_a_mistyped_url_does_not_leak(url: str) -> None:
    """A URL with the password where the port belongs is refused without repeating it."""
    (problem,) = problems(database_url=url)
    assert problem.startswith("DATABASE_URL: ")
    assert SECRET not in problem


def test_parts_make_a_url() -> None:
    """DB_HOST and its parts name the database as a URL would."""
    parts = {"db_host": "db", "db_port": 5433, "db_name": "alerts", "db_user": "app", "db_password": "pw"}
    assert load_settings(None, **parts).database == f"{DRIVER}://app:pw@db:5433/alerts"


def test_parts_without_a_password_or_port() -> None:
    """DB_PASSWORD may be left out, and the port is 5432 unless it is set."""
    settings = load_settings(None, db_host="db", db_name="alerts", db_user="app")
    assert settings.database == f"{DRIVER}://app@db:5432/alerts"


@pytest.mark.parametrize(
    "text", ["p@ss", "a:b", "a/b", "50%", "%40", "a b", "a+b", "a?b#c&d=e", "[x]", "ünïcode", "'\"\\"]
)
def test_parts_take_any_character(text: str) -> None:
    """A password and a user name reach the driver as they are, whatever characters they hold."""
    url = parts_url(db_host="db", db_name="alerts", db_user=text, db_password=text)
    assert (url.username, url.password, url.host, url.database) == (text, text, "db", "alerts")


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"db_host": "db"}, "DB_HOST needs DB_NAME and DB_USER too"),
        ({"db_host": "db", "db_user": "app"}, "DB_HOST needs DB_NAME too"),
        ({"db_host": "db", "db_name": "alerts"}, "DB_HOST needs DB_USER too"),
        ({"db_name": "alerts", "db_user": "app"}, "DB_HOST is needed with DB_NAME and DB_USER"),
        ({"db_user": "app", "db_password": SECRET}, "DB_HOST is needed with DB_USER"),
    ],
    ids=["host alone", "no name", "no user", "no host", "user and password alone"],
)
def test_missing_parts(parts: dict[str, str], problem: str) -> None:
    """An incomplete set of parts is refused with the names of the missing ones."""
    assert problems(**parts) == [problem]


def test_a_password_alone_is_no_database() -> None:
    """DB_PASSWORD may be set alone, for other programs that read the same file."""
    assert load_settings(None, db_password=SECRET).database is None


BAD = {
    "BACKEND_PORT": ["0", "65536", "-1", "http", "80.5"],
    "DB_PORT": ["0", "65536", "x"],
    "WORKERS": ["0", "65", "many"],
    "THREADS": ["0", "257"],
    "DB_TIMEOUT": ["0", "-1", "61", "nan", "soon"],
    "GROUP_COMMIT_QUEUE": ["0", "-1", "1000001", "all"],
    "GLOBAL_TEST_FLAG": ["maybe"],
    "UNKNOWN_USERS": ["allow", "CREATE"],
    "OVERDRAFT": ["accept"],
    "OUT_OF_ORDER": ["allow"],
    "LATE_LIMIT": ["-1", "many"],
    "TIME_IS_EPOCH": ["2", "seconds"],
    "METRICS_PORT": ["0", "65536", "metrics"],
    "OTEL_EXPORTER_OTLP_ENDPOINT": ["127.0.0.1:4318", "grpc://a:4317", "http://a:b@c", "http://a?b", "http:// a"],
    "OTEL_TRACES_SAMPLER_ARG": ["-0.1", "1.1", "all", "nan"],
    "KEY_RATE": ["100", "0/second", "100/day", "1/second;2/minute"],
    "KEYS_FILE": ["$HOME/keys"],
    "MAX_AHEAD": ["-1", "1h", "0.5"],
    "RULES": ["999", "1100,999", "1100;30", "1100,", ",", "-30", "30.0", "٣٠", "all", "1100 30"],
    "DATABASE_URL": ["mysql://db"],
    "TEST_DATABASE_URL": ["mysql://db"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_bad_value_is_named(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad value is refused with the name of its setting."""
    monkeypatch.setenv(name, text)
    (problem,) = problems()
    assert problem.startswith(f"{name}: ")


def test_every_bad_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All bad values are reported together, one per line, in a message that says what is wrong."""
    for name, texts in BAD.items():
        monkeypatch.setenv(name, texts[0])
    with pytest.raises(SettingsError) as caught:
        load_settings(None)
    assert {problem.split(":")[0] for problem in caught.value.problems} == set(BAD)
    lines = str(caught.value).splitlines()
    assert lines == ["Bad settings:", *(f"  {problem}" for problem in caught.value.problems)]


def test_no_secret_in_the_error_or_its_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password shows neither in the message nor in what a traceback would print with it."""
    monkeypatch.setenv("DATABASE_URL", f"mysql://app:{SECRET}@db/alerts")
    monkeypatch.setenv("TEST_DATABASE_URL", SECRET)
    monkeypatch.setenv("DB_PASSWORD", SECRET)
    monkeypatch.setenv("BACKEND_PORT", "x")
    with pytest.raises(SettingsError) as caught:
        load_settings(None)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_no_secret_in_the_settings_as_text() -> None:
    """Printing the settings shows no password."""
    url = f"postgresql://app:{SECRET}@db/alerts"
    settings = load_settings(None, database_url=url, test_database_url=url, db_password=SECRET)
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.with_database(url)!r}"


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("123,30,1100,300", (1100, 30, 300, 123)),
        ("500,1100", (1100, 500)),
        (" 30 , 300 ", (30, 300)),
        ("30,30,30", (30,)),
        ("500", (500,)),
    ],
)
def test_rules_stand_in_answer_order(text: str, codes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """RULES may list codes in any order, spaced and repeated; they are kept once and in the order of answers."""
    monkeypatch.setenv("RULES", text)
    assert load_settings(None).rules == codes


def test_unknown_rule_says_which_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown code is named along with the known ones."""
    monkeypatch.setenv("RULES", "1100,999")
    known = ", ".join(map(str, REGISTRY))
    assert problems() == [f"RULES: '999' is not the code of a rule; the rules are {known}"]


def test_settings_are_frozen() -> None:
    """Settings cannot be changed once they are read."""
    settings = load_settings(None)
    with pytest.raises(ValidationError, match="frozen"):
        settings.backend_port = 1  # type: ignore[misc]
    assert settings.backend_port == 5000


def test_with_database_binds_a_copy() -> None:
    """The settings for another database are a copy: all else is the same, and the first stay as they are."""
    first = load_settings(None, overdraft="reject")
    second = first.with_database("postgresql+psycopg2:///other")
    assert (first.database, second.database, second.overdraft) == (None, "postgresql+psycopg2:///other", "reject")


def test_a_socket_folder_as_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """DB_HOST may be the folder of a Unix socket, as libpq takes it."""
    for name, value in {"DB_HOST": "/tmp/pg x", "DB_NAME": "alerts", "DB_USER": "ada"}.items():
        monkeypatch.setenv(name, value)
    url = make_url(load_settings(None).database or "")
    assert (url.host, url.database, url.query) == (None, "alerts", {"host": "/tmp/pg x", "port": "5432"})


def test_white_space_around_a_url_does_not_count() -> None:
    """A URL pasted with its line ending is the same URL."""
    settings = load_settings(None, database_url="postgresql://ada@db/alerts\n")
    assert settings.database == "postgresql+psycopg2://ada@db/alerts"


ADDRESSES = {
    "postgresql://u:p@a:1,b:2/x?target_session_attrs=read-write": {
        "host": "a,b",
        "port": "1,2",
        "target_session_attrs": "read-write",
    },
    "postgresql://u:p@/x?host=a:1&host=b:2": {"host": "a,b", "port": "1,2"},
    "postgresql:///?service=alerts": {"service": "alerts"},
    "postgresql:///x?host=/run/a%20b&port=6543": {"host": "/run/a b", "port": "6543"},
    "postgresql://a/x?sslmode=verify-full&passfile=/p&application_name=mine&client_encoding=UTF-8": {
        "sslmode": "verify-full",
        "passfile": "/p",
        "application_name": "mine",
    },
    "postgresql://a/x?options=-csearch_path%3Dstaging%20-c%20work_mem%3D8MB": {
        "options": "-csearch_path=staging -c work_mem=8MB"
    },
}


@pytest.mark.parametrize(("url", "expected"), ADDRESSES.items())
def test_what_libpq_knows_is_passed_on(url: str, expected: dict[str, str]) -> None:
    """Several hosts, a service, a socket, TLS and options of PostgreSQL mean what they mean to psql."""
    parsed = make_url(load_settings(None, database_url=url).database or "")
    arguments = parsed.get_dialect()().create_connect_args(parsed)[1]
    assert {name: arguments[name] for name in expected} == expected


REFUSED = {
    "options=-c%20statement_timeout%3D9": "options: statement_timeout cannot be set",
    "options=-cLock_Timeout%3D9": "options: lock_timeout cannot be set",
    "options=--plan-cache-mode%3Dauto": "options: plan_cache_mode cannot be set",
    "options=-cclient_encoding%3Dlatin1": "options: client_encoding cannot be set",
    "options=-csearch_path%3Da%20-cdefault_transaction_read_only%3Don": "options: default_transaction_read_only",
    "client_encoding=latin1": "client_encoding cannot be set",
    "connect_timeout=9": "connect_timeout cannot be set",
    "tcp_user_timeout=9": "tcp_user_timeout cannot be set",
    "schema=staging": "schema is another driver's: options=-csearch_path%3DNAME would do the same",
    "currentSchema=staging": "currentSchema is another driver's",
    "hunter2=1": "has a parameter that libpq does not know",
    "host=a:hunter2&host=b:1": "has hosts that cannot be read",
}


@pytest.mark.parametrize(("query", "expected"), REFUSED.items())
def test_what_contradicts_the_service_is_refused(query: str, expected: str) -> None:
    """What would hold for no connection, or only for some, is a bad setting, and no value of it is repeated."""
    (problem,) = problems(database_url=f"postgresql://db/alerts?{query}")
    assert problem.startswith(f"DATABASE_URL: {expected}")
    assert SECRET not in problem


def test_a_replica_needs_a_primary() -> None:
    """The embedded database has none, so a replica without a configured primary is a mistake."""
    (problem,) = problems(database_read_url="postgresql://db/alerts")
    assert "DATABASE_READ_URL needs DATABASE_URL or DB_HOST" in problem
    settings = load_settings(None, database_url="postgresql://a/alerts", database_read_url="postgresql://b/alerts")
    assert settings.replica == "postgresql+psycopg2://b/alerts"


def test_max_ahead_needs_a_clock() -> None:
    """Whether an event is ahead of the clock can be said only of times since 1970."""
    with pytest.raises(SettingsError) as caught:
        load_settings(None, max_ahead=60)
    (problem,) = caught.value.problems
    assert problem.startswith("MAX_AHEAD needs TIME_IS_EPOCH=true")
    assert load_settings(None, max_ahead=0, time_is_epoch=True).max_ahead == 0
    assert load_settings(None, time_is_epoch=True).max_ahead is None


def test_the_port_of_the_metrics_is_another() -> None:
    """The service and its metrics cannot share a port that is apart."""
    (problem,) = problems(metrics_port=5000)
    assert problem.startswith("METRICS_PORT must not be BACKEND_PORT")
    assert load_settings(None, metrics_port=5000, backend_port=5001).metrics_port == 5000
