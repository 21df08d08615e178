"""The Python client: against a server that fails in every way, and against the real service while that is killed."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from ssl import SSLCertVerificationError, SSLEOFError
from typing import Any
from unittest.mock import Mock

import pytest
from urllib3.exceptions import SSLError

import transaction_alerts_client as client_module
from tests.e2e.faulty import FaultyServer
from tests.service import ROOT, Service
from tests.waiting import PATIENCE, wait_until
from transaction_alerts_client import AlertsClient, EventResult, RequestRefused, Unavailable, with_id


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that a client would have waited between attempts; it does not."""
    found: list[float] = []
    monkeypatch.setattr("transaction_alerts_client.sleep", found.append)
    return found


def client_of(server: FaultyServer, **more: Any) -> AlertsClient:
    """A client with a key, which tries six times unless `more` says otherwise."""
    return AlertsClient(f"http://127.0.0.1:{server.server_port}", key="tak_1", **{"attempts": 6} | more)


def test_what_can_succeed_is_tried_again(server: FaultyServer, waits: list[float]) -> None:
    """An event is sent with one id until it is answered, after waits as long as was asked for, and ever longer ones."""
    with client_of(server) as client:
        assert client.post_event({"event_id": "one", "user_id": 7}) == EventResult("one", 7, alert_codes=(30,))
    assert server.received == [["one"]] * 5
    assert server.authorized == {"Bearer tak_1"}
    assert len(waits) == 4
    assert waits[3] > 7
    assert 0 < waits[0] < waits[1] < waits[2]


def test_of_many_only_those_are_sent_again_that_can_succeed(server: FaultyServer, waits: list[float]) -> None:
    """Each has its result, in the order given; one that is not stored yet is sent again by itself."""
    found = client_of(server).post_events([{"event_id": name} for name in "abc"])
    assert [(one.event_id, one.alert_codes) for one in found] == [("a", (1,)), ("b", (2,)), ("c", (1,))]
    assert server.received == [["a", "b", "c"], ["b"]]
    assert len(waits) == 1


def test_what_is_refused_is_not_sent_again(server: FaultyServer, waits: list[float]) -> None:
    """The problem says why."""
    with pytest.raises(RequestRefused) as refused:
        client_of(server).post_event({"event_id": "refused"})
    assert refused.value.problem["status"] == 409
    assert (server.received, waits) == ([["refused"]], [])


def test_attempts_are_bounded(server: FaultyServer, waits: list[float]) -> None:
    """In the end it says which events are not settled, and what it was answered last; so it does if time runs out."""
    with pytest.raises(Unavailable) as away:
        client_of(server).post_event({"event_id": "away"})
    assert away.value.event_ids == ("away",)
    assert away.value.problem == {"status": 503}
    assert (len(server.received), len(waits)) == (6, 5)
    with pytest.raises(Unavailable):
        client_of(server, patience=0.0).post_event({"event_id": "away"})
    assert (len(server.received), len(waits)) == (7, 5)


def test_a_batch_that_fails_is_to_be_sent_again(server: FaultyServer, waits: list[float]) -> None:
    """All of it: those that were answered before have no result that anybody was given."""
    with pytest.raises(Unavailable) as away:
        client_of(server, attempts=1).post_events([{"event_id": name} for name in "abc"])
    assert away.value.event_ids == ("a", "b", "c")


def test_what_stays_wrong_is_not_tried_again(server: FaultyServer, waits: list[float]) -> None:
    """Another server's answer, and a bad certificate; a connection that broke may come right."""
    with pytest.raises(RequestRefused, match="is this the service"):
        client_of(server).post_event({"event_id": "other"})
    with client_of(server, attempts=2) as client, pytest.MonkeyPatch.context() as patch:
        patch.setattr(client._connections, "request", Mock(side_effect=SSLError(SSLCertVerificationError())))
        with pytest.raises(SSLError):
            client.post_event({})
        assert waits == []
        patch.setattr(client._connections, "request", Mock(side_effect=SSLError(SSLEOFError())))  # it broke
        with pytest.raises(Unavailable):
            client.post_event({})
        assert len(waits) == 1


def test_an_event_has_an_id_before_it_is_sent() -> None:
    """Its own, or one that no other has; what the caller gave stays as it was."""
    event = {"user_id": 1}
    assert with_id({"event_id": "mine"}) == {"event_id": "mine"}
    assert with_id(event)["event_id"] != with_id(event)["event_id"]
    assert event == {"user_id": 1}


