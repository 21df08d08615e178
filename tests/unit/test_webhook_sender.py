"""One attempt to send a message, to receivers that hang, drip, redirect, never end, or are not who they should be."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.waiting import PATIENCE, wait_until
from tests.webhook_receiver import Receiver
from version import VERSION
from work import webhook_connections, webhook_sender
from work.webhook_addresses import Address, AddressPolicy
from work.webhook_connections import Deadlines, NameLookups, NotSent
from work.webhook_sender import Attempted, Sender

LOOPBACK = AddressPolicy(allow=(ip_network("127.0.0.0/8"),))
STRICT = AddressPolicy()
HERE = ip_address("127.0.0.1")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A receiver with many paths."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def deadlines() -> Deadlines:
    """What cuts connections off."""
    return Deadlines()


Make = Callable[..., Sender]


@pytest.fixture
def make(deadlines: Deadlines) -> Iterator[Make]:
    """Makes senders: `make(policy, look_up=..., context=...)`."""
    made = []

    def make(
        policy: AddressPolicy = LOOPBACK,
        look_up: Callable[[str, int], list[Address]] = lambda _host, _port: [HERE],
        context: ssl.SSLContext | None = None,
    ) -> Sender:
        sender = Sender(policy, NameLookups(look_up), deadlines, lambda: context or ssl.create_default_context())
        made.append(sender)
        return sender

    yield make
    for one in made:
        one.close()


def send(sender: Sender, url: str) -> Attempted:
    """Send a message there."""
    return sender.send(url, '{"a": "ä"}', {"webhook-id": "msg_1", "Content-Type": "application/json"})


def test_what_arrives(receiver: Receiver, make: Make) -> None:
    """The body byte for byte, the headers, the name of the host and the version; no cookie, no proxy's header."""
    attempted = send(make(), f"{receiver.url}/what?x=1")
    assert (attempted.status, attempted.error) == (204, None)
    [got] = receiver.at("/what?x=1")
    assert got.body == '{"a": "ä"}'
    assert got.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "user-agent": f"transaction-alerts/{VERSION}",
        "content-type": "application/json",
        "content-length": str(len('{"a": "ä"}'.encode())),
        "webhook-id": "msg_1",
        "accept-encoding": "identity",
    }


