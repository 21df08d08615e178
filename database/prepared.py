"""From statements built from the models to what is sent: texts compiled once, arguments as arrays, the driver's cursor.

SQLAlchemy's own path from a statement to the database costs as much as a statement of a batch itself, so the statements
are compiled once, when a module is imported. See docs/decisions/prepared-statements.md.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from hashlib import sha256
from typing import Any, TypeVar, cast

from sqlalchemy import BindParameter, ColumnElement, Connection, Text, bindparam, column, func
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.engine.interfaces import BindTyping
from sqlalchemy.exc import DBAPIError, SAWarning
from sqlalchemy.sql.compiler import FROM_LINTING, SQLCompiler
from sqlalchemy.sql.selectable import TableValuedAlias
from sqlalchemy.types import JSON, TypeEngine

from database.pooler import is_lost, is_shared

T = TypeVar("T")
Values = Mapping[str, Any]


class _Array(postgresql.ARRAY[Any]):
    render_bind_cast = True  # if a statement is not prepared, PostgreSQL cannot know otherwise what the text means


def array_of(name: str, of: TypeEngine[Any]) -> BindParameter[Any]:
    """The parameter `name`: an array, which travels as the text that `array` makes."""
    return bindparam(name, type_=_Array(of))


class Records:
    """Records of one type as a statement takes them: an array for each field, whatever their number.

    A field has the type of the column of `model` with its name, unless `others` has another column or a type for it.
    Fields of columns that hold JSON or arrays are text. `parameters` are the arrays by field; in a FROM clause the
    records are `table`.
    """

    def __init__(self, record: Any, table: str, model: type, **others: Any) -> None:
        self.record, self.name, self.model, self.others = record, table, model, others
        names = record._fields
        columns = {name: others[name] if name in others else getattr(model, name) for name in names}
        assert others.keys() <= columns.keys(), f"{record.__name__} does not have all of {others.keys()}"
        types = {field: _travels_as(getattr(of, "type", of)) for field, of in columns.items()}
        self._arguments = tuple(f"{table}_{field}" for field in types)
        self.parameters = {field: array_of(f"{table}_{field}", of) for field, of in types.items()}
        derived = [column(field, of) for field, of in types.items()]
        unnested = func.unnest(*self.parameters.values()).table_valued(*derived)
        self.table: TableValuedAlias = unnested.render_derived(name=table)

    @property
    def c(self) -> Any:
        """The columns of `table`."""
        return self.table.c

    def own(self, user_id: Any) -> ColumnElement[bool]:
        """The condition for rows of the record's user, by their column."""
        same: ColumnElement[bool] = user_id == self.c.user_id
        return same

    def arrays(self, records: Sequence[Any]) -> dict[str, str]:
        """What a statement over `table` takes as arguments for these records."""
        if not records:
            return dict.fromkeys(self._arguments, "{}")
        columns = zip(*records, strict=True)
        return {name: array(values) for name, values in zip(self._arguments, columns, strict=True)}


def _travels_as(of: TypeEngine[Any]) -> TypeEngine[Any]:
    return Text() if isinstance(of, JSON | postgresql.ARRAY) else of


_dialect: Callable[..., PGDialect_psycopg2] = PGDialect_psycopg2


class Prepared:
    """A statement that is prepared once on each connection to the server; `execute` runs it with arguments by name.

    Its parameters, their types and their order follow from `statement`, and its name there from `name` and from all
    that: where the name is known, it means this statement and no other release's. `after` are those that are prepared
    before it, so that they are known wherever it is.
    """

    def __init__(self, name: str, statement: Any, after: Sequence["Prepared"] = ()) -> None:
        dialect = _dialect(paramstyle="numeric_dollar")
        dialect.bind_typing = BindTyping.NONE  # PREPARE names the types
        compiled = compiled_once(statement, dialect)
        order = compiled.positiontup or []
        types = [_written(compiled.binds[bind].type, compiled) for bind in order]
        text = f"({', '.join(types)}) AS\n{compiled.string}"
        digest = sha256("\n".join([text, *(each.name for each in after)]).encode()).hexdigest()
        self.name: str = f"{name}_{digest[:8]}"
        self.prepare = f"PREPARE {self.name} {text}"
        self.execute = f"EXECUTE {self.name} ({', '.join(f'%({bind})s' for bind in order)});\n"
        self.all = (*after, self)