def test_batches_are_bounded(server: FaultyServer) -> None:
    """Neither too many events nor too many bytes go in one request, and no more are taken than have gone."""
    taken: list[int] = []

    def events() -> Iterator[dict[str, Any]]:
        for number in range(2500):
            taken.append(number)
            yield {"event_id": f"a{number}"}

    results = client_of(server).stream(events())
    next(results)
    assert len(taken) == client_module.BATCH_EVENTS + 1
    assert len(list(results)) == 2499
    long = [{"event_id": name, "note": "x" * 600_000} for name in "acd"]
    assert len(client_of(server).post_events(long)) == 3
    assert [len(ids) for ids in server.received] == [1000, 1000, 500, 1, 1, 1]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, 0), ("7", 7), ("", 0), ("soon", 0), ("-1", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)
def test_retry_after(text: str | None, seconds: float) -> None:
    """A number of seconds, or a moment, which may be past; what cannot be read asks for nothing."""
    assert client_module._seconds(text) == seconds
    assert client_module._seconds("Wed, 21 Oct 2099 07:28:00 GMT") > 1e9


def test_it_needs_urllib3_alone(tmp_path: Path) -> None:
    """Copied somewhere else, the file works without anything of this project or another package."""
    (tmp_path / "transaction_alerts_client.py").write_text((ROOT / "transaction_alerts_client.py").read_text())
    script = (
        "import sys, transaction_alerts_client; from pathlib import Path; "
        "print(sorted({name.partition('.')[0] for name, module in sys.modules.items() "
        "if 'site-packages' in (getattr(module, '__file__', None) or '')} - {'_distutils_hack'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stdout.strip() == "['urllib3']", done.stderr


def test_nothing_is_lost_or_done_twice_while_the_service_is_killed(start_service: Callable[..., Service]) -> None:
    """Threads share a client; workers are killed, then all of the service. Every event is stored once.

    Those of a user are stored in the order of the calls, singly and in batches alike.
    """
    service = start_service()
    streams, size = 6, 40
    halfway = threading.Semaphore(0)
    client = AlertsClient(service.url, attempts=1000, patience=PATIENCE, connections=streams)

    def event(user_id: int, number: int) -> dict[str, Any]:
        return {
            "type": random.choice(["deposit", "withdraw"]),
            "amount": "150.00",
            "user_id": user_id,
            "time": number,
            "event_id": f"{user_id}-{number}",
        }

    def post(user_id: int) -> list[EventResult]:
        found: list[EventResult] = []
        for number in range(0, size, 4):
            found.append(client.post_event(event(user_id, number)))
            found += client.post_events([event(user_id, number + more) for more in (1, 2, 3)])
            halfway.release()
        return found

    with ThreadPoolExecutor(streams) as pool:
        posted = [pool.submit(post, user_id) for user_id in range(1, streams + 1)]
        for _ in range(2):  # one worker after the other
            for _ in range(streams):
                halfway.acquire()
            os.kill(service.workers()[0], signal.SIGKILL)
        for _ in range(streams):
            halfway.acquire()
        service.stop(signal.SIGKILL)
        service.start()
        results = [one.result() for one in posted]
    for user_id, found in enumerate(results, start=1):
        assert [one.event_id for one in found] == [f"{user_id}-{number}" for number in range(size)]
        actions = client.call("GET", f"/users/{user_id}/actions", limit=500)["actions"][::-1]
        assert [one["event_id"] for one in actions] == [one.event_id for one in found]
        raised = {(one["seq"], one["code"]) for one in client.alerts(user_id=user_id)}
        assert raised == {(seq, code) for seq, one in enumerate(found, start=1) for code in one.alert_codes}
    assert any(one.alert for found in results for one in found)


def test_threads_that_share_a_user_take_turns(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an event is still to be sent again, a later one of its user waits, and one of another user does not."""
    client, going_on, waiting = client_of(server), threading.Event(), threading.Event()

    def wait(_: float) -> None:
        waiting.set()
        assert going_on.wait(PATIENCE)

    monkeypatch.setattr("transaction_alerts_client.sleep", wait)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.post_event, {"event_id": "one", "user_id": 1})
        assert waiting.wait(PATIENCE)
        second = pool.submit(client.post_events, [{"event_id": "a", "user_id": 1}])
        wait_until(lambda: any(len(queue) == 2 for queue in client._turns._waiting.values()))
        client.post_events([{"event_id": "c", "user_id": 2}])
        assert server.received == [["one"], ["c"]]
        going_on.set()
        first.result()
        second.result()
    assert server.received == [["one"], ["c"], *[["one"]] * 4, ["a"]]
    assert client._turns._waiting == {}
