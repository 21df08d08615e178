"""The answer to every error."""

from pydantic import BaseModel

from routes.schemas.answer_fields import may_be_absent


class FieldProblemAnswer(BaseModel):
    """One bad field: a JSON pointer to it, and what is wrong with it."""

    pointer: str
    detail: str


class ProblemAnswer(BaseModel):
    """The form of every error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblemAnswer] | None = may_be_absent()
    request_id: str
