"""How ids are written in paths, and how the OpenAPI document describes that (`described`, an OpenAPI parameter)."""

import re
from typing import Any, ClassVar

from pydantic import TypeAdapter
from werkzeug.routing import BaseConverter, ValidationError

from access.key_format import KEY_ID
from routes.schemas.fields import AlertId, Id, KeyId
from routes.schemas.json_schema import QuerySchema
from rules.values import ALERT_ID, ID, MAX_CODE, MAX_ID

PARAMETER = re.compile(r"<(?:([^:<>]+):)?([^<>]+)>")  # in the path of a route: its converter and its name


def template_of(path: str) -> str:
    """The path of a route as OpenAPI writes it, which logs and metrics show too: `/users/{user_id}`."""
    return PARAMETER.sub(r"{\2}", path)


class IdConverter(BaseConverter):
    """An id in a path: 1 to 2^63-1 in plain digits without leading zeros; anything else is a 404."""

    regex = ID
    described: ClassVar[dict[str, Any]] = {
        "description": "A number from 1.",
        "schema": TypeAdapter(Id).json_schema(schema_generator=QuerySchema),
        "example": 7,
    }

    def to_python(self, value: str) -> int:
        """The id. Raises ValidationError (answered with 404) above 2^63-1."""
        if (number := int(value)) > MAX_ID:
            raise ValidationError
        return number


class AlertIdConverter(BaseConverter):
    """An alert's id in a path: user_id, seq and code, each as plain digits; anything else is a 404."""

    regex = ALERT_ID
    described: ClassVar[dict[str, Any]] = {
        "description": "The id of an alert: its user's id, the action's number among that user's, and the code.",
        "schema": TypeAdapter(AlertId).json_schema(schema_generator=QuerySchema),
        "example": "7-1-1100",  # what the example of an event raises
    }

    def to_python(self, value: str) -> tuple[int, int, int]:
        """The three numbers. Raises ValidationError (answered with 404) if one is too large."""
        user_id, seq, code = map(int, value.split("-"))
        if user_id > MAX_ID or seq > MAX_ID or code > MAX_CODE:
            raise ValidationError
        return user_id, seq, code


class KeyIdConverter(BaseConverter):
    """The id of a key in a path; anything else is a 404."""

    regex = KEY_ID
    described: ClassVar[dict[str, Any]] = {
        "description": "The id of a key: its 7 characters between the underscores.",
        "schema": TypeAdapter(KeyId).json_schema(schema_generator=QuerySchema),
        "example": "k3yI2d4",
    }
