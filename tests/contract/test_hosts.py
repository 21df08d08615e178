"""Who is answered: callers who name this host, in paths as they are written, and pages of this origin alone."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from routes.http.origins import REMEMBERED, TrustedHosts
from tests.conftest import ClientMaker
from tests.contract.helpers import JSON, NOTHING, Sessions, an_event, counts, problem
from tests.service import Service
from tests.waiting import PATIENCE

OWN_HOSTS = (
    *("localhost", "localhost:5000", "LOCALHOST", "localhost.", "localhost.:80", "localhost:", "127.0.0.1"),
    *("127.0.0.1:65535", "127.1.2.3", "127.0.0.1.", "[::1]", "[::1]:5000", "[0:0:0:0:0:0:0:1]:5000"),
)
OTHER_HOSTS = (
    *("evil.test", "evil.test:5000", "localhost.evil.test", "evil.localhost.test", "127.0.0.1.evil.test", ""),
    *("localhost,evil.test", "evil.test@localhost", "localhost@evil.test", "localhost:5000:5000", "localhost:x"),
    *("127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "10.0.0.1", "[::]", "[::2]"),
    *("::1", "[::1", "[127.0.0.1]", "[::1].evil.test", "localhost/", "localhost#", "locälhost", "http://localhost"),
    *("a" * 300, "-"),
)
OWN_PAGES = {
    "no page": (),
    "its own page": (("Origin", "http://localhost:5000"), ("Sec-Fetch-Site", "same-origin")),
    "its own page in an old browser": (("Origin", "http://localhost:5000"),),
    "its own page, in other case": (("Origin", "HTTP://LOCALHOST:5000"),),
    "its own page behind TLS": (("Origin", "https://localhost:5000"),),
    "the address bar": (("Sec-Fetch-Site", "none"),),
}
OTHER_PAGES = {
    "other origin": (("Origin", "https://evil.test"),),
    "other origin that pretends": (("Origin", "https://evil.test"), ("Sec-Fetch-Site", "same-origin")),
    "other port": (("Origin", "http://localhost:3000"),),
    "other name of loopback": (("Origin", "http://127.0.0.1:5000"),),
    "other, hidden": (("Origin", "null"),),
    "other, empty": (("Origin", ""),),
    "other scheme": (("Origin", "file://localhost:5000"),),
    "other, with more behind": (("Origin", "http://localhost:5000.evil.test"),),
    "other, with a path": (("Origin", "http://localhost:5000/"),),
    "other, within a user": (("Origin", "http://localhost:5000@evil.test"),),
    "other site": (("Sec-Fetch-Site", "cross-site"),),
    "other, of the same site": (("Sec-Fetch-Site", "same-site"),),
    "other, unheard of": (("Sec-Fetch-Site", "x"),),
}
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "",
}


def post(client: FlaskClient, headers: Any, path: str = "/event") -> Any:
    """The answer to an event posted with these headers."""
    return client.post(path, json=an_event(), headers=list(headers))


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_loopback_is_answered(client: FlaskClient, host: str) -> None:
    """By default every name and address of loopback is answered, whatever the port."""
    assert post(client, [("Host", host)]).status_code == 200


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_another_host_is_not(client: FlaskClient, sessions: Sessions, host: str) -> None:
    """Any other Host is a 403 that names the setting, on every path and for every method; nothing is stored."""
    for method, path in (("POST", "/event"), ("GET", "/users/1"), ("GET", "/openapi.json"), ("GET", "/nowhere")):
        answer = client.open(path, method=method, json=an_event(), headers=[("Host", host)])
        document = problem(answer, 403)
        assert (document["type"], "TRUSTED_HOSTS" in document["detail"]) == ("urn:problem:untrusted-host", True)
    assert counts(sessions) == NOTHING


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_who_asks_for_health(client: FlaskClient, path: str) -> None:
    """The two paths for health answer an address of any kind, or no host, which is how probes ask; never a name."""
    for host in ("10.1.2.3:5000", "192.168.1.9", "[fd00::7]:5000", "", "localhost"):
        assert client.get(path, headers=[("Host", host)]).status_code == 200
    for host in ("evil.test", "10.1.2.3.evil.test", "10.1.2"):
        problem(client.get(path, headers=[("Host", host)]), 403)


def test_trusted_hosts(make_client: ClientMaker) -> None:
    """TRUSTED_HOSTS names further hosts, in any case; loopback stays one of them."""
    names = "alerts.example, Alerts.Internal.,192.0.2.7 ,2001:DB8::7,[2001:db8::8]"
    client = make_client(trusted_hosts=names, allow_anonymous=True)
    for host in ("alerts.example:443", "ALERTS.example.", "alerts.internal", "192.0.2.7:5000", "localhost"):
        assert post(client, [("Host", host)]).status_code == 200
    for host in ("[2001:db8:0::7]:5000", "[2001:db8::8]"):
        assert post(client, [("Host", host)]).status_code == 200
    for host in ("www.alerts.example", "example", "192.0.2.8", "[2001:db8::9]"):
        problem(post(client, [("Host", host)]), 403)


def test_more_hosts_than_are_remembered() -> None:
    """Any number of hosts is told apart, and few are remembered."""
    hosts = TrustedHosts(())
    for port in range(5, 3 * REMEMBERED):
        assert hosts.trusts(b"localhost:%d" % port)
        assert not hosts.trusts(b"evil.test:%d" % port)
    assert hosts.trusts.cache_info().currsize == REMEMBERED


@pytest.mark.parametrize(
    ("listens_on", "host", "status"),
    [
        ("192.0.2.7", "192.0.2.7:5000", 200),
        ("alerts.example", "alerts.example", 200),
        ("2001:db8::7", "[2001:db8::7]:5000", 200),
        ("0.0.0.0", "0.0.0.0:5000", 403),
        ("0.0.0.0", "192.0.2.7:5000", 403),
        ("::", "[2001:db8::7]:5000", 403),
        ("0.0.0.0", "127.0.0.1:5000", 200),
    ],
)
def test_where_it_listens(make_client: ClientMaker, listens_on: str, host: str, status: int) -> None:
    """The one address or name in BACKEND_HOST is answered; all addresses at once name none."""
    client = make_client(backend_host=listens_on, allow_anonymous=True)
    assert post(client, [("Host", host)]).status_code == status


@pytest.mark.parametrize("headers", OWN_PAGES.values(), ids=OWN_PAGES)
def test_its_own_pages(client: FlaskClient, headers: Any) -> None:
    """Programs, and pages of the origin that the Host names, can post."""
    assert post(client, [("Host", "localhost:5000"), *headers]).status_code == 200


@pytest.mark.parametrize("headers", OTHER_PAGES.values(), ids=OTHER_PAGES)
def test_pages_of_others(client: FlaskClient, sessions: Sessions, headers: Any) -> None:
    """A page of another origin gets a 403 for whatever changes something, and changes nothing."""
    for method, path in (("POST", "/event"), ("POST", "/users"), ("PUT", "/rules/30"), ("DELETE", "/backtests/1")):
        answer = client.open(path, method=method, json={}, headers=[("Host", "localhost:5000"), *headers])
        assert problem(answer, 403)["type"] == "urn:problem:other-origin"
    assert counts(sessions) == NOTHING
    assert client.get("/rules", headers=[("Host", "localhost:5000"), *headers]).status_code == 200


def test_default_ports(make_client: ClientMaker) -> None:
    """An origin without a port is the same as one with its scheme's own."""
    client = make_client(trusted_hosts="alerts.example", allow_anonymous=True)
    for origin, host in (
        ("https://alerts.example", "alerts.example"),
        ("https://alerts.example", "alerts.example:443"),
        ("http://alerts.example:80", "alerts.example"),
    ):
        assert post(client, [("Host", host), ("Origin", origin)]).status_code == 200
    problem(post(client, [("Host", "alerts.example:444"), ("Origin", "https://alerts.example")]), 403)


