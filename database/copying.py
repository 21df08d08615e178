"""Storing many rows by COPY: cheaper for PostgreSQL than arrays, and Python can go on meanwhile.

COPY is one statement like any other: what it stores belongs to the transaction, and its errors are the same. The rows
are sent as text, and while PostgreSQL works on what has been sent the caller does something else.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import class_mapper
from sqlalchemy.types import JSON

from database.prepared import raising_as_sqlalchemy

_NAME: Callable[[str], str] = postgresql.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call]


class Copied:
    """Records of one type, stored by COPY in the columns of `model` that have their fields' names."""

    def __init__(self, record: Any, model: type) -> None:
        names: Sequence[str] = record._fields
        columns = class_mapper(model).columns
        own = [columns[name] for name in names]
        self._texts = [at for at, column in enumerate(own) if isinstance(column.type, Text | JSON)]
        self._line = "\t".join(["%s"] * len(names)) + "\n"
        self.statement = (
            f"COPY {_NAME(own[0].table.name)} ({', '.join(_NAME(column.name) for column in own)}) FROM STDIN"
        )

    def store(self, connection: Connection, written: bytes, meanwhile: Callable[[], object]) -> int:
        """Store what `written` has made of records, and call `meanwhile` when it is sent, while PostgreSQL stores it.

        Returns how many records were stored. Raises what SQLAlchemy would, and what `meanwhile` raises: then nothing is
        stored.
        """
        sent = _Sent(written, meanwhile)
        with raising_as_sqlalchemy(connection, self.statement) as cursor:
            try:
                cursor.copy_expert(self.statement, sent, 1 << 30)
            except Exception:
                error, sent.error = sent.error, None
                if error is None:
                    raise
                try:
                    raise error from None
                finally:
                    del error  # its traceback holds this frame
            return int(cursor.rowcount)

    def written(self, records: Sequence[Any]) -> bytes:
        """A line of text for each of `records`."""
        if not records:
            return b""
        columns = [*zip(*records, strict=True)]
        for at in self._texts:
            columns[at] = tuple(["\\N" if text is None else text.replace("\\", "\\\\") for text in columns[at]])
        line = self._line
        return "".join([line % row for row in zip(*columns, strict=True)]).encode()


class _Sent:
    """What the driver reads from: all at once, and then the end, before which `meanwhile` is called."""

    def __init__(self, content: bytes, meanwhile: Callable[[], object]) -> None:
        self._content, self._meanwhile = content, meanwhile
        self.error: BaseException | None = None

    def read(self, _size: int) -> bytes:
        content, self._content = self._content, b""
        if not content:
            try:
                self._meanwhile()
            except BaseException as error:  # of which the driver would only keep the message
                self.error = error
                raise
        return content
