"""Saved views: filters of the list of alerts under a name, one's own or shared."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conftest import ClientMaker
from tests.contract.helpers import Sessions, an_event, pointers, problem
from tests.keys import add_key, bearer, look
from work import views

MINE = {"name": "Mine", "query": {"status": "open", "assignee": "Ada"}}


@pytest.fixture
def people(make_client: ClientMaker, sessions: Sessions) -> dict[str, FlaskClient]:
    """Clients that send a key: of Ada and Grace, who work alerts, of Root, who is an admin too, and a reader's."""
    scopes = {"Ada": ("read", "work"), "Grace": ("read", "work"), "Root": ("read", "work", "admin"), "Eve": ("read",)}
    app = make_client().application
    found = {}
    for name, own in scopes.items():
        found[name] = app.test_client()
        found[name].environ_base["HTTP_AUTHORIZATION"] = bearer(add_key(sessions, name, own))["Authorization"]
    look(app)
    return found


def saved(client: FlaskClient, **fields: Any) -> dict[str, Any]:
    """A new view."""
    answer = client.post("/views", json=MINE | fields)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.get_json()
    assert answer.headers["Location"] == f"/views/{found['id']}"
    return found


def names(client: FlaskClient, query: str = "") -> list[str]:
    """The names of the views that a client lists."""
    return [view["name"] for view in client.get(f"/views{query}").get_json()["views"]]


def test_save_read_and_delete(client: FlaskClient) -> None:
    """Without keys they are those of `anonymous`; each change is in the log."""
    view = saved(client)
    assert view == MINE | {"id": view["id"], "owner": "anonymous", "shared": False, "created_at": view["created_at"]}
    assert client.get(f"/views/{view['id']}").get_json() == view
    assert client.get("/views").get_json() == {"views": [view], "next": None}
    assert client.delete(f"/views/{view['id']}").get_json() == view
    for method in ("GET", "DELETE"):
        assert problem(client.open(f"/views/{view['id']}", method=method), 404)["type"] == "urn:problem:unknown-view"
    assert client.get("/views").get_json() == {"views": [], "next": None}
    shown = {name: view[name] for name in ("owner", "name", "query", "shared")}
    log = client.get("/log?kind=view").get_json()["log"]
    assert [(line["who"], line["subject"], line["what"], line["from"], line["to"]) for line in log] == [
        ("anonymous", str(view["id"]), "deleted", shown, None),
        ("anonymous", str(view["id"]), "made", None, shown),
    ]


def test_who_sees_what(people: dict[str, FlaskClient]) -> None:
    """One's own and those that are shared; what others keep to themselves is not there."""
    own = saved(people["Ada"])
    shared = saved(people["Ada"], name="All", shared=True)
    saved(people["Grace"])  # the same name is no conflict
    assert names(people["Ada"]) == ["All", "Mine"]
    assert names(people["Grace"]) == ["Mine", "All"]
    assert names(people["Eve"]) == names(people["Root"]) == ["All"]
    assert people["Eve"].get(f"/views/{shared['id']}").get_json() == shared
    for name in ("Grace", "Eve", "Root"):
        problem(people[name].get(f"/views/{own['id']}"), 404)


