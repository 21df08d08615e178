"""Views: filters of the list of alerts under a name, for oneself or for all."""

from flask import Blueprint, Response

from database import views
from routes.http.access import caller
from routes.http.answers import json_answer
from routes.http.bodies import TOO_LARGE
from routes.http.hooks import service
from routes.http.json_body import read_model
from routes.http.operation import Operation, describe
from routes.http.paging import BAD_QUERY, cut, place, read_query
from routes.http.problems import DATABASE_AWAY, NOT_JSON, Problem
from routes.schemas.views import ViewAnswer, ViewRequest, ViewsAnswer, ViewsQuery
from rules.payload import FieldProblem
from work import views as work

blueprint = Blueprint("views", __name__)

VIEW = {"view_id": {"description": "The number of a view.", "example": 1}}
BAD_VIEW = Problem(
    400,
    "The request has missing or bad fields.",
    errors=[FieldProblem("/query/status", "Input should be 'open', 'acknowledged' or 'closed'")],
)
TOO_MANY = Problem(409, f"You have {work.MOST} views: delete one first.", kind="too-many-views")
NOT_THEIRS = Problem(
    403, "The view is somebody else's: only a key with the scope admin may delete it.", kind="not-yours"
)


def view_exists(name: str) -> Problem:
    """The answer to a new view whose name is taken."""
    return Problem(409, f'You have a view "{name}" already.', kind="view-exists")


def unknown_view(view_id: int) -> Problem:
    """The answer when there is no such view, or none that this caller sees."""
    return Problem(404, f"There is no view {view_id}.", kind="unknown-view")


@blueprint.get("/views")
@describe(Operation(needs="read", query=ViewsQuery, answers={200: ViewsAnswer}, problems=(BAD_QUERY, DATABASE_AWAY)))
def list_views() -> Response:
    """List the views that are your own or shared, newest first.

    `next` is the cursor of the next page.
    """
    query, who = read_query(ViewsQuery), caller().name
    before = place(query)
    found = service().read(
        lambda session: views.page_of_views(session, who, query.to_read, before[0] if before else None)
    )
    page, following = cut(found, query, lambda view: (view.view_id,))
    return json_answer(ViewsAnswer(views=[ViewAnswer.of(view) for view in page], next=following))


@blueprint.post("/views")
@describe(
    Operation(
        needs="work",
        body=ViewRequest,
        answers={201: ViewAnswer},
        problems=(BAD_VIEW, view_exists("Mine"), TOO_MANY, TOO_LARGE, NOT_JSON, DATABASE_AWAY),
    )
)
def create_view() -> Response:
    """Save a view.

    `query` has filters of `GET /alerts` and its `sort`, by name, and is checked as they are there. `Location` says
    where to read the view. A name that you have used already is a 409, and so is one view more than 100.
    """
    wanted, who = read_model(ViewRequest), caller().name
    try:
        view = service().run(
            lambda session: work.save_view(
                session, who=who, name=wanted.name, query=wanted.query.written(), shared=wanted.shared
            )
        )
    except work.ViewExists:
        raise view_exists(wanted.name) from None
    except work.TooManyViews:
        raise TOO_MANY.anew() from None
    return json_answer(ViewAnswer.of(view), 201, {"Location": f"/views/{view.view_id}"})


@blueprint.get("/views/<id:view_id>")
@describe(Operation(needs="read", path=VIEW, answers={200: ViewAnswer}, problems=(unknown_view(7), DATABASE_AWAY)))
def get_view(view_id: int) -> Response:
    """Read a view that is your own or shared."""
    who = caller().name
    view = service().read(lambda session: views.get_view(session, view_id, who))
    if view is None:
        raise unknown_view(view_id)
    return json_answer(ViewAnswer.of(view))


@blueprint.delete("/views/<id:view_id>")
@describe(
    Operation(
        needs="work",
        path=VIEW,
        answers={200: ViewAnswer},
        problems=(NOT_THEIRS, unknown_view(7), DATABASE_AWAY),
    )
)
def delete_view(view_id: int) -> Response:
    """Delete a view.

    The answer is the view as it was. A shared one of somebody else takes the scope admin as well.
    """
    who, may_others = caller().name, caller().may("admin")
    try:
        view = service().run(lambda session: work.delete_view(session, view_id, who=who, may_others=may_others))
    except work.NotTheirs:
        raise NOT_THEIRS.anew() from None
    if view is None:
        raise unknown_view(view_id)
    return json_answer(ViewAnswer.of(view))
