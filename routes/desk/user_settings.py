"""The page on which a user's rating and overrides are changed: what would follow is said before it is saved."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from database.models import User
from routes.desk import words
from routes.desk.forms import MAX_FORM, form_fields
from routes.desk.shell import go, page
from routes.desk.user_versions import VersionLine, read_versions
from routes.http.access import caller
from routes.http.hooks import service
from routes.http.operation import needs
from routes.http.pages import DESK
from routes.http.unknown import unknown_user
from routes.schemas.users import UserChange, UserChangeRequest, UserRuleAnswer, UserRulesAnswer
from rules.base import RISK_FACTORS
from rules.model import RISKS, Risk
from rules.payload import BadPayload, validate
from rules.registry import REGISTRY
from rules.user_settings import UnknownUser, existing_user, must_agree, set_user, written
from rules.values import read_whole_number
from rules.versions import RuleChange

blueprint = Blueprint("desk_user_settings", __name__, template_folder="../templates")

NEWER = 10  # versions that are shown to somebody who was overtaken
NO_NOTE = "Say why: the note stands in the history of this user."
BAD_VERSION = "The form has lost the version it was made for: reload the page."


class _Moved(Exception):
    """Somebody else has changed the user since the form was made."""


class ValueChange(NamedTuple):
    """A parameter that would have another value in force, as it is written, or another origin."""

    rule: UserRuleAnswer
    name: str
    before: str
    after: str
    origin: str


@blueprint.get("/desk/users/<id:user_id>/settings")
@needs("tune")
def get_user_settings_page(user_id: int) -> Response:
    """The form for how a user is judged."""
    return _shown(user_id)


@blueprint.post("/desk/users/<id:user_id>/settings")
@needs("tune", max_body=MAX_FORM)
def set_user_from_page(user_id: int) -> Response:
    """Change how a user is judged, or only show what that would change (`do` is `check`)."""
    entered = {name: values[-1].strip() for name, values in form_fields().items() if values[-1].strip()}
    try:
        seen = read_whole_number(entered.get("version", ""))
    except ValueError:
        return _shown(user_id, 400, entered=entered, faults={"": BAD_VERSION})
    try:
        wanted = validate(UserChange, _as_change(entered))
        assert wanted.overrides is not None
        overrides = wanted.overrides.values()
        if entered.get("do") == "check":
            return _shown(user_id, entered=entered, seen=seen, checked=wanted)
        if not wanted.note:
            return _shown(user_id, 400, entered=entered, seen=seen, faults={"note": NO_NOTE}, checked=wanted)

        def must_match(version: int) -> None:
            if version != seen:
                raise _Moved

        risk, who = wanted.risk, caller().name
        set_user(service(), user_id, risk=risk, overrides=overrides, who=who, note=wanted.note, must_match=must_match)
    except BadPayload as bad:
        return _shown(user_id, 400, entered=entered, seen=seen, faults=_by_field(bad))
    except _Moved:
        return _shown(user_id, 412, entered=entered, seen=seen)
    except UnknownUser:
        raise unknown_user(user_id) from None
    return go(f"{DESK}/users/{user_id}?said=settings")


def field_name(code: int, name: str) -> str:
    """The name of the field for a user's own value of a rule's parameter."""
    return f"own-{code}-{name}"


def _as_change(entered: Mapping[str, str]) -> dict[str, Any]:
    """The form as `PATCH /users/{id}` has it: all overrides, and numbers as numbers."""
    overrides: dict[str, dict[str, object]] = {}
    for code, rule in REGISTRY.items():
        for one in rule.declared:
            text = entered.get(field_name(code, one.name))
            if text is not None:
                overrides.setdefault(str(code), {})[one.name] = text if one.is_decimal else _number(text)
    wanted = {name: entered[name] for name in ("risk", "note") if name in entered}
    return wanted | {"overrides": overrides}


def _number(text: str) -> object:
    try:
        return read_whole_number(text)
    except ValueError:
        return text  # which the parameter refuses


def _by_field(bad: BadPayload) -> dict[str, str]:
    """The faults by the name of the field of the form."""
    found = {}
    for one in bad.errors:
        path = one.pointer.split("/")[1:]
        found[f"own-{path[1]}-{path[2]}" if len(path) == 3 else path[0]] = one.detail
    return found


def _shown(
    user_id: int,
    status: int = 200,
    *,
    entered: Mapping[str, str] | None = None,
    faults: Mapping[str, str] | None = None,
    checked: UserChangeRequest | None = None,
    seen: int | None = None,
) -> Response:
    """The page with its form: as things are, or as it was `entered`.

    `checked` is a change whose consequences are shown; `seen` is the version for which the form was made. What is newer
    is shown, whatever was wanted: the form is for the present version from then on.
    """
    faults = dict(faults or {})

    def read(session: Session) -> tuple[dict[int, RuleChange], User, Sequence[VersionLine]]:
        rules = service().rules(session)
        user = existing_user(session, user_id)
        newest = [] if seen is None else read_versions(session, user_id, NEWER).lines
        return rules, user, [line for line in newest if seen is not None and line.version > seen]

    try:
        rules, user, newer = service().read(read)
    except UnknownUser:
        raise unknown_user(user_id) from None
    if status == 412 and not newer:  # the form names a version that there is not
        faults[""] = BAD_VERSION
    now = _in_force(user, rules)
    differences = None
    if checked is not None and checked.overrides is not None:
        risk = checked.risk if "risk" in checked.model_fields_set else cast(Risk, user.risk)
        overrides = checked.overrides.values()
        try:
            must_agree(overrides, risk, rules)
            after = User(user_id=user_id, risk=risk, overrides=written(overrides))
            differences = list(_differences(now, _in_force(after, rules)))
        except BadPayload as bad:
            status, faults = 400, faults | _by_field(bad)
    own = {
        field_name(int(code), name): str(value)
        for code, values in user.overrides.items()
        for name, value in values.items()
    }
    values = own | {"risk": user.risk} if entered is None else {"risk": user.risk} | dict(entered)
    return page(
        "desk/user_settings.html",
        status=status,
        user=user,
        rules=now,
        declared={code: rule.declared for code, rule in REGISTRY.items()},
        field_name=field_name,
        values=values,
        own=own,
        faults=faults,
        differences=differences,
        newer=newer,
        risks=[(risk, RISK_FACTORS[risk]) for risk in RISKS],
    )


def _in_force(user: User, rules: Mapping[int, RuleChange]) -> list[UserRuleAnswer]:
    return UserRulesAnswer.of(user, (change.setting for change in rules.values())).rules


def _differences(before: Sequence[UserRuleAnswer], after: Sequence[UserRuleAnswer]) -> Iterator[ValueChange]:
    for was, now in zip(before, after, strict=True):
        units = {one.name: one.unit for one in REGISTRY[now.code].declared}
        for name, value in now.parameters.items():
            is_own = "override" in (value.origin, was.parameters[name].origin)
            if value != was.parameters[name] and (is_own or now.status != "off"):
                old, new = (words.parameter(units[name], one.parameters[name].value) for one in (was, now))
                yield ValueChange(now, name, old, new, value.origin)
