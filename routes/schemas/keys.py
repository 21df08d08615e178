"""Requests and answers about keys."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from typing_extensions import TypeAliasType

from access import caller
from access.key_format import LENGTH, PREFIX
from access.key_terms import LONGEST_NAME, LONGEST_OVERLAP, KeyTerms, read_end, read_name, read_scopes
from access.rates import LONGEST_TEXT, read_as_written
from database.keys import KeyRow
from routes.schemas.answer_fields import Moment
from routes.schemas.fields import KeyId, MomentText, Page, cursor_of, optional
from rules.payload import Payload, validator

MOST_SCOPES = 20  # in a list: more are repetitions
OVERLAP_HOURS = int(LONGEST_OVERLAP.total_seconds() // 3600)

Scope = TypeAliasType(
    "Scope",
    Annotated[
        caller.Scope,
        Field(
            description="What a key is for. ingest: events and users. read: reading. work: alerts. tune: rules, "
            "ratings, overrides and backtests. admin: keys. None of them implies another."
        ),
    ],
)
KeyStatus = TypeAliasType(
    "KeyStatus", Annotated[Literal["living", "expired", "revoked"], Field(description="Whether a key still works.")]
)


class KeyRequest(Payload):
    """A new key. Without `expires_at` it has no end; without `rate` the rate of the service's setting holds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "payments",
                    "scopes": ["ingest"],
                    "expires_at": "2100-01-01T00:00:00Z",
                    "rate": "100/second",
                }
            ]
        }
    )

    name: Annotated[
        str,
        AfterValidator(validator(read_name)),
        WithJsonSchema({"type": "string", "minLength": 1, "maxLength": LONGEST_NAME}),
        Field(
            description="Who holds it, for the log: printable, with no space at either end. No other living key has it."
        ),
    ]
    scopes: Annotated[
        list[Scope],
        Field(min_length=1, max_length=MOST_SCOPES, description="One or more: whatever one of them allows."),
    ]
    expires_at: Annotated[
        Annotated[MomentText, AfterValidator(validator(read_end))] | None,
        optional("When it ends: in the future, and within a hundred years. Null or left out: it has no end."),
    ] = None
    rate: Annotated[
        Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT), AfterValidator(validator(read_as_written))] | None,
        optional("How many requests it may make, such as 100/second. Null or left out: as the setting says."),
    ] = None

    def terms(self) -> KeyTerms:
        """What the key is to be."""
        return KeyTerms(self.name, read_scopes(self.scopes), self.rate, self.expires_at)


class RotationRequest(Payload):
    """For how many hours the old key works along with the new one; with 0 it is revoked."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_hours": 24}]})

    overlap_hours: Annotated[int, Field(ge=0, le=OVERLAP_HOURS), optional("Hours, 24 if left out.")] = 24


_SHOWN: dict[str, Any] = {
    "id": "k3yI2d4",
    "name": "payments",
    "status": "living",
    "scopes": ["ingest"],
    "rate": "100/second",
    "created_at": "2026-01-31T12:00:00.000000Z",
    "created_by": "anonymous",
    "expires_at": "2100-01-01T00:00:00.000000Z",
    "revoked_at": None,
    "last_used_at": None,
    "requests": 0,
}


class KeyAnswer(BaseModel):
    """A key, without its secret. Uses show after a second or two."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SHOWN]})

    id: KeyId
    name: str
    status: KeyStatus
    scopes: list[Scope]
    rate: str | None
    created_at: Moment
    created_by: str
    expires_at: Moment | None
    revoked_at: Moment | None
    last_used_at: Moment | None
    requests: int

    @classmethod
    def of(cls, row: KeyRow) -> Self:
        """The answer about a stored key."""
        return cls(**_members(row))


class MadeKeyAnswer(KeyAnswer):
    """A new key, with all of it: `key` is never answered again."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [_SHOWN | {"key": f"{PREFIX}_{_SHOWN['id']}_{'x' * 43}0AbCd1"}]}
    )

    key: Annotated[str, Field(min_length=LENGTH, max_length=LENGTH, description="What to send as a bearer token.")]

    @classmethod
    def made(cls, row: KeyRow, key: str) -> Self:
        """The answer about a new key."""
        return cls(**_members(row), key=key)


class KeysAnswer(BaseModel):
    """A page of keys; `next` is the cursor of the next one, null on the last."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"keys": [_SHOWN], "next": None}]})

    keys: Sequence[KeyAnswer]
    next: str | None


class KeysQuery(Page):
    """Which page of the keys."""

    cursor: Annotated[str, cursor_of(1)] = ""


def _members(row: KeyRow) -> dict[str, Any]:
    status = "revoked" if row.revoked_at is not None else "living" if row.is_living else "expired"
    members = {name: getattr(row, name) for name in KeyAnswer.model_fields if name not in ("id", "status")}
    return members | {"id": row.key_id, "status": status}
