"""The list of users: finding one, and all of them page by page."""

from typing import Annotated

from flask import Blueprint, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict

from database.user_lists import page_of_users
from database.users import get_user
from routes.desk.forms import read_filters
from routes.desk.shell import go, page
from routes.http.hooks import service
from routes.http.operation import needs
from routes.http.pages import DESK
from routes.schemas.fields import Id, digits
from routes.schemas.words import Risk

blueprint = Blueprint("desk_users", __name__, template_folder="../templates")

SIZE = 50


class UsersQuery(BaseModel):
    """Which users: the one with an id, or those behind `after`, with a rating or with any."""

    model_config = ConfigDict(frozen=True)

    user: Annotated[Id | None, BeforeValidator(digits)] = None
    risk: Risk | None = None
    after: Annotated[Id | None, BeforeValidator(digits)] = None


@blueprint.get("/desk/users")
@needs("read")
def get_users_page() -> Response:
    """The list of users; with `user`, the page of that one."""
    query = read_filters(UsersQuery)
    wanted = query.user
    if wanted is not None and service().read(lambda session: get_user(session, wanted)) is not None:
        return go(f"{DESK}/users/{wanted}")
    found = service().read(lambda session: page_of_users(session, SIZE + 1, query.after or 0, query.risk))
    rows = found.rows[:SIZE]
    ends = rows[-1].user_id if len(found.rows) > SIZE else found.broke_off_at
    return page("desk/users.html", query=query, users=rows, next=ends, broke_off=found.broke_off_at)
