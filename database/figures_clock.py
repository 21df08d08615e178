"""The clock by which figures are counted and read: that of the database, which all processes share."""

from datetime import datetime

from sqlalchemy import ColumnElement, DateTime, func

_MOMENT = DateTime(timezone=True)


def now() -> ColumnElement[datetime]:
    """The present moment."""
    return func.clock_timestamp(type_=_MOMENT)


def began() -> ColumnElement[datetime]:
    """When this transaction began."""
    return func.now(type_=_MOMENT)
