"""The file that has everything about one user, written piece by piece: one page of it at a time is in memory."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from flask import Response, current_app, request
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from database import person
from database.models import User
from database.session import make_history_engine, make_sessions
from routes.http.answers import json_bytes, model_bytes
from routes.http.exports import noted_export
from routes.http.hooks import service
from routes.http.unknown import unknown_user
from routes.schemas.alerts import AlertAnswer
from routes.schemas.mutes import MuteAnswer
from routes.schemas.person import (
    AlertChangeAnswer,
    CheckpointAnswer,
    ErasureAnswer,
    SentAnswer,
    StoredActionAnswer,
    UserVersionAnswer,
    log_line,
)
from routes.schemas.users import UserAnswer
from rules.service import Service
from rules.user_settings import UnknownUser, existing_user
from rules.values import written_moment
from work.mutes import in_force
from work.retention import Retention

PAGE = 500  # rows that are read and written at a time: an alert and its evidence may have some kilobytes
# Seconds that a wait for the database may take; all of a file may take twice as long. PostgreSQL cannot tidy away what
# a file may still have to show.
WAIT = 300.0

Section = tuple[str, Iterable[Sequence[Any]], Callable[[Any], BaseModel]]


def person_file(user_id: int) -> Response:
    """The file, as an answer, and two entries in the log. Raises Problem 404.

    Its beginning is read at once, so that what fails there is answered as usual; what fails later must break it off.
    """
    ours, retention = service(), Retention.of(current_app.extensions)
    try:
        ours.read(lambda session: existing_user(session, user_id))
    except UnknownUser:
        raise unknown_user(user_id) from None
    headers = {
        "Content-Type": "application/json",
        "Content-Disposition": f'attachment; filename="user-{user_id}.json"',
        "Cache-Control": "private, no-store",
    }
    if request.method == "HEAD":
        return Response((), headers=headers)
    ended = noted_export(person.export_of(user_id), {})
    pieces = _begun(ours, user_id, retention)
    response = Response(pieces, headers=headers)
    response.call_on_close(lambda: ended(pieces.rows, pieces.is_whole))
    return response


def _begun(ours: Service, user_id: int, retention: Retention) -> "_Pieces":
    """The file as of the replica that is read from; as of the primary if there is none, or it fails at once."""
    with suppress(SQLAlchemyError, UnknownUser):
        if ours.history_url != ours.url:
            return _Pieces(ours.history_url, user_id, retention, time_is_epoch=ours.policy.time_is_epoch)
    return _Pieces(ours.url, user_id, retention, time_is_epoch=ours.policy.time_is_epoch)


class _Pieces:
    """The file in pieces; how many rows of it are written, and whether these are all."""

    def __init__(self, url: str, user_id: int, retention: Retention, *, time_is_epoch: bool) -> None:
        self.rows, self.is_whole = 0, False
        self._time_is_epoch, self._retention = time_is_epoch, retention
        self._written = self._write(url, user_id)
        self._first = next(self._written)

    def __iter__(self) -> Iterator[bytes]:
        yield self._first
        yield from self._written

    def close(self) -> None:
        """Let go of the database."""
        self._written.close()

    def _write(self, url: str, user_id: int) -> Generator[bytes]:
        engine = make_history_engine(url, WAIT)
        try:
            with make_sessions(engine)() as session:
                user = existing_user(session, user_id)
                yield self._head(user)
                for name, pages, shown in self._sections(session, user_id):
                    yield from self._section(name, pages, shown)
            self.is_whole = True
            yield b"}\n"
        finally:
            engine.dispose()

    def _head(self, user: User) -> bytes:
        shown = {
            "exported_at": written_moment(datetime.now(UTC)),
            "created_at": written_moment(user.created_at),
        }
        answer = UserAnswer.of(user, self._retention.until(user))
        return json_bytes(shown).rstrip(b"}\n") + b',"user":' + model_bytes(answer)

    def _sections(self, session: Session, user_id: int) -> Iterator[Section]:
        def alert(row: Any) -> AlertAnswer:
            return AlertAnswer.of(row, time_is_epoch=self._time_is_epoch)

        yield "settings", person.settings_of(session, user_id, PAGE), UserVersionAnswer.of
        yield "actions", person.actions_of(session, user_id, PAGE), StoredActionAnswer.of
        yield "alerts", person.alerts_of(session, user_id, PAGE), alert
        yield "alert_history", person.history_of(session, user_id, PAGE), AlertChangeAnswer.of
        yield "mutes", person.mutes_of(session, user_id, PAGE), lambda row: MuteAnswer.of(in_force(row))
        yield "log", person.entries_of(session, user_id, PAGE), log_line
        yield "deliveries", person.deliveries_of(session, user_id, PAGE), lambda row: SentAnswer.of(*row)
        yield "checkpoints", [person.checkpoints_of(session, user_id)], CheckpointAnswer.of
        yield "erasures", [person.erasures_of(session, user_id)], ErasureAnswer.of

    def _section(self, name: str, pages: Iterable[Sequence[Any]], shown: Callable[[Any], BaseModel]) -> Iterator[bytes]:
        begin = f',"{name}":['.encode()
        for page in pages:
            if page:
                yield begin + b",".join(model_bytes(shown(row)) for row in page)
                self.rows, begin = self.rows + len(page), b","
        yield (b"" if begin == b"," else begin) + b"]\n"
