"""Records of users as a statement takes them where users are spread over several servers, and statements in both forms.

There, Citus sends each worker its part of a statement, and refuses what might not be the same in parts: a LATERAL query
with a LIMIT beside `unnest` is such a case, since it cannot know that each row of `unnest` is of one user alone. So the
records come out of the rows of their users: each user takes its own stretch of the arrays. See docs/scaling.md.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, and_, any_, func, select
from sqlalchemy.orm import aliased
from sqlalchemy.sql.elements import Grouping

from database import citus
from database.models import User
from database.prepared import Planned, Records, array, array_of


class UserRecords(Records):
    """The same as other records, of users that there are: those of unknown users are not there."""

    def __init__(self, like: Records) -> None:
        super().__init__(like.record, like.name, like.model, **like.others)
        user = aliased(User, name=f"{like.name}_user")
        parts = {part: array_of(f"{like.name}_{part}", BigInteger()) for part in ("users", "firsts", "lasts")}
        place = func.array_position(parts["users"], user.user_id)
        first, last = (Grouping(parts[part])[place].label(part) for part in ("firsts", "lasts"))
        # A subquery of its own, which has no table functions beside the users: those Citus would not send to workers.
        each = select(user.user_id, first, last).where(user.user_id == any_(parts["users"])).subquery(f"{like.name}_of")
        columns: list[ColumnElement[Any]] = [
            each.c.user_id
            if field == "user_id"
            else func.unnest(Grouping(array)[each.c.firsts : each.c.lasts]).label(field)
            for field, array in self.parameters.items()
        ]
        self.table: Any = select(*columns).subquery(like.name)
        self._users = parts["users"]
        self._parts = tuple(f"{like.name}_{part}" for part in parts)

    def own(self, user_id: Any) -> ColumnElement[bool]:
        """The same, and that the user is one of those asked for: if all of them are in one shard, Citus then sees that
        it can send the whole statement there."""
        return and_(super().own(user_id), user_id == any_(self._users))

    def arrays(self, records: Sequence[Any]) -> dict[str, str]:
        """What a statement over `table` takes as arguments for these records."""
        records = sorted(records, key=itemgetter(0))
        users, firsts, lasts = [], [], []
        count = 0
        for user_id, own in groupby(records, key=itemgetter(0)):
            users.append(user_id)
            firsts.append(count + 1)
            count += sum(1 for _ in own)
            lasts.append(count)
        stretches = dict(zip(self._parts, map(array, (users, firsts, lasts)), strict=True))
        return super().arrays(records) | stretches


class Forms:
    """A statement over records in two forms: `build` makes it of the records that it takes, in their order.

    Like Planned, it is planned each time it runs.
    """

    def __init__(self, build: Callable[..., Any], *records: Records, **settings: str) -> None:
        self.records, self._distributed = records, tuple(UserRecords(each) for each in records)
        self.plain = Planned(build(*self.records), **settings)
        self.distributed = Planned(build(*self._distributed), **settings)

    def run(self, connection: Connection, *asked: Sequence[Any], **more: Any) -> list[tuple[Any, ...]]:
        """Its rows for what is `asked` of each of its records; `more` are other arguments. Raises as Planned does."""
        is_distributed = citus.is_distributed(connection)
        records = self._distributed if is_distributed else self.records
        statement = self.distributed if is_distributed else self.plain
        return statement.run(connection, arguments(records, asked) | more)


def arguments(records: Iterable[Records], asked: Iterable[Sequence[Any]]) -> dict[str, Any]:
    """What a statement over several kinds of records takes as arguments, for what is asked of each."""
    found: dict[str, Any] = {}
    for each, own in zip(records, asked, strict=True):
        found |= each.arrays(own)
    return found
