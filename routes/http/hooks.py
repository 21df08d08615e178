"""Flask's side of every exchange: begin it, end it, and turn every exception into a problem document."""

from flask import Flask, Response, current_app, g, request

from routes.http.exchange import REQUEST_ID, Exchange, begin, end
from routes.http.problems import answer_to
from rules.service import Service


def register(app: Flask) -> None:
    """Begin and end every exchange of `app`, and answer every exception with a problem document."""
    app.before_request(_begin)
    app.after_request(_end)
    app.register_error_handler(Exception, lambda error: answer_to(error, _exchange().request_id).response())


def service() -> Service:
    """The service of the application that is answering the current request."""
    return Service.of(current_app.extensions)


def _begin() -> None:
    g.exchange = begin(request.headers.get(REQUEST_ID, ""))


def _end(response: Response) -> Response:
    exchange = _exchange()
    name, value = exchange.answered(response.status_code)
    response.headers[name] = value
    end(exchange, route=request.url_rule.rule if request.url_rule else None, method=request.method)
    return response


def _exchange() -> Exchange:
    found: Exchange = g.exchange
    return found
