"""Kinds of members that answers share: moments, members that may be left out, and JSON as it was stored."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, GetCoreSchemaHandler, PlainSerializer
from pydantic_core import CoreSchema, core_schema
from typing_extensions import TypeAliasType

from routes.schemas.fields import MoneyText, without_none
from rules.values import written_moment

Moment = Annotated[AwareDatetime, PlainSerializer(written_moment)]
ParametersAnswer = TypeAliasType(
    "ParametersAnswer",
    Annotated[
        dict[str, MoneyText | int],
        Field(description="Values of a rule's parameters by name: money and factors as text, the others as numbers."),
    ],
)


def may_be_absent(description: str | None = None) -> Any:
    """The default of a member declared as `T | None` that is left out of the answer when it is None.

    In the schema it has type T and is not required.
    """
    return Field(None, description=description, exclude_if=lambda value: value is None, json_schema_extra=without_none)


@dataclass(frozen=True)
class AsStored:
    """Annotates JSON data that is answered unchecked, exactly as it was stored, however old it is.

    `described_by` is the type of what would be stored today; the OpenAPI document shows that.
    """

    described_by: Any

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        described = handler.generate_schema(self.described_by)
        as_it_is = core_schema.simple_ser_schema("any")
        return core_schema.no_info_wrap_validator_function(lambda value, _: value, described, serialization=as_it_is)
