"""The answer at `/`."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from routes.schemas.events import EVENT_EXAMPLE
from version import VERSION


def example_command(address: str, path: str) -> str:
    """A command for a shell that posts an example to `path` of the service at `address`, which has the example itself.

    There is no JSON in it: within JSON its quotes are escaped, and whoever copies those posts what cannot be read.
    """
    example = f"{address}/docs/examples{path}.json"
    return f"curl -s {example} | curl {address}{path} -H 'Content-Type: application/json' -d @-"


def _members(address: str) -> dict[str, Any]:
    return {
        "service": "transaction-alerts",
        "version": VERSION,
        "desk": f"{address}/desk/",
        "docs": f"{address}/docs",
        "openapi": f"{address}/openapi.json",
        "alerts": f"{address}/alerts",
        "rules": f"{address}/rules",
        "first_step": example_command(address, "/event"),
        "example": EVENT_EXAMPLE,
    }


class StartAnswer(BaseModel):
    """What this service is, and where to go from here."""

    model_config = ConfigDict(json_schema_extra={"examples": [_members("http://127.0.0.1:5000")]})

    service: str
    version: str
    desk: Annotated[str, Field(description="The pages on which people work.")]
    docs: Annotated[str, Field(description="A page with every call, to be tried out.")]
    openapi: Annotated[str, Field(description="The same for programs.")]
    alerts: Annotated[str, Field(description="The newest alerts.")]
    rules: Annotated[str, Field(description="All rules as they are set now.")]
    first_step: Annotated[str, Field(description="A command that posts a first event, the one in `example`.")]
    example: Annotated[dict[str, Any], Field(description="What an event looks like.")]

    @classmethod
    def at(cls, address: str) -> Self:
        """The answer of the service at this address."""
        return cls(**_members(address))
