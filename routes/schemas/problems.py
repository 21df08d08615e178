"""How every error is answered."""

from pydantic import BaseModel


class FieldProblemAnswer(BaseModel):
    """One bad field: a JSON pointer to it, and what is wrong."""

    pointer: str
    detail: str


class ProblemAnswer(BaseModel):
    """Every error looks like this (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblemAnswer] = []
    request_id: str