class Planned:
    """A statement that is planned each time it runs, since what is best depends on how much there is to do.

    `settings` are PostgreSQL's, for planning it; they hold until the transaction ends.
    """

    def __init__(self, statement: Any, **settings: str) -> None:
        own = "".join(f"SET LOCAL {name} = {value};\n" for name, value in settings.items())
        self.text = own + compiled_once(statement, _dialect()).string

    def run(self, connection: Connection, values: Values) -> list[tuple[Any, ...]]:
        """Its rows, if it has any. Raises what SQLAlchemy would."""
        return run_directly(connection, self.text, values)


def compiled_once(statement: Any, dialect: PGDialect_psycopg2) -> SQLCompiler:
    """`statement`, compiled for good: every value in it is a parameter with a name, and its tables are joined.

    Raises ValueError if a value would be bound here and now, and SAWarning if two tables are not joined.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", SAWarning)
        compiled = statement.compile(dialect=dialect, linting=FROM_LINTING)
    assert isinstance(compiled, SQLCompiler)
    if literal := [bind.value for bind in compiled.bind_names if not bind.required]:
        raise ValueError(f"literals that would become parameters: {literal}")
    return compiled


def _written(of: TypeEngine[Any], compiled: SQLCompiler) -> str:
    return compiled.dialect.type_compiler_instance.process(of)


# No statement of this name is prepared; one is already; what it selects has another type by now.
_NOT_AS_PREPARED = {"26000", "42P05", "0A000"}
_IS_PREPARED = "is_prepared"


def in_transaction_with(connection: Connection, prepared: Prepared, send: Callable[[str], T]) -> T:
    """What `send` returns, which begins a transaction in which `prepared` and those before it are known.

    It is called with what its first message is to have after BEGIN: nothing; but if it then finds that they are not
    known after all, it is called once more with what prepares them. Within a transaction the connection to the server
    stays the same, so they are known from there on.
    """
    # Where others use it too, one of them has probably prepared them: doing it again would lose their plans.
    if not (connection.info.get(_IS_PREPARED) or is_shared(connection)):
        run_directly(connection, prepare_anew(prepared), {})
        connection.info[_IS_PREPARED] = True
    try:
        return send("")
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) not in _NOT_AS_PREPARED:
            raise
    connection.exec_driver_sql("ROLLBACK")
    return send(prepare_anew(prepared))


def prepare_anew(prepared: Prepared) -> str:
    """What prepares a statement, and first those before it, whatever of them is known there."""
    # The last one goes first, and comes last: however it is cut short, where that is known so are the others.
    forget = [
        f"IF EXISTS (SELECT FROM pg_prepared_statements WHERE name = '{each.name}') THEN "
        f"EXECUTE 'DEALLOCATE {each.name}'; END IF; "
        for each in reversed(prepared.all)
    ]
    prepare = [f"EXECUTE $prepare${each.prepare}$prepare$; " for each in prepared.all]
    # Percent signs as in all texts that take arguments.
    return f"DO $anew$ BEGIN {''.join([*forget, *prepare])}END $anew$;\n".replace("%", "%%")


def run_directly(connection: Connection, statement: str, values: Values) -> list[tuple[Any, ...]]:
    """Run a statement on psycopg2's own cursor and return all rows of its last part.

    What SQLAlchemy does around a statement takes as long as the statement itself. Raises what SQLAlchemy would.
    """
    with raising_as_sqlalchemy(connection, statement) as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description is not None else []


@contextmanager
def raising_as_sqlalchemy(connection: Connection, statement: str) -> Iterator[Any]:
    """psycopg2's own cursor, to run `statement`; what the driver raises becomes what SQLAlchemy would raise."""
    dialect, own = connection.dialect, connection.connection
    base: type[Exception] = dialect.loaded_dbapi.Error
    with closing(own.cursor()) as cursor:
        try:
            yield cursor
        except base as error:
            lost = is_lost(error) or dialect.is_disconnect(cast(Any, error), own.dbapi_connection, cursor)
            if lost:
                connection.invalidate(error)
                connection.engine.dispose()  # those that wait in the pool are likely to be as stale
            raise DBAPIError.instance(
                statement, None, error, base, connection_invalidated=lost, dialect=dialect
            ) from error


def array(values: Sequence[Any]) -> str:
    """A PostgreSQL array literal of values of one type; texts may be None.

    psycopg2 would turn a list into an expression: writing and reading that takes longer than the statement itself.
    """
    if values and not isinstance(values[0], int | Decimal):
        return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"
    return "{" + ",".join(map(str, values)) + "}"


def _quoted(value: str) -> str:
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'