ODD_PATHS = (
    *("//healthz", "///healthz", "/healthz/", "/healthz//", "/./healthz", "/healthz/.", "/x/../healthz", "/%68ealthz"),
    *("/healthz%2f", "/healthz%2F", "/%2fhealthz", "/healthz%20", "/healthz%00", "/healthz%0a", "/%2568ealthz"),
    *("/healthz%252f", "\\healthz", "/\\healthz", "/healthz\\", "/healthz;x", "/healthz%3fx", "/HEALTHZ", "/health%7a"),
    *("/%6detrics", "/users%2f1", "/users/%31", "/docs/assets%2fdocs.js", "/docs/assets/%64ocs.js", "/docs%2e"),
)


@pytest.mark.parametrize("path", ODD_PATHS)
def test_paths_are_exact(client: FlaskClient, path: str) -> None:
    """A path that is written otherwise than it stands in the document is a 404."""
    client.post("/users", json={"user_id": 1})
    if path.startswith("//"):  # the test client would take it for a host
        problem(client.get("/", environ_overrides={"PATH_INFO": path, "REQUEST_URI": path}), 404)
        problem(client.get("/", environ_overrides={"PATH_INFO": path}), 404)
    else:
        problem(client.get(path), 404)


@pytest.mark.parametrize("path", ["/docs/assets/docs.js", "/docs/assets/swagger-ui/swagger-ui.css"])
def test_plain_paths(client: FlaskClient, path: str) -> None:
    """What has a path of several parts is still found."""
    with client.get(path) as answer:
        assert answer.status_code == 200