def test_who_may_delete(people: dict[str, FlaskClient]) -> None:
    """Its owner; of those that are shared also an admin, and nobody else."""
    own, shared = saved(people["Ada"]), saved(people["Ada"], name="All", shared=True)
    problem(people["Root"].delete(f"/views/{own['id']}"), 404)
    assert problem(people["Grace"].delete(f"/views/{shared['id']}"), 403)["type"] == "urn:problem:not-yours"
    assert problem(people["Eve"].delete(f"/views/{shared['id']}"), 403)["type"] == "urn:problem:scope"
    problem(people["Eve"].post("/views", json=MINE), 403)
    assert people["Root"].delete(f"/views/{shared['id']}").status_code == 200
    assert people["Ada"].delete(f"/views/{own['id']}").status_code == 200
    assert [line["who"] for line in people["Eve"].get("/log?kind=view").get_json()["log"]][:2] == ["Ada", "Root"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": ""}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"name": "a\x00"}, "/name"),
        ({"name": None}, "/name"),
        ({"shared": "true"}, "/shared"),
        ({"query": None}, "/query"),
        ({"query": []}, "/query"),
        ({"query": {"status": "new"}}, "/query/status"),
        ({"query": {"code": "x"}}, "/query/code"),
        ({"query": {"code": 30.5}}, "/query/code"),
        ({"query": {"late": 1}}, "/query/late"),
        ({"query": {"muted": True}}, "/query/muted"),
        ({"query": {"user_id": None}}, "/query/user_id"),
        ({"query": {"from": 20, "to": 10}}, "/query/to"),
        ({"query": {"touched_from": "yesterday"}}, "/query/touched_from"),
        ({"query": {"limit": 50}}, "/query/limit"),
        ({"query": {"cursor": "1-1-1-1"}}, "/query/cursor"),
        ({"query": {"color": "red"}}, "/query/color"),
        ({"owner": "Ada"}, "/owner"),
    ],
)
def test_a_refused_field(client: FlaskClient, fields: dict[str, Any], named: str) -> None:
    """What the list of alerts would refuse is refused here, under its own name, and nothing is stored."""
    assert pointers(client.post("/views", json=MINE | fields)) == [named]
    assert names(client) == []


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"user_id": 1, "code": 1100, "status": "open", "risk": "normal", "sort": "oldest"},
        {"late": False, "superseded": False, "shadow": False, "snoozed": "any", "muted": "false"},
        {"from": 0, "to": 20, "touched_from": "2026-01-31T13:00:00+01:00", "assignee": "none"},
        {"outcome": "true_positive"},
    ],
)
def test_a_saved_query_is_one_of_the_list(client: FlaskClient, query: dict[str, Any]) -> None:
    """What was saved, sent to the list as it is read, is answered as what was asked."""
    client.post("/event", json=an_event(type="withdraw", amount="150.00"))
    found = saved(client, query=query)["query"]
    assert found.keys() == query.keys()
    assert saved(client, name="Again", query=found)["query"] == found  # it is what is stored, too

    def listed(filters: dict[str, Any]) -> Any:
        written = {name: str(one).lower() if isinstance(one, bool) else one for name, one in filters.items()}
        answer = client.get("/alerts", query_string=written)
        assert answer.status_code == 200, answer.text
        return [alert["id"] for alert in answer.get_json()["alerts"]]

    assert listed(found) == listed(query) == ([] if "outcome" in query else ["1-1-1100"])


def test_a_name_is_there_once(client: FlaskClient) -> None:
    """A second view of one's own by the same name is a 409; of many at once, one is saved."""
    saved(client)
    assert problem(client.post("/views", json=MINE), 409)["type"] == "urn:problem:view-exists"
    app = client.application

    def save(_: int) -> int:
        return app.test_client().post("/views", json=MINE | {"name": "Once"}).status_code

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(save, range(8))) == [201] + [409] * 7
    assert names(client) == ["Once", "Mine"]


def test_too_many_views(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for a number of them, also if the last ones are saved at once; one that goes makes room."""
    monkeypatch.setattr(views, "MOST", 5)
    app = client.application

    def save(number: int) -> int:
        return app.test_client().post("/views", json=MINE | {"name": f"{number}"}).status_code

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(save, range(8))) == [201] * 5 + [409] * 3
    assert problem(client.post("/views", json=MINE), 409)["type"] == "urn:problem:too-many-views"
    first = client.get("/views").get_json()["views"][0]
    client.delete(f"/views/{first['id']}")
    saved(client)


def test_page_by_page(client: FlaskClient) -> None:
    """Newest first, each once."""
    for number in range(5):
        saved(client, name=f"{number}")
    found: list[str] = []
    query = "?limit=2"
    while query:
        page = client.get(f"/views{query}").get_json()
        found += [view["name"] for view in page["views"]]
        query = f"?limit=2&cursor={page['next']}" if page["next"] else ""
    assert found == ["4", "3", "2", "1", "0"]
