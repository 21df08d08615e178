"""From what was sent to an event, with every fault named.

Both doors, `POST /events` and `flask replay` read events here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from rules import json_text
from rules.model import ActionType, Event
from rules.plain_event import plain_event
from rules.spelling import unknown
from rules.values import EVENT_ID, LAST_TIME, MAX_ID, read_amount

MOST_FAULTS = 100  # named in one answer: a body of 64 KiB can have ten thousand
MORE_THAN_ONCE = "appears more than once"

# What texts must look like that have a pattern, by the name of the member or parameter.
_FORMS = {
    "event_id": "must be 1 to 128 printable ASCII characters",
    "cursor": "must be the `next` of an answer",
    "name": "must not have a null character",
    "note": "must not have a null character",
}

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)


class FieldProblem(NamedTuple):
    """One bad field: a JSON pointer (RFC 6901) to it and a sentence."""

    pointer: str
    detail: str


class BadPayload(Exception):
    """What was sent cannot be used: a sentence, and the bad fields if they are why.

    It holds nothing of the payload and no other exception, so that ten thousand of them are small.
    """

    def __init__(self, detail: str, errors: Sequence[FieldProblem] = ()) -> None:
        super().__init__(detail)
        self.detail, self.errors = detail, tuple(errors)


def validator(read: Callable[[Any], T]) -> Callable[[Any], T]:
    """`read` in the form that pydantic takes: the message of its ValueError becomes the fault."""

    def validate_one(raw: Any) -> T:
        try:
            return read(raw)
        except ValueError as error:
            raise PydanticCustomError("value", "{sentence}", {"sentence": str(error)}) from None

    return validate_one


class Payload(BaseModel):
    """A payload from outside: no type is converted, unknown members are refused.

    `read_only` are members that callers may know from an answer, and that cannot be set.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    read_only: ClassVar[frozenset[str]] = frozenset()


class EventPayload(Payload):
    """One deposit or withdrawal of one user. Of all payloads it alone ignores what it does not know."""

    model_config = ConfigDict(extra="ignore")

    type: ActionType
    amount: Annotated[Decimal, BeforeValidator(validator(read_amount))]
    user_id: Annotated[int, Field(ge=1, le=MAX_ID)]
    time: Annotated[int, Field(ge=0, le=LAST_TIME, validation_alias=AliasChoices("time", "t"))]
    event_id: Annotated[str, Field(pattern=f"^{EVENT_ID}$")] = ""


def read_event(body: bytes, key: str | None = None) -> Event:
    """The event in the body of a request; `key` is its header Idempotency-Key. Raises BadPayload."""
    return plain_event(body, key) or event_of(read_object(body), key)


def event_of(item: object, key: str | None = None) -> Event:
    """The event that a parsed JSON value describes; `key` as in `read_event`. Raises BadPayload."""
    if not isinstance(item, dict):
        raise BadPayload("The event must be a JSON object.")
    also = []
    if "t" in item and "time" in item:
        also.append(FieldProblem("/t", "must not stand beside time: it means the same"))
    # The header is the field under another name: both may be there if they agree.
    if key is not None and item.setdefault("event_id", key) != key:
        also.append(FieldProblem("/event_id", "differs from the header Idempotency-Key"))
    found = validate(EventPayload, item, also)
    return Event(
        user_id=found.user_id,
        type=found.type,
        amount=found.amount,
        time=found.time,
        event_id=found.event_id or None,
    )


def read_json(raw: bytes, what: str = "body", parse: Callable[[bytes], Any] = json_text.parse) -> Any:
    """The JSON value in `raw` as `parse` reads it; numbers that are not short integers come as `Number`.

    Raises BadPayload, in which `what` names `raw`, if it is not JSON in UTF-8.
    """
    try:
        return parse(raw)
    except json_text.BadJson as error:
        why = str(error)
    raise not_json(what, why)  # here, and in no variable: it keeps neither the other error nor itself alive


def not_json(what: str, why: str) -> BadPayload:
    """The error that says why `what` (a body, a line) could not be read."""
    return BadPayload(f"The {what} is not JSON in UTF-8: {why}.")


def read_object(body: bytes, parse: Callable[[bytes], Any] = json_text.parse) -> dict[str, Any]:
    """The JSON object in `body`, read in the same way. Raises BadPayload."""
    value = read_json(body, parse=parse)
    if not isinstance(value, dict):
        raise BadPayload("The body must be a JSON object.")
    return value


def read_strictly(model: type[ModelT], body: bytes) -> ModelT:
    """The JSON object in `body` as an instance of `model`.

    Raises BadPayload, which names bad members and those that stand more than once.
    """
    data = read_object(body, json_text.parse_once)
    return validate(model, data, list(_repeated(data, model)))


def validate(model: type[ModelT], data: dict[str, Any], also: Sequence[FieldProblem] = ()) -> ModelT:
    """`data` as an instance of `model`. Raises BadPayload naming bad fields, `also` first, `MOST_FAULTS` at most."""
    problems = list(also)
    try:
        valid = model.model_validate(data)
    except ValidationError as error:
        problems += field_problems(error, model)
    if len(problems) > MOST_FAULTS:
        raise BadPayload(
            f"The request has missing or bad fields; the first {MOST_FAULTS} of {len(problems):,} are named.",
            problems[:MOST_FAULTS],
        )
    if problems:
        raise BadPayload("The request has missing or bad fields.", problems)
    return valid


def conflicting(found: Iterable[tuple[tuple[str, ...], str]]) -> BadPayload:
    """The error for members of a payload that cannot be together: the path of each, and the end of a sentence."""
    problems = [FieldProblem(pointer(path), why) for path, why in found]
    return BadPayload("The parameters contradict each other.", problems)


def field_problems(error: ValidationError, model: type[BaseModel]) -> list[FieldProblem]:
    """What pydantic found when it made an instance of `model`, as JSON pointers with a sentence each."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        # Comparing names takes long, and a body can have ten thousand that are unknown.
        FieldProblem(pointer(one["loc"]), _sentence(one, model) if at < MOST_FAULTS else one["msg"])
        for at, one in enumerate(found)
    ]


def pointer(path: Iterable[str | int]) -> str:
    """The JSON pointer (RFC 6901) to what these names and numbers lead to."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _sentence(one: Any, model: type[BaseModel]) -> str:
    if one["type"] == "string_pattern_mismatch":  # whose message shows the pattern
        return _FORMS.get(str(one["loc"][-1]), str(one["msg"]))
    if one["type"] != "extra_forbidden":
        return str(one["msg"])
    *path, name = one["loc"]
    within = _model_at(model, path)
    if within is None:
        return "is unknown"
    if name in getattr(within, "read_only", ()):
        return "is read-only: it cannot be set"
    return unknown(str(name), [field.alias or known for known, field in within.model_fields.items()])


def _model_at(model: type[BaseModel], path: Iterable[str | int]) -> type[BaseModel] | None:
    """The model of the member of `model` to which `path` leads, if one describes it."""
    for name in path:
        if name not in (inner := dict(_described(model))):
            return None
        model = inner[str(name)]
    return model


def _repeated(data: dict[str, Any], model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[FieldProblem]:
    # Not within what no model describes: that is refused anyway, and may be large and nested deeply.
    for name in data.repeated if isinstance(data, json_text.Repeating) else ():
        yield FieldProblem(pointer((*path, name)), MORE_THAN_ONCE)
    for name, inner in _described(model):
        if isinstance(member := data.get(name), dict):
            yield from _repeated(member, inner, (*path, name))


def _described(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The members of `model` that have models of their own."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield field.alias or name, field.annotation
