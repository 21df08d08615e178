"""What else the errors of a database mean, besides that it is away (`session.is_away`), and what of them is shown."""

from sqlalchemy.exc import DBAPIError

from database.session import sqlstate

_READ_ONLY = "25006"
# Tables, columns or schemas are missing, or the rights to use them: that stays so until somebody mends it.
_UNFIT_CODES = {"42P01", "42703", "3F000", "42501"}
MOST_SHOWN = 300  # characters


def is_unfit(error: Exception) -> bool:
    """Whether `error` means that the database lacks tables or rights, which trying again does not change."""
    return isinstance(error, DBAPIError) and sqlstate(error) in _UNFIT_CODES


def is_read_only(error: Exception) -> bool:
    """Whether `error` means that the database takes no writes now, as a standby does."""
    return isinstance(error, DBAPIError) and sqlstate(error) == _READ_ONLY


def cause(error: BaseException) -> str:
    """The first line of what the database or the driver said, or the name of the error's class if that is nothing.

    Of an error that is away, unfit or read-only it names tables, roles and hosts, but no values; other errors can have
    values in theirs.
    """
    return str(getattr(error, "orig", None) or error).partition("\n")[0][:MOST_SHOWN] or type(error).__name__
