"""What fields of requests, answers and queries have in common."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from routes.http.json_body import Number

MAX_ID = 2**63 - 1


MAX_CODE = 2**31 - 1


CENT = Decimal("0.01")


_MONEY = re.compile(r"[0-9]{1,12}(\.[0-9]{1,2})?")


_NUMBER_SCHEMA = {"type": "number", "maximum": 999999999999.99, "multipleOf": 0.01}


def _money(value: object) -> Decimal:
    # Decimal itself takes "1e3", " 42 ", "4_2" and other scripts' digits, so the text is checked first; a
    # number counts as it was written.
    text = value.text if isinstance(value, Number) else str(value)
    if isinstance(value, bool) or not isinstance(value, (str, int, Number)) or not _MONEY.fullmatch(text):
        raise PydanticCustomError("money", 'must be 1 to 12 digits with at most 2 decimals, such as "42.00"')
    return Decimal(text).quantize(CENT)


def _positive(value: Decimal) -> Decimal:
    if value <= 0:
        raise PydanticCustomError("money", "must be greater than 0")
    return value


Amount = Annotated[
    Decimal,
    BeforeValidator(_money),
    AfterValidator(_positive),
    WithJsonSchema(
        {
            "description": "Money over 0 with at most two decimals. Text is exact; a plain number is tolerated.",
            "anyOf": [
                {"type": "string", "pattern": r"^(?=.*[1-9])[0-9]{1,12}(\.[0-9]{1,2})?$"},
                _NUMBER_SCHEMA | {"exclusiveMinimum": 0},
            ],
        }
    ),
]


OpeningBalance = Annotated[
    Decimal,
    BeforeValidator(_money),
    WithJsonSchema(
        {
            "description": "Money, 0 or more, with at most two decimals. Text is exact; a plain number is tolerated.",
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,2})?$"},
                _NUMBER_SCHEMA | {"minimum": 0},
            ],
            "default": "0.00",
        }
    ),
]


MoneyText = Annotated[str, Field(pattern=r"^-?[0-9]+\.[0-9]{2}$")]


Id = Annotated[int, Field(ge=1, le=MAX_ID)]


Seconds = Annotated[int, Field(ge=0, le=MAX_ID)]


EventId = Annotated[str, Field(pattern=r"^[ -~]{1,128}$")]


Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]  # PostgreSQL stores no NUL


def optional(description: str | None = None, pattern: str | None = None) -> Any:
    # The default stands for "not given": it is no value that a caller may send, so it is kept from the schema.
    return Field(description=description, pattern=pattern, json_schema_extra=lambda schema: schema.pop("default", None))


class Request(BaseModel):
    """A payload from outside: types are taken as they are, unknown fields are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


def digits(value: object) -> object:
    # int() takes " 5 ", "5.0" and "1_0" too.
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,19}", value):
        raise PydanticCustomError("digits", "must be a whole number")
    return value


def cursor_of(numbers: int) -> Any:
    pattern = "-".join(["[0-9]{1,19}"] * numbers)
    return optional("The `next` of the page before.", pattern=f"^{pattern}$")


class Page(BaseModel):
    """Which part of a list: a page size, and where to go on."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    limit: Annotated[int, Field(ge=1, le=500), BeforeValidator(digits)] = 50
    cursor: str = ""


class PageQuery(Page):
    """Which part of a list that goes by time, with bounds on `time` (seconds, both included)."""

    start: Annotated[Seconds, BeforeValidator(digits), Field(alias="from")] = 0
    end: Annotated[Seconds, BeforeValidator(digits), Field(alias="to")] = MAX_ID


Code = Annotated[int, Field(ge=1, le=MAX_CODE)]


def flag(value: object) -> object:
    # bool() of pydantic takes "yes", "on", "1" and "T" too.
    if isinstance(value, str) and value not in ("true", "false"):
        raise PydanticCustomError("flag", "must be true or false")
    return value


def query_filter(description: str) -> Any:
    # None stands for "not given": it is no value that a caller may send, so it is kept from the schema.
    def without_none(schema: dict[str, Any]) -> None:
        del schema["default"]
        schema |= schema.pop("anyOf")[0]

    return Field(description=description, json_schema_extra=without_none)


def rfc3339(moment: datetime) -> str:
    """A moment in UTC, to the microsecond."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


AlertId = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,18}-[1-9][0-9]{0,18}-[1-9][0-9]{0,9}$")]
