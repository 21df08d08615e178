"""Whether the service starts: where others can reach it somebody has to have made a key, and it says who may call."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable

import pytest
import requests
from flask.testing import FlaskClient

from commands import start_access
from config_loader import SettingsError, load_settings
from rules.service import Service as RunningService
from tests.contract.helpers import Sessions
from tests.keys import add_key, bearer
from tests.service import ROOT, Service, free_port
from tests.waiting import PATIENCE, wait_until

SECRET = "a secret of at least 32 characters"


def run(database_url: str, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in the project's folder that is expected to end by itself."""
    settings = {"DATABASE_URL": database_url, "BACKEND_PORT": str(free_port())} | environment
    program = list(command) or [sys.executable, "app.py"]
    return subprocess.run(
        program, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, check=False, timeout=PATIENCE
    )


def test_no_key_where_others_can_come(database_url: str, start_service: Callable[..., Service]) -> None:
    """It does not start, and says which command makes a key; that one, copied, is enough."""
    refused = run(database_url, BACKEND_HOST="0.0.0.0", SECRET_KEY=SECRET)
    assert (refused.returncode, "no key has been made" in refused.stderr) == (2, True)
    (line,) = [line for line in refused.stderr.splitlines() if "keys create" in line]
    made = run(database_url, *shlex.split(line))
    assert made.returncode == 0, made.stderr
    service = start_service(BACKEND_HOST="0.0.0.0", SECRET_KEY=SECRET)
    wait_until(lambda: start_access.CLOSED in service.output())
    assert requests.get(f"{service.url}/rules", timeout=PATIENCE).status_code == 401
    headers = bearer(made.stdout.strip())
    assert requests.get(f"{service.url}/rules", headers=headers, timeout=PATIENCE).status_code == 200


def test_no_secret_where_others_can_come(database_url: str, sessions: Sessions) -> None:
    """There must be a secret for sessions, or they would end with each start."""
    add_key(sessions)
    refused = run(database_url, BACKEND_HOST="0.0.0.0")
    assert refused.returncode == 2
    assert "SECRET_KEY: is needed" in refused.stderr
    assert "keys create first" in refused.stderr  # which would be the next thing that is missing
    assert "Traceback" not in refused.stderr


def test_allow_anonymous_where_others_can_come(start_service: Callable[..., Service]) -> None:
    """It starts without a key and a secret if it is told to let everybody in, and says so."""
    service = start_service(BACKEND_HOST="0.0.0.0", ALLOW_ANONYMOUS="true")
    wait_until(lambda: start_access.OPEN_TO_ALL in service.output())
    assert requests.get(f"{service.url}/rules", timeout=PATIENCE).status_code == 200


def test_it_says_that_it_is_open(shared_service: Service) -> None:
    """On loopback it starts without a key, and says who may call."""
    wait_until(lambda: start_access.OPEN in shared_service.output())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1.2.3", "::1", "LOCALHOST"])
def test_a_secret_of_its_own(host: str) -> None:
    """On loopback each start makes a secret of its own for sessions, unless it has been given one."""
    first, second = (load_settings(None, backend_host=host).with_secret() for _ in range(2))
    assert first.session_secret is not None
    assert first.session_secret != second.session_secret
    assert len(first.session_secret.get_secret_value()) == 64
    assert first.secret_key is None
    assert first.with_database("postgresql+psycopg2:///other").session_secret == first.session_secret


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "alerts.example"])
def test_no_secret_of_its_own(host: str) -> None:
    """Elsewhere it must be given one."""
    with pytest.raises(SettingsError, match="SECRET_KEY: is needed"):
        load_settings(None, backend_host=host).with_secret()
    settings = load_settings(None, backend_host=host, secret_key=SECRET)
    assert settings.with_secret() is settings


@pytest.mark.parametrize("name", ["secret_key", "secret_key_fallbacks"])
def test_short_secrets(name: str) -> None:
    """A secret that could be guessed is refused, and not shown."""
    with pytest.raises(SettingsError) as raised:
        load_settings(None, **{name: "too-short-to-be-one"})
    assert f"{name.upper()}: must have at least 32 characters" in str(raised.value)
    assert "too-short" not in str(raised.value)
    long = load_settings(None, secret_key_fallbacks=f"{SECRET}, {SECRET}2").secret_key_fallbacks
    assert [one.get_secret_value() for one in long] == [SECRET, f"{SECRET}2"]


def test_behind_a_proxy_it_is_not_open(client: FlaskClient) -> None:
    """Where a proxy names people it does not say that it is open, since it lets nobody else in."""
    service = RunningService.of(client.application.extensions)
    for open_to_all in (False, True):
        for has_proxy, said in ((True, start_access.CLOSED), (False, None)):
            text = start_access.check(
                service, host="127.0.0.1", is_loopback=True, allow_anonymous=open_to_all, has_proxy=has_proxy
            )
            assert (text == start_access.CLOSED) == (said is not None)
