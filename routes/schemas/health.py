"""Answers about the state of the service."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class HealthAnswer(BaseModel):
    """The state of the service in one word."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok"}]})

    status: Annotated[str, Field(pattern="^ok$")]


class ReadinessAnswer(HealthAnswer):
    """That events can be taken, and what to look after all the same; without `warnings`, nothing."""

    warnings: list[str] = []
