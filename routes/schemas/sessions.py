"""Requests and answers about sessions: who somebody is, and until when."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from routes.schemas.keys import Scope
from rules.payload import Payload

Presented = Annotated[str, Field(min_length=1, max_length=200, description="A living key.")]


class SessionRequest(Payload):
    """The key to sign in with."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"key": "tak_0000000_0000000000000000000000000000000000000000000000000"}]}
    )

    key: Presented


class SessionAnswer(BaseModel):
    """Who makes the request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "Ada", "scopes": ["read", "work"], "expires_at": "2026-11-27T02:50:40Z"}]
        }
    )

    name: Annotated[str, Field(description="The name of the key, as it stands in histories and in the log.")]
    scopes: Annotated[list[Scope], Field(description="What the caller may do.")]
    expires_at: Annotated[
        datetime | None, Field(description="When the session ends, or the key; null if neither does by itself.")
    ]
