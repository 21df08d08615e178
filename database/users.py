"""Statements on users."""

from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.orm import Session

from database.models import User

# Users


def get_user(session: Session, user_id: int) -> User | None:
    """The user, or None."""
    return session.get(User, user_id)


_CREATE_USER = text("""
WITH made AS (
    INSERT INTO users (user_id, name, total, risk, settings_version)
    VALUES (:user_id, :name, :total, :risk, CAST(:risk <> 'normal' AS integer))
    ON CONFLICT (user_id) DO NOTHING RETURNING *
), noted AS (
    INSERT INTO user_settings (user_id, version, risk, overrides)
    SELECT user_id, settings_version, risk, overrides FROM made WHERE settings_version > 0
)
SELECT user_id FROM made
""")


def create_user(session: Session, user_id: int, name: str | None, total: Decimal, risk: str) -> bool:
    """Store a new user. Returns False, storing nothing, where the id is taken."""
    values = {"user_id": user_id, "name": name, "total": total, "risk": risk}
    return session.execute(_CREATE_USER, values).scalar() is not None


_CHANGE_USER = text("""
WITH changed AS (
    UPDATE users SET risk = coalesce(:risk, risk), overrides = coalesce(CAST(:overrides AS jsonb), overrides),
        settings_version = settings_version + 1
    WHERE user_id = :user_id RETURNING user_id, settings_version, risk, overrides
)
INSERT INTO user_settings (user_id, version, risk, overrides, author, note)
SELECT user_id, settings_version, risk, overrides, :author, :note FROM changed
""")


def lock_user(session: Session, user_id: int) -> User | None:
    """The user, or None; nobody judges or changes that user until the transaction ends."""
    return session.get(User, user_id, with_for_update={"key_share": True})


def change_user(
    session: Session, user: User, risk: str | None, overrides: str | None, author: str | None, note: str | None
) -> None:
    """Give a locked user another rating, or other overrides (JSON text), and keep what was there before.

    None leaves what there is.
    """
    values = {"risk": risk, "overrides": overrides, "author": author, "note": note}
    session.execute(_CHANGE_USER, values | {"user_id": user.user_id})
    session.refresh(user)


_NEXT_USER_ID = text("SELECT nextval('users_user_id_seq')")


# Callers may bring ids of their own, so the sequence can point into a run of taken ids: step over all of it. The
# largest id counts as its own successor: one more would be out of range.
_SKIP_TAKEN_IDS = text("""
SELECT setval('users_user_id_seq', min(u.user_id)) FROM users AS u
WHERE u.user_id >= :taken AND NOT EXISTS (
    SELECT FROM users AS n WHERE n.user_id = u.user_id + CAST(u.user_id < 9223372036854775807 AS integer)
)
""")


def next_user_id(session: Session) -> int:
    """An id that the service gives out itself; a caller's own user may hold it already."""
    return int(session.execute(_NEXT_USER_ID).scalar_one())


def skip_taken_ids(session: Session, taken: int) -> None:
    """Make `next_user_id` go on behind the run of taken ids that starts at `taken`."""
    session.execute(_SKIP_TAKEN_IDS, {"taken": taken})
