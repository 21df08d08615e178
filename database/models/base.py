"""What all tables share."""

from sqlalchemy import Index, MetaData, Numeric, func
from sqlalchemy.orm import DeclarativeBase

# Fixed names let migrations alter what they did not create themselves.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

MONEY = Numeric(38, 2)  # a lifetime of the largest amounts (14 digits) fits in a balance
NOW = func.now()


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)


def arrivals(name: str) -> Index:
    """An index for what arrived in a stretch of time, which costs an arrival next to nothing.

    It holds no rows: only, for each 32 pages (256 KiB) of the table, the first and the last arrival in them.
    """
    options = {"pages_per_range": 32, "autosummarize": True}
    return Index(name, "created_at", postgresql_using="brin", postgresql_with=options)
