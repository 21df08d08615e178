"""Every operation works as tools fill it in by themselves: the page at /docs, and Postman with an imported collection.

The operations run in the order of the document on an empty database, each with its own example, and those that delete
last. The page leaves out optional parameters without an example or default; Postman sends every parameter, with the
example of its schema.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rules.values import written_moment
from tests.conftest import ClientMaker
from tests.contract.helpers import valid

Filled = dict[str, Any]
# Their examples name keys that are nowhere; and the first key that was made would be needed by all that follows.
ABOUT_KEYS = ("/keys", "/session")
# Without `override` it is refused. If the page filled that in, a click on a user would erase a person for good.
ERASURE = ("delete", "/users/{user_id}")


def by_the_page(parameter: dict[str, Any]) -> Any:
    """What Swagger UI writes into the field of a parameter; None: nothing."""
    schema = parameter["schema"]
    return parameter.get("example", schema.get("example", schema.get("default")))


def by_postman(parameter: dict[str, Any]) -> Any:
    """What Postman sends for a parameter if it is asked to use examples."""
    schema = parameter["schema"]
    (shown,) = schema.get("examples", [parameter.get("example", schema.get("default"))])
    return shown


def written(value: Any) -> str:
    """A value as it is sent in a path, a query or a header."""
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("fill", [by_the_page, by_postman])
def test_every_operation_works_untouched(
    make_client: ClientMaker, monkeypatch: pytest.MonkeyPatch, fill: Callable[[dict[str, Any]], Any]
) -> None:
    """Every call but one is answered with 2xx, and the answer is what the document says."""
    monkeypatch.setattr("rules.hindsight.start.COMMAND", ("true",))  # no real backtest has to run for this
    client = make_client()
    document = client.get("/openapi.json").get_json()
    for path, method, operation in in_order(document):
        filled: dict[str, Filled] = {"path": {}, "query": {}, "header": {}}
        for parameter in operation["parameters"]:
            value = fill(parameter)
            if value is not None:
                filled[parameter["in"]][parameter["name"]] = written(value)
            assert value is not None or not parameter["required"], (path, parameter["name"])
        body = operation.get("requestBody", {"content": {}})["content"]
        for kind, media in body.items() or [(None, {})]:
            answer = client.open(
                path.format(**filled["path"]),
                method=method.upper(),
                query_string=filled["query"],
                headers=filled["header"],
                **sent(kind, media),
            )
            if (method, path) == ERASURE and not filled["query"]:
                assert (answer.status_code, answer.get_json()["type"]) == (409, "urn:problem:kept")
                continue
            assert 200 <= answer.status_code < 300, (method, path, filled, answer.text)
            described = operation["responses"][str(answer.status_code)].get("content", {}).get("application/json")
            if described:
                assert valid(document, described["schema"], answer.get_json()), (path, answer.text)


def in_order(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Each operation that is tried, after its path and its method."""
    found = [
        (path, method, operation)
        for path, operations in document["paths"].items()
        if not path.startswith(ABOUT_KEYS)
        for method, operation in operations.items()
    ]
    return sorted(found, key=lambda one: one[1] == "delete")


def sent(kind: str | None, media: dict[str, Any]) -> dict[str, Any]:
    """The body as it is sent."""
    if kind is None:
        return {}
    if "until" in media["example"]:  # which must be in the future, where no example stays
        return {"json": media["example"] | {"until": written_moment(datetime.now(UTC) + timedelta(days=1))}}
    return (
        {"json": media["example"]} if kind == "application/json" else {"data": media["example"], "content_type": kind}
    )


def test_postman_finds_an_example_of_every_parameter(make_client: ClientMaker) -> None:
    """It would make up what has none, and send that."""
    document = make_client().get("/openapi.json").get_json()
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                assert by_postman(parameter) is not None, (operation["operationId"], parameter["name"])
