"""The part of the OpenAPI document about what the service itself sends: messages to webhooks."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from routes.schemas.json_schema import REF

_ID = {
    "name": "webhook-id",
    "in": "header",
    "required": True,
    "description": "The id of the message, the same in every attempt: what has been seen can be passed over.",
    "schema": {"type": "string"},
}
_TIMESTAMP = {
    "name": "webhook-timestamp",
    "in": "header",
    "required": True,
    "description": "When this attempt was made, in seconds since 1970.",
    "schema": {"type": "string", "pattern": "^[0-9]+$"},
}
_SIGNATURE = {
    "name": "webhook-signature",
    "in": "header",
    "required": True,
    "description": "By Standard Webhooks: `v1,` and HMAC-SHA256 over id, timestamp and body in base64. While a secret "
    "is rotated there are two, with a space between them.",
    "schema": {"type": "string"},
}
_RESPONSES = {
    "2XX": {"description": "It has arrived, and is not sent again."},
    "410": {"description": "Nothing more is to be sent: the webhook is disabled."},
    "default": {"description": "It is sent again later, and the user's later messages wait for it. So are redirects."},
}


def described(messages: Mapping[str, type[BaseModel]], schemas: Mapping[str, Any], tag: str) -> dict[str, Any]:
    """Of the member `webhooks` of the document: for each type of message, what is posted. `schemas` has the models'."""
    return {name: {"post": _post(name, model, schemas, tag)} for name, model in messages.items()}


def _post(name: str, model: type[BaseModel], schemas: Mapping[str, Any], tag: str) -> dict[str, Any]:
    (example,) = schemas[model.__name__]["examples"]
    media = {"schema": {"$ref": REF.format(model=model.__name__)}, "example": example | {"type": name}}
    summary = (model.__doc__ or "").strip().partition("\n")[0]
    return {
        "operationId": name.replace(".", "_"),
        "tags": [tag],
        "summary": summary.rstrip("."),
        "description": f"{summary} Posted to the `url` of each webhook that wants it, at least once, and the messages "
        "about one user in order.",
        "security": [],
        "parameters": [_ID, _TIMESTAMP, _SIGNATURE],
        "requestBody": {"required": True, "content": {"application/json": media}},
        "responses": _RESPONSES,
    }