ANSWERS = [
    ("GET", "/healthz", 200, "no-store"),
    ("HEAD", "/healthz", 200, "no-store"),
    ("OPTIONS", "/event", 200, "no-store"),
    ("TRACE", "/event", 405, "no-store"),
    ("GET", "/nowhere", 404, "no-store"),
    ("DELETE", "/event", 405, "no-store"),
    ("POST", "/event", 415, "no-store"),
    ("GET", "/metrics", 200, "no-store"),
    ("GET", "/openapi.json", 200, "private, no-cache"),
    ("GET", "/docs", 200, "no-store"),
    ("GET", "/docs/assets/docs.js", 200, "no-cache"),
    ("GET", "/rules/30", 200, "private, no-cache"),
    ("GET", "/rules", 200, "no-store"),
]


@pytest.mark.parametrize(("method", "path", "status", "kept"), ANSWERS)
def test_headers_for_browsers(client: FlaskClient, method: str, path: str, status: int, kept: str) -> None:
    """Every answer says that it is no more than it says it is, is shown in no frame and kept by nobody unasked."""
    with client.open(path, method=method) as answer:
        assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert answer.headers["Cache-Control"] == kept
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert ("default-src 'none'" in policy) == (path != "/docs")
    assert not any(name.startswith("Access-Control-") for name, _ in answer.headers)


# What only a socket can send


def ask(service: Service, *lines: str, body: str = "") -> tuple[int, str]:
    """The status and the whole answer to a request of these lines."""
    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as caller,
        caller.makefile("rb") as answers,
    ):
        caller.sendall("\r\n".join([*lines, "Connection: close", "", body]).encode())
        answer = answers.read().decode()
    return int(answer.split(" ", 2)[1]), answer.partition("\r\n\r\n")[0].lower()


def test_over_a_socket(start_service: Callable[..., Service], sessions: Sessions) -> None:
    """No host, two hosts, a target with a host of its own: only what the one Host header names is answered."""
    service = start_service()
    own, other = "Host: localhost", "Host: evil.test"
    assert ask(service, "GET /rules HTTP/1.0")[0] == 403
    assert ask(service, "GET /rules HTTP/1.1")[0] == 403
    assert ask(service, "GET /healthz HTTP/1.0")[0] == 200
    assert ask(service, "GET /rules HTTP/1.1", own, other)[0] == 403
    assert ask(service, "GET /rules HTTP/1.1", other, own)[0] == 403
    assert ask(service, "GET /rules HTTP/1.1", own, own)[0] == 403
    assert ask(service, "GET http://localhost/rules HTTP/1.1", other)[0] == 403
    assert ask(service, "GET http://localhost/rules HTTP/1.1", own)[0] == 200
    assert ask(service, "OPTIONS * HTTP/1.1", own)[0] == 404
    event = '{"type": "deposit", "amount": "42.00", "user_id": 1, "time": 10}'
    posted = ("POST /event HTTP/1.1", f"Content-Type: {JSON}", f"Content-Length: {len(event)}")
    for hosts in ((), (other,), (own, own), (own, other)):
        assert ask(service, *posted, *hosts, body=event)[0] == 403
    assert counts(sessions) == NOTHING
    status, headers = ask(service, *posted, own, body=event)
    assert status == 200
    for name, value in HEADERS.items():
        assert headers.count(f"\r\n{name.lower()}: {value.lower()}") == 1, name
    assert "granian" not in headers


def test_paths_are_exact_over_a_socket(start_service: Callable[..., Service], subtests: pytest.Subtests) -> None:
    """The server does not tidy a path up, nor does it take what is no path (400)."""
    service = start_service()
    for path in ODD_PATHS:
        with subtests.test(path=path):
            status = ask(service, f"GET {path} HTTP/1.1", "Host: localhost")[0]
            assert status == (404 if path.startswith("/") else 400)
    assert ask(service, "GET /docs/assets/docs.js HTTP/1.1", "Host: localhost")[0] == 200
