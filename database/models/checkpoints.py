"""The table of what is left of actions that were removed."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKeyConstraint, LargeBinary, Numeric, Text
from sqlalchemy.orm import Mapped, mapped_column

from database.models.base import MONEY, NOW, Base


class Checkpoint(Base):
    """What is left of a user's actions of one type that were removed: enough to go on counting from there."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        ForeignKeyConstraint(["user_id"], ["users.user_id"]),
        CheckConstraint("type IN ('deposit', 'withdraw')", name="type_known"),
    )

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    type: Mapped[str] = mapped_column(Text, primary_key=True)
    # How many there were, and what they came to.
    actions: Mapped[int] = mapped_column(BigInteger)
    total: Mapped[Decimal] = mapped_column(MONEY)
    # The first of them in order of time.
    first_time: Mapped[int] = mapped_column(BigInteger)
    first_seq: Mapped[int] = mapped_column(BigInteger)
    first_amount: Mapped[Decimal] = mapped_column(Numeric(14, 2))
    # The newest arrival among them: what came later than that was judged with all of them.
    newest_seq: Mapped[int] = mapped_column(BigInteger)
    # The newest arrival of the user when they were removed: what came until then may have been judged with them.
    until_seq: Mapped[int] = mapped_column(BigInteger)
    # Over what was removed, in order of time (database/pruning.py): whoever has a copy can show that it is the same.
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=NOW)
