"""Forms and filters of pages: reading what they send."""

from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import parse_qs

from flask import request
from pydantic import BaseModel, ValidationError

from routes.http.bodies import read_body
from routes.http.problems import Problem
from rules.payload import FieldProblem

ModelT = TypeVar("ModelT", bound=BaseModel)

MAX_FORM = 64 * 1024  # bytes: a note and 500 alerts
MOST_FIELDS = 1_200
FORM = "application/x-www-form-urlencoded"


class BadForm(Exception):
    """What was entered cannot be used: by field, why; and what was entered, which is shown again."""

    def __init__(self, faults: Mapping[str, str], entered: Mapping[str, str]) -> None:
        super().__init__(faults)
        self.faults, self.entered = faults, entered


def form_fields() -> dict[str, list[str]]:
    """The fields of the form in the body of the request. Raises Problem 400 or 415 if it holds none."""
    if request.mimetype != FORM:
        raise Problem(415, f"The Content-Type must be {FORM}.")
    try:
        return parse_qs(
            read_body(MAX_FORM).decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS
        )
    except ValueError:
        raise Problem(400, "The form has too many fields.") from None


def read_form(model: type[ModelT], fields: Mapping[str, list[str]] | None = None) -> ModelT:
    """The form as a `model`; fields left empty count as left out. Raises BadForm."""
    sent = form_fields() if fields is None else fields
    entered = {name: values[-1].strip() for name, values in sent.items() if values[-1].strip()}
    return _read(model, entered)


def read_filters(model: type[ModelT]) -> ModelT:
    """The query of the page's address as a `model`; empty and unknown fields are left out.

    Raises Problem 400 for a value that cannot be one.
    """
    names = {field.alias or name for name, field in model.model_fields.items()}
    entered = {name: value.strip() for name, value in request.args.items() if name in names and value.strip()}
    try:
        return _read(model, entered)
    except BadForm as bad:
        errors = [FieldProblem(f"/{name}", why) for name, why in bad.faults.items()]
        raise Problem(400, "The address of this page has filters that cannot be.", errors=errors) from None


def _read(model: type[ModelT], entered: Mapping[str, str]) -> ModelT:
    try:
        return model.model_validate(entered)
    except ValidationError as error:
        faults = {".".join(map(str, one["loc"])): one["msg"] for one in error.errors(include_url=False)}
        raise BadForm(faults, entered) from None
