"""Kinds of fields that requests, answers and queries share."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from access.key_format import KEY_ID
from rules.payload import validator
from rules.values import (
    ALERT_ID,
    DECIMAL,
    EVENT_ID,
    LAST_TIME,
    MAX_CODE,
    MAX_ID,
    MOMENT,
    MOST_MONEY,
    WHOLE_NUMBER,
    read_decimal,
    read_moment,
    read_whole_number,
)

# As the OpenAPI document has it: text is exact, and a number is tolerated. A keyword "multipleOf" would not do for the
# decimals of a number: as floats, a ninth of all amounts are no multiples of 0.01.
DECIMAL_TEXT: JsonDict = {"type": "string", "pattern": f"^{DECIMAL}$"}
_MONEY_NUMBER: JsonDict = {"type": "number", "maximum": float(MOST_MONEY)}
AMOUNT: JsonDict = {
    "description": "Money over 0 with at most two decimals. Text is exact; a number written the same way will do.",
    "anyOf": [
        {"type": "string", "pattern": f"^(?=.*[1-9]){DECIMAL}$"},
        _MONEY_NUMBER | {"exclusiveMinimum": 0},
    ],
}
_OPENING_BALANCE: JsonDict = {
    "description": "Money, 0 or more, with at most two decimals. Text is exact; a number written the same way will do.",
    "anyOf": [DECIMAL_TEXT, _MONEY_NUMBER | {"minimum": 0}],
}

WHOLE = "written without a decimal point"  # to JSON Schema, 1.0 is an integer too

OpeningBalance = Annotated[Decimal, BeforeValidator(validator(read_decimal)), WithJsonSchema(_OPENING_BALANCE)]
EventId = Annotated[str, Field(pattern=f"^{EVENT_ID}$")]
MomentText = Annotated[
    datetime,
    BeforeValidator(validator(read_moment)),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": f"^{MOMENT}$"}),
]
MoneyText = Annotated[str, Field(pattern=r"^-?[0-9]+\.[0-9]{2}$")]
Id = Annotated[int, Field(ge=1, le=MAX_ID)]
Seconds = Annotated[int, Field(ge=0, le=LAST_TIME)]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]  # PostgreSQL stores no NUL
Code = Annotated[int, Field(ge=1, le=MAX_CODE)]
KeyId = Annotated[str, Field(pattern=f"^{KEY_ID}$")]
AlertId = Annotated[str, Field(pattern=f"^{ALERT_ID}$")]


def optional(description: str | None = None, pattern: str | None = None, example: object = None) -> Any:
    """What may be left out of a request; `pattern` is a regular expression for text, `example` a value for queries."""
    # The default only marks what is left out; it is not a value that a caller may send, so the schema omits it.
    return Field(
        description=description,
        pattern=pattern,
        # Not as "example", which the page would fill in. Tools that send every parameter take it from here.
        examples=None if example is None else [example],
        json_schema_extra=lambda schema: schema.pop("default", None),
    )


def not_null(description: str | None = None) -> Any:
    """The same for a member declared as `T | None`: it may be left out, but null is not a value of it."""
    return Field(None, description=description, json_schema_extra=without_none)


def digits(value: object) -> object:
    """For queries, where everything is text: the whole number in plain digits, or whatever is not text as it is."""
    return _whole_number(value) if isinstance(value, str) else value


_whole_number = validator(read_whole_number)


def cursor_of(numbers: int) -> Any:
    """The cursor of a list in which a place is this many numbers."""
    pattern = "-".join([WHOLE_NUMBER] * numbers)
    example = "-".join(["2000000000", "7", "1", "1100"][:numbers])
    return optional("The `next` of the previous page.", pattern=f"^{pattern}$", example=example)


class Query(BaseModel):
    """The query of a call. By itself it has no parameters, and others are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Page(Query):
    """Which page of a list: its size, and where it starts."""

    limit: Annotated[int, Field(ge=1, le=500, description="How many to list at most."), BeforeValidator(digits)] = 50
    cursor: str = ""

    @property
    def to_read(self) -> int:
        """How many rows to read: one more than the page holds shows whether there is a next page."""
        return self.limit + 1


def not_before(end: int, info: ValidationInfo) -> int:
    """For `end`, declared after `start`: lets through only what is not before it."""
    if end < info.data.get("start", 0):
        raise PydanticCustomError("period", "must not be before from")
    return end


class Period(Query):
    """Bounds on `time` (in seconds, both included)."""

    start: Annotated[
        Seconds, BeforeValidator(digits), optional("The earliest time of an action, in seconds.", example=0)
    ] = Field(0, alias="from")
    end: Annotated[
        Seconds,
        BeforeValidator(digits),
        AfterValidator(not_before),
        optional("The latest time of an action, in seconds.", example=2_000_000_000),
    ] = Field(LAST_TIME, alias="to")


class PageQuery(Period, Page):
    """Which page of a list in order of time."""


def flag(value: object) -> object:
    """For queries: lets text through only if it is "true" or "false"."""
    # pydantic's bool also accepts "yes", "on", "1" and "T".
    if isinstance(value, str) and value not in ("true", "false"):
        raise PydanticCustomError("flag", "must be true or false")
    return value


def query_filter(description: str, example: object) -> Any:
    """A filter of a list, declared as `T | None` with the default None: not filtered."""
    return Field(description=description, examples=[example], json_schema_extra=without_none)


def without_none(schema: dict[str, Any]) -> None:
    """Make the schema of a member declared as `T | None` with the default None that of T.

    None only marks what is left out; it is not a value that is sent.
    """
    schema.pop("default", None)
    (only,) = (one for one in schema.pop("anyOf") if one != {"type": "null"})
    schema |= only


def exactly_one(always: str, *groups: list[str]) -> JsonDict:
    """For the keyword "dependentSchemas": exactly one of these groups of members must be there; `always` always is.

    The keyword "required" would do within it, but linters look for the members next to that.
    """
    return {always: {"oneOf": [{"dependentRequired": {always: list(group)}} for group in groups]}}
