"""Flask's side of every exchange: begin it, refuse what is not meant for it, end it, and answer every exception."""

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import MethodNotAllowed, NotFound

from access.caller import Caller
from database.replica import Replica
from routes.http import hints, own_writes, pages, safe_headers
from routes.http.access import CALLER, Access
from routes.http.converters import template_of
from routes.http.exchange import REQUEST_ID, TRACEPARENT, Exchange, begin, end
from routes.http.operation import Operation
from routes.http.origins import is_as_written
from routes.http.paging import read_query
from routes.http.problems import answer_to
from routes.schemas.fields import Query
from rules.service import Service

_SAFE = ("GET", "HEAD", "OPTIONS")


def register(app: Flask) -> None:
    """Begin and end every exchange of `app`, and answer every exception with a problem document."""
    app.before_request(_begin)
    app.after_request(_end)
    app.register_error_handler(Exception, _answer_to)


def service() -> Service:
    """The service of the application that is answering the current request; it reads from where a read may."""
    return reader() if request.method in _SAFE else Service.of(current_app.extensions)


def reader() -> Service:
    """The same for whoever only reads, whatever the request: from the replica if that has all that the caller wrote."""
    ours, replica = Service.of(current_app.extensions), Replica.of(current_app.extensions)
    if replica is None or not replica.has(own_writes.last(g.caller.name)):
        return ours
    return ours.on(replica)


def _answer_to(error: Exception) -> Response:
    more = None
    if isinstance(error, MethodNotAllowed) and not hints.is_there(error):
        error = NotFound()
    if isinstance(error, NotFound):  # no view raises it
        error.description = hints.wrong_path()
    elif isinstance(error, MethodNotAllowed):
        error.description, more = hints.wrong_method(error)
    exchange = _exchange()
    exchange.who = exchange.who or getattr(error, "who", None)
    return pages.shown(answer_to(error, exchange.request_id, more), request.environ).response()


def _begin() -> None:
    g.exchange = begin(request.headers.get(REQUEST_ID, ""), request.headers.get(TRACEPARENT, ""))
    g.exchange.enter()
    if not (as_written := is_as_written(request.environ)):
        request.url_rule = None  # it only looks like one
    # In the server the bridge has let the caller in already.
    g.caller = request.environ.get(CALLER) or _admitted()
    g.exchange.who = g.caller.name
    if not as_written:
        raise NotFound
    _check_query()


def _admitted() -> Caller:
    view = current_app.view_functions[request.url_rule.endpoint] if request.url_rule else None
    return Access.of(current_app.extensions).admit(request.environ, view)


def _check_query() -> None:
    """Refuse a query that the view would not read; a view that takes one reads it first of all."""
    if request.url_rule is None or request.method == "OPTIONS":
        return
    operation: Operation | None = getattr(current_app.view_functions[request.url_rule.endpoint], "operation", None)
    if operation is not None and operation.query is None:
        read_query(Query)


def _end(response: Response) -> Response:
    exchange = _exchange()
    name, value = exchange.answered(response.status_code)
    response.headers[name] = value
    found: Caller | None = g.get("caller")
    if found is not None and request.method not in _SAFE:
        own_writes.note(found.name)
    if found is not None and found.quota is not None:
        response.headers.update(found.quota.headers())
    safe_headers.add_to(response)
    end(exchange, route=template_of(request.url_rule.rule) if request.url_rule else None, method=request.method)
    return response


def _exchange() -> Exchange:
    found: Exchange = g.exchange
    return found
