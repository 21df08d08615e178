"""What people meet who look around: `/`, the page under other names, and answers that say what to do instead."""

import json
import shlex

import pytest
from flask.testing import FlaskClient

from tests.contract.helpers import an_event, problem
from version import VERSION

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize("accept", ["*/*", "application/json", None])
def test_the_start(client: FlaskClient, accept: str | None) -> None:
    """A program learns what there is, and every address in the answer is there."""
    answer = client.get("/", headers={"Accept": accept} if accept else {})
    assert (answer.status_code, answer.content_type, answer.headers["Vary"]) == (200, "application/json", "Accept")
    found = answer.get_json()
    assert (found["service"], found["version"]) == ("transaction-alerts", VERSION)
    for name in ("desk", "docs", "openapi", "alerts", "rules"):
        assert client.get(found[name].removeprefix("http://localhost")).status_code == 200


def posted(client: FlaskClient, command: str) -> int:
    """The status of what a command posts. It is the same as it stands in the answer, whose text people copy."""
    assert json.dumps(command) == f'"{command}"'
    reading, posting = command.split(" | ")
    *_, source = shlex.split(reading)
    curl, address, _, header, _, body = shlex.split(posting)
    assert (curl, body) == ("curl", "@-")
    example = client.get(source.removeprefix("http://localhost"))
    assert (example.status_code, example.content_type) == (200, "application/json")
    path = address.removeprefix("http://localhost")
    return client.post(path, data=example.data, headers=[tuple(header.split(": "))]).status_code


def test_the_first_step_works(client: FlaskClient) -> None:
    """The command at the start can be run as it is."""
    start = client.get("/").get_json()
    assert client.get("/docs/examples/event.json").get_json() == start["example"]
    assert posted(client, start["first_step"]) == 200


@pytest.mark.parametrize(
    ("path", "page"), [("/", "/desk/"), ("/docs/", "/docs"), ("/docs/index.html", "/docs")], ids=str
)
def test_a_browser_is_sent_to_a_page(client: FlaskClient, path: str, page: str) -> None:
    """Whoever prefers HTML is sent on to the desk, and whoever types another name of the document's page to that."""
    answer = client.get(path, headers=BROWSER)
    assert (answer.status_code, answer.headers["Location"]) == (302, page)


def test_the_icon(client: FlaskClient) -> None:
    """A browser that asks for an icon gets none, and no error, and need not ask again."""
    answer = client.get("/favicon.ico")
    assert (answer.status_code, answer.data, answer.headers["Cache-Control"]) == (204, b"", "public, max-age=86400")


@pytest.mark.parametrize("path", ["/event", "/api/events", "/events", "/users", "/user"])
def test_looking_at_what_takes_posts(client: FlaskClient, path: str) -> None:
    """A GET of a path that takes posts is a 405 that shows a post which works."""
    answer = client.get(path, headers=BROWSER)
    document = problem(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}
    assert client.get(f"/docs/examples{path}.json").get_json() == document["example"]
    assert posted(client, document["detail"].partition("example: ")[2]) in (200, 201)
    refused = problem(client.put(path, json=an_event()), 405)
    assert ("curl" in refused["detail"], "example" in refused) == (False, False)
    assert client.head(path).status_code == 405


@pytest.mark.parametrize("path", ["/alerts", "/nowhere", "/docs", "/rules/30", "/../event"])
def test_no_example_of_what_is_not_posted(client: FlaskClient, path: str) -> None:
    """Where nothing is posted there is no example."""
    problem(client.get(f"/docs/examples{path}.json"), 404)


MEANT = {
    "/rules/": "/rules",
    "/rules/30/": "/rules/30",
    "/event/": "/event",
    "/alerts//": "/alerts",
    "/users//7": "/users/7",
    "/Alerts": "/alerts",
    "/alert": "/alerts",
    "/user/7": "/users/7",
    "/users/7/action": "/users/7/actions",
    "/rule/30/version": "/rules/30/versions",
    "/openapi.yaml": "/openapi.json",
    "/openapi": "/openapi.json",
    "/doc": "/docs",
    "/health": "/healthz",
    "/ready": "/readyz",
    "/api/alerts": "/alerts",
    "/v1/rules/30": "/rules/30",
    "/%61lerts": "/alerts",
}


@pytest.mark.parametrize("path", MEANT)
def test_a_path_that_is_nearly_right(client: FlaskClient, path: str) -> None:
    """A 404 names the path that was probably meant, whatever the method."""
    for method in ("GET", "POST"):
        detail = problem(client.open(path, method=method, json={}), 404)["detail"]
        assert detail == f"There is no such path. Did you mean {MEANT[path]}?"


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/users/x",
        "/swagger",
        "/" + "x" * 5000,
        "/a/b/c/d",
        "/%2e%2e/etc",
        "/docs/assets/x",
        "/x/docs/assets/y",
    ],
)
def test_a_path_that_is_like_no_other(client: FlaskClient, path: str) -> None:
    """If there is none like it, the answer says where to look, and repeats nothing of it."""
    document = problem(client.get(path), 404)
    assert document["detail"] == "There is no such path. GET / says what there is."
    assert path not in json.dumps(document)
