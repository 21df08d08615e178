"""How the models of requests and answers are written in the OpenAPI document, so that generated clients read well."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

_MOST_32_BIT = 2**31 - 1
REF = "#/components/schemas/{model}"


class QuerySchema(GenerateJsonSchema):
    """Schemas as JavaScript can read them and generators take them.

    - No bound above 2^53, which JavaScript would round: format int64 says the same.
    - No `const`, which most generators do not know: an enum of one.
    - No titles of members, which only repeat their names.
    - Everything in the order in which it is declared.
    """

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:  # noqa: ARG002
        """The same."""
        return value

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        """A whole number, which has 64 bits unless it is bound to 32."""
        written = super().int_schema(schema)
        if max(schema.get("le", 0), schema.get("lt", 0)) not in range(1, _MOST_32_BIT + 1):
            written.pop("maximum", None)
            written["format"] = "int64"
        return written

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        """One of some values."""
        written = super().literal_schema(schema)
        if "const" in written:
            written["enum"] = [written.pop("const")]
        return written

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        """Never."""
        return False


class BodySchema(QuerySchema):
    """The same for bodies, without defaults.

    Some generators make what has a default required, and others send it, which is not the same as leaving it out.
    """

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """The schema of the member alone."""
        return self.generate_inner(schema["schema"])


def query_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a query, by the names of its parameters; `$defs` has the schemas that have names."""
    return model.model_json_schema(ref_template=REF, schema_generator=QuerySchema)