def test_no_proxy_of_the_environment(receiver: Receiver, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that name a proxy for other programs change nothing."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert send(make(), f"{receiver.url}/direct").status == 204


def test_a_connection_is_used_again(receiver: Receiver, make: Make) -> None:
    """For the next message to the same place, if the answer was short."""
    sender, before = make(), receiver.connections
    for _ in range(5):
        assert send(sender, f"{receiver.url}/again").status == 204
        assert send(sender, f"{receiver.url}/status/500").status == 500
    assert receiver.connections == before + 1
    sender.close()
    send(sender, f"{receiver.url}/again")
    assert receiver.connections == before + 2


def test_a_connection_that_was_closed_meanwhile(make: Make) -> None:
    """The receiver may close it at any time: the message goes over another one."""
    sender = make()
    with Receiver() as first:
        port = first.port
        assert send(sender, f"http://127.0.0.1:{port}/").status == 204
        assert sender._connection is not None
        assert sender._connection.sock is not None
        sender._connection.sock.shutdown(socket.SHUT_RDWR)
        assert send(sender, f"http://127.0.0.1:{port}/").status == 204
        assert len(first.received) == 2


@pytest.mark.parametrize("status", [200, 302, 307, 400, 410, 429, 500, 503])
def test_statuses(status: int, receiver: Receiver, make: Make) -> None:
    """The status is what counts."""
    assert send(make(), f"{receiver.url}/status/{status}")[1:] == (status, None, None)


def test_what_comes_before_the_answer(receiver: Receiver, make: Make) -> None:
    """A 103 says that the answer is still to come."""
    sender = make()
    assert [send(sender, f"{receiver.url}/early-hints/{status}").status for status in (500, 204)] == [500, 204]


def test_redirects_are_not_followed(receiver: Receiver, make: Make) -> None:
    """It is an answer like any other."""
    assert send(make(), f"{receiver.url}/redirect").status == 302
    assert receiver.at("/redirected") == []


def test_a_pause_that_was_asked_for(receiver: Receiver, make: Make) -> None:
    """It is told along with the status."""
    assert send(make(), f"{receiver.url}/retry-after/429/7")[1:] == (429, None, 7)


@pytest.mark.parametrize("path", ["/hang", "/drip"])
def test_too_slow(path: str, receiver: Receiver, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that gives no answer, or a letter of it at a time, is cut off when the time is over."""
    monkeypatch.setattr(webhook_sender, "ATTEMPT_SECONDS", 0.5)
    attempted = send(make(), f"{receiver.url}{path}")
    assert (attempted.status, attempted.error) == (None, "no answer within 0.5 s")
    assert attempted.seconds >= 0.5


def test_a_handshake_that_does_not_go_on(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS's part of the connection has no more time than the rest."""
    monkeypatch.setattr(webhook_sender, "ATTEMPT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        assert send(make(), url).error == "no connection within 0.3 s"


@pytest.mark.parametrize("path", ["/endless", "/drip-body", "/no-length"])
def test_a_body_that_nobody_reads(path: str, receiver: Receiver, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status is known; no more than a few kilobytes are read, and a slow rest is not waited for."""
    monkeypatch.setattr(webhook_sender, "ATTEMPT_SECONDS", float(PATIENCE))
    monkeypatch.setattr(webhook_sender, "DRAIN_SECONDS", 0.01)
    sender = make()
    attempted = send(sender, f"{receiver.url}{path}")
    assert attempted[1:3] == (200, None)
    assert attempted.seconds < PATIENCE / 2
    assert sender._connection is None


def test_a_head_without_end(receiver: Receiver, make: Make) -> None:
    """No more of it is read than may be."""
    assert send(make(), f"{receiver.url}/long-head").error == "no answer: the answer is too long"


def test_nobody_is_there(make: Make) -> None:
    """A refused connection, and a name without addresses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert send(make(), f"http://127.0.0.1:{port}/").error == "no connection: Connection refused"

    def fail(_host: str, _port: int) -> list[Address]:
        raise socket.gaierror(-2, "Name or service not known")

    named = AddressPolicy(allow=("nobody.test",))
    sender = make(named, look_up=fail)
    assert send(sender, "http://nobody.test/").error == "nobody.test has no address: Name or service not known"


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1"])
def test_a_name_that_leads_inside(address: str, receiver: Receiver, make: Make) -> None:
    """A name whose addresses are not public is refused, even if one of them is: nothing is connected to."""
    before = receiver.connections
    found: list[Address] = [ip_address(address)]
    sender = make(STRICT, look_up=lambda *_: found)
    for _ in range(2):
        error = send(sender, f"https://example.com:{receiver.port}/").error or ""
        assert error.startswith(f"example.com has the address {ip_address(address)}: it is not public")
        found.insert(0, ip_address("8.8.8.8"))
    assert receiver.connections == before


def test_addresses_are_judged_at_each_attempt(receiver: Receiver, make: Make) -> None:
    """A name that led to an allowed address a moment ago, and over which a connection is still open."""
    found: list[Address] = [HERE]
    sender = make(AddressPolicy(allow=(ip_network("127.0.0.0/8"),)), look_up=lambda *_: found)
    url = f"http://inside.test:{receiver.port}/"
    assert send(sender, url).status == 204
    found[:] = [ip_address("169.254.169.254")]
    assert send(sender, url).error == (
        "inside.test has the address 169.254.169.254: it is not public, and settings do not allow it"
    )


def test_the_address_that_was_checked_is_connected_to(receiver: Receiver, make: Make) -> None:
    """The name is looked up once, and its name goes into the request: `inside.test` is unknown to the system."""
    asked = []

    def look_up(host: str, port: int) -> list[Address]:
        asked.append((host, port))
        return [HERE]

    sender = make(AddressPolicy(allow=("inside.test",)), look_up=look_up)
    assert send(sender, f"http://inside.test:{receiver.port}/pinned").status == 204
    assert asked == [("inside.test", receiver.port)]
    assert receiver.at("/pinned")[0].headers["host"] == f"inside.test:{receiver.port}"


def test_another_address_is_tried(receiver: Receiver, make: Make) -> None:
    """If nobody listens on the first one."""
    sender = make(look_up=lambda *_: [ip_address("127.0.0.9"), HERE])
    assert send(sender, f"http://inside.test:{receiver.port}/").status == 204


def test_silent_addresses_leave_time_for_others(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets its part of what is left, and no more of them are tried than may be."""
    shares = []

    def connect(_sender: Sender, until: float) -> None:
        shares.append(until - time.monotonic())
        raise NotSent("silent")

    monkeypatch.setattr(Sender, "_connect", connect)
    sender = make(look_up=lambda *_: [ip_address(f"127.0.0.{number}") for number in range(1, 10)])
    assert send(sender, "http://inside.test/").error == "silent"
    assert len(shares) == webhook_sender.MOST_ADDRESSES
    assert shares[0] <= webhook_sender.ATTEMPT_SECONDS / webhook_sender.MOST_ADDRESSES


def test_names_that_are_not_found_in_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lookup that hangs ends the attempt in time, and there are never more of them than may be."""
    monkeypatch.setattr(webhook_sender, "ATTEMPT_SECONDS", 0.1)
    closing, begun = threading.Event(), []

    def hang(host: str, _port: int) -> list[Address]:
        begun.append(host)
        closing.wait()
        return []

    sender = make(AddressPolicy(allow=("slow.test",)), look_up=hang)
    for _ in range(webhook_connections.LOOKUPS + 2):
        assert send(sender, "http://slow.test/").error == "the addresses of slow.test were not found in time"
    assert len(begun) == webhook_connections.LOOKUPS
    closing.set()
    wait_until(lambda: not [one for one in threading.enumerate() if one.name == "lookup"])


def certificate(name: str, authority: Any = None, key: Any = None) -> tuple[x509.Certificate, Any]:
    """A certificate for a name, and its key; without an authority, one that signs others."""
    own = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if authority is None else authority.subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
    )
    return builder.sign(key or own, hashes.SHA256()), own


def test_certificates(make: Make, tmp_path: Path) -> None:
    """The certificate must be the name's, whatever address it leads to, and of a known authority."""
    authority, key = certificate("authority.test")
    own, own_key = certificate("right.test", authority, key)
    pem, encoding = tmp_path / "pem", serialization.Encoding.PEM
    private = own_key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(own.public_bytes(encoding) + private)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pem)
    knowing = ssl.create_default_context(cadata=authority.public_bytes(encoding).decode())
    with Receiver(context=serving) as receiver:

        def error(host: str, context: ssl.SSLContext | None) -> str | None:
            sender = make(AddressPolicy(allow=("right.test", "wrong.test")), context=context)
            attempted = send(sender, f"https://{host}:{receiver.port}/")
            assert (attempted.status == 204) == (attempted.error is None)
            return attempted.error

        assert error("right.test", knowing) is None
        assert "not valid for 'wrong.test'" in (error("wrong.test", knowing) or "")
        assert "certificate" in (error("right.test", None) or "")
        assert len(receiver.received) == 1
