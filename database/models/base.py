"""What all tables share."""

from sqlalchemy import MetaData, Numeric, func
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
