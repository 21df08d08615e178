"""People whom a proxy has let in: believed by its address alone, and never beside a key."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from config_loader import SettingsError, load_settings
from tests.conftest import ClientMaker
from tests.contract.helpers import NOTHING, Sessions, an_event, counts, problem
from tests.keys import add_key, bearer

HEADER = "X-Forwarded-User"
PROXY: dict[str, Any] = {"trusted_proxy_header": HEADER, "trusted_hosts": "alerts.example"}
ALERTS = {"Host": "alerts.example"}


@pytest.fixture
def client(make_client: ClientMaker) -> FlaskClient:
    """A client behind a proxy on the same machine."""
    return make_client(**PROXY)


def who(client: FlaskClient, name: str, peer: str = "127.0.0.1", **headers: str) -> Any:
    """What the service says of a request that names somebody."""
    return client.get("/session", headers=ALERTS | {HEADER: name} | headers, environ_overrides={"REMOTE_ADDR": peer})


def test_who_the_proxy_names(client: FlaskClient) -> None:
    """Whoever it names may read and work alerts, under that name, and no more."""
    answer = who(client, "Ada Müller".encode().decode("latin-1"))
    assert answer.get_json() == {"name": "Ada Müller", "scopes": ["read", "work"], "expires_at": None}
    headers = ALERTS | {HEADER: "Ada", "Sec-Fetch-Site": "same-origin"}
    assert client.get("/rules", headers=headers).status_code == 200
    assert problem(client.put("/rules/30", json={"note": "x"}, headers=headers), 403)["type"] == "urn:problem:scope"


def test_what_they_may_do(make_client: ClientMaker) -> None:
    """A setting says it."""
    client = make_client(**PROXY, trusted_proxy_scopes="read,tune")
    headers = ALERTS | {HEADER: "Ada", "Sec-Fetch-Site": "same-origin"}
    assert client.put("/rules/30", json={"note": "x"}, headers=headers).get_json()["author"] == "Ada"


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_from_the_proxy(client: FlaskClient, peer: str) -> None:
    """By default a proxy on the same machine is believed."""
    assert who(client, "Ada", peer).get_json()["name"] == "Ada"


@pytest.mark.parametrize("peer", ["10.0.0.1", "::2", "::ffff:10.0.0.1", "", "unix", "127.0.0.1, 10.0.0.1"])
def test_from_elsewhere(client: FlaskClient, peer: str) -> None:
    """From any other address the header means nothing."""
    problem(who(client, "Ada", peer), 401)


def test_other_networks(make_client: ClientMaker) -> None:
    """TRUSTED_PROXIES names the networks, and then only these."""
    client = make_client(**PROXY, trusted_proxies="10.1.0.0/16, 2001:db8::7")
    for peer, status in (("10.1.2.3", 200), ("2001:db8::7", 200), ("10.2.0.1", 401), ("127.0.0.1", 401)):
        assert who(client, "Ada", peer).status_code == status


def test_beside_a_key(client: FlaskClient, sessions: Sessions) -> None:
    """A request with a key is the key's, good or bad, whoever the header names."""
    key = add_key(sessions, "Bob", ["read"])
    client.get("/healthz")
    problem(who(client, "Ada", **bearer("x")), 401)
    assert who(client, "Ada", **bearer(key)).get_json()["name"] == "Bob"


def test_without_the_header(client: FlaskClient, sessions: Sessions) -> None:
    """Where people come through a proxy nobody else is let in without a key, from this machine neither."""
    for headers in ({}, ALERTS):
        problem(client.get("/rules", headers=headers), 401)
        problem(client.post("/event", json=an_event(), headers=headers), 401)
    assert counts(sessions) == NOTHING


@pytest.mark.parametrize("name", ["", " ", "anonymous", "Command Line", "a,b", "x" * 65, "\xff", "a\tb"])
def test_names_that_are_none(client: FlaskClient, name: str) -> None:
    """What cannot be the name of a caller is a 401, not somebody else."""
    assert problem(who(client, name), 401)["type"] == "urn:problem:bad-person"


def test_pages_of_elsewhere(client: FlaskClient) -> None:
    """Browsers send to the proxy what lets them in by themselves, so a page has to say that it is of this origin."""
    headers = ALERTS | {HEADER: "Ada"}
    for page in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.test"}):
        answer = client.put("/rules/30", json={"note": "x"}, headers=headers | page)
        assert problem(answer, 403)["type"] == "urn:problem:other-origin"


def test_off_by_default(make_client: ClientMaker, sessions: Sessions) -> None:
    """Without the setting no header names anybody."""
    add_key(sessions)
    problem(who(make_client(trusted_hosts="alerts.example"), "Ada"), 401)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("trusted_proxy_header", value) for value in ("X_User", "X User", "Authorization", "cookie", "Sec-User")),
        *(("trusted_proxies", value) for value in ("10.0.0.1/8", "proxy.example", "10.0.0.0/33", "127.0.0.1,x")),
        *(("trusted_proxy_scopes", value) for value in ("everything", "read,admins")),
    ],
)
def test_bad_settings(name: str, value: str) -> None:
    """What cannot be meant is named at the start."""
    with pytest.raises(SettingsError, match=name.upper()):
        load_settings(None, **{name: value})
