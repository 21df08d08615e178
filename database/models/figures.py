"""The tables of figures: counts by day and by minute that a job fills, so that no page has to count."""

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, Date, DateTime, Double, Integer, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from database.models.base import Base


class DailyFigure(Base):
    """How many of something there were on a day (UTC). database/figures_step.py says what is counted."""

    __tablename__ = "daily_figures"

    # The key begins with it: of the alerts that are left to close, those of all days are read together.
    what: Mapped[str] = mapped_column(Text, primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    # Of the rule; 0 for what has none.
    code: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    # Of times that were taken: into which of the buckets they fall. 0 for all else.
    bucket: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger)


class DailyUsers(Base):
    """Which users had an alert of a rule on a day (UTC), or (code 0) did anything: database/user_sets.py says how."""

    __tablename__ = "daily_users"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    code: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    user_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    # In place of the ids, if they are many.
    registers: Mapped[bytes | None] = mapped_column(LargeBinary)


class MinuteFigure(Base):
    """How many events and alerts arrived in a minute. Each minute takes the place of an older one."""

    __tablename__ = "minute_figures"

    slot: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    minute: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    events: Mapped[int] = mapped_column(BigInteger)
    alerts: Mapped[int] = mapped_column(BigInteger)


class FiguresProgress(Base):
    """How far the figures have come: one row, which whoever counts has locked."""

    __tablename__ = "figures_progress"
    __table_args__ = (CheckConstraint("progress_id = 1", name="one_row"),)

    progress_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    # All that was stored in [begun_at, as_of) is counted, once.
    begun_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    as_of: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    # Until then nobody counts, so that events have the database to themselves most of the time.
    rests_until: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    # How long a stretch of time is counted in one transaction: it follows from how long the last one took.
    stretch_seconds: Mapped[float] = mapped_column(Double)
    # Which day's superseded alerts are counted again next.
    recount_day: Mapped[date] = mapped_column(Date)
