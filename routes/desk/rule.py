"""The page of a rule: what it is set to, trying other values on the stored history, and setting it to them."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from routes.desk.forms import MAX_FORM, form_fields
from routes.desk.rule_form import NOTE, SEEN, STATUS, TRY, Draft, changes, differences, read_draft, texts_of
from routes.desk.rule_page import Entered, must_exist, rule_page, shown, version_of
from routes.desk.rule_question import read_question
from routes.desk.shell import go, is_part, part
from routes.http.access import caller
from routes.http.hooks import reader, service
from routes.http.operation import needs
from routes.http.pages import DESK
from routes.http.problems import Problem
from rules.base import RuleSetting
from rules.hindsight.start import AnotherRuns, cancel, start
from rules.payload import BadPayload
from rules.values import ID, LAST_TIME
from rules.versions import WantedSetting

blueprint = Blueprint("desk_rule", __name__, template_folder="../templates")

LONGEST_NOTE = 2000


class Moved(Exception):
    """The rule is at another version than the one that was seen."""


@blueprint.get("/desk/rules/<id:code>")
@needs("read")
def get_rule_page(code: int) -> Response:
    """The page of a rule, perhaps with a try, and with other values in its form."""
    saved = _number(request.args.get("saved"))
    return rule_page(
        code,
        Entered(
            texts=request.args,
            backtest_id=_number(request.args.get(TRY)),
            before=_number(request.args.get("before")),
            said=f"Saved as version {saved}." if saved else "",
        ),
    )


@blueprint.post("/desk/rules/<id:code>/review")
@needs("tune", max_body=MAX_FORM)
def review(code: int) -> Response:
    """What the values in the form would change: a part of the page, or the whole page with them."""
    texts = _texts()
    entered = Entered(texts=texts, backtest_id=_number(texts.get(TRY)))
    if is_part() and request.headers.get("HX-Target", "").endswith("#review"):
        return part("desk/rule_review.html", **shown(code, entered))
    return rule_page(code, entered)


@blueprint.post("/desk/rules/<id:code>/try")
@needs("tune", max_body=MAX_FORM)
def try_rule(code: int) -> Response:
    """Try the values in the form on the stored history."""
    must_exist(code)
    texts = _texts()
    present = {one: change.setting for one, change in service().run(service().rules).items()}
    draft = read_draft(present[code], texts)
    faults = dict(draft.faults)
    question = read_question(present, draft, texts, faults)
    entered = Entered(texts=texts, faults=faults, backtest_id=_number(texts.get(TRY)), status=400)
    if question is None:
        return rule_page(code, entered)
    try:
        backtest_id = start(reader(), question, who=caller().name)
    except AnotherRuns as other:
        return rule_page(code, replace(entered, in_the_way=other, status=409))
    kept = {name: texts[name] for name in (STATUS,) if texts.get(name, present[code].status) != present[code].status}
    return go(_link(code, {TRY: backtest_id} | kept) + "#try")


@blueprint.get("/desk/rules/<id:code>/try/<id:backtest_id>")
@needs("read")
def get_try(code: int, backtest_id: int) -> Response:
    """How far a try has come: a part of the page that asks for itself again until it is done, and then all of it."""
    must_exist(code)
    if not is_part():
        return go(_link(code, {TRY: backtest_id}) + "#try")
    found = shown(code, Entered(backtest_id=backtest_id))
    if found["shown_try"].is_running:
        return part("desk/rule_progress.html", **found)
    answer = part("desk/rule_result.html", is_new=True, **found)
    answer.headers.update({"HX-Retarget": "#try", "HX-Reswap": "outerHTML"})
    return answer


@blueprint.post("/desk/rules/<id:code>/try/<id:backtest_id>/cancel")
@needs("tune", max_body=MAX_FORM)
def cancel_try(code: int, backtest_id: int) -> Response:
    """End a try; one that has ended stays as it is."""
    must_exist(code)
    service().run(lambda session: cancel(session, backtest_id, who=caller().name))
    return go(_link(code, {TRY: backtest_id}) + "#try")


@blueprint.post("/desk/rules/<id:code>")
@needs("tune", max_body=MAX_FORM)
def save_rule(code: int) -> Response:
    """Set the rule to the values in the form: a new version."""
    must_exist(code)
    texts = _texts()
    present = service().run(service().rules)[code].setting
    draft = read_draft(present, texts)
    faults = dict(draft.faults)
    seen = _number(texts.get(SEEN)) or present.version
    if seen == present.version and not faults and not differences(present, draft.setting):
        faults["form"] = "Nothing differs from what is stored."
    return _save(code, present, draft, texts, faults, seen)


@blueprint.post("/desk/rules/<id:code>/restore")
@needs("tune", max_body=MAX_FORM)
def restore_rule(code: int) -> Response:
    """Set the rule to what it was at an earlier version: a new version."""
    must_exist(code)
    texts = _texts()
    present = service().run(service().rules)[code].setting
    wanted = _number(texts.get("version")) or 0
    earlier = service().read(lambda session: version_of(session, code, wanted))
    if earlier is None:
        raise Problem(404, f"Rule {code} has no version {wanted}.", kind="unknown-version")
    # Values that were once within bounds, and no longer are, are refused as others are.
    draft = read_draft(present, texts_of(earlier.setting))
    faults = dict(draft.faults)
    if not faults and not differences(present, draft.setting):
        faults["form"] = f"Version {wanted} says what is stored now."
    return _save(code, present, draft, {**texts, **draft.texts}, faults, _number(texts.get(SEEN)) or present.version)


def _save(
    code: int, present: RuleSetting, draft: Draft, texts: Mapping[str, str], faults: dict[str, str], seen: int
) -> Response:
    note = texts.get(NOTE, "")
    if not note:
        faults[NOTE] = "is needed: why is it changed?"
    elif len(note) > LONGEST_NOTE or "\x00" in note:
        faults[NOTE] = f"must have at most {LONGEST_NOTE:,} characters"
    entered = Entered(texts=texts, faults=faults, backtest_id=_number(texts.get(TRY)), status=400)
    if seen != present.version:
        return rule_page(code, replace(entered, faults={}, moved_from=seen, status=412))
    if faults:
        return rule_page(code, entered)

    def must_match(version: int) -> None:
        if version != seen:
            raise Moved

    parameters, by_risk = changes(present, draft.setting)
    wanted = WantedSetting(
        status=draft.setting.status, parameters=parameters, by_risk=by_risk, author=caller().name, note=note
    )
    try:
        saved = service().set_rule(code, wanted, must_match)
    except Moved:
        return rule_page(code, replace(entered, moved_from=seen, status=412))
    except BadPayload as bad:
        found = {one.pointer.strip("/").partition("/")[2].replace("/", "."): one.detail for one in bad.errors}
        return rule_page(code, replace(entered, faults=found))
    return go(_link(code, {"saved": saved.setting.version}))


def _texts() -> dict[str, str]:
    return {name: values[-1].strip() for name, values in form_fields().items()}


def _number(text: str | None) -> int | None:
    """The number of a version or of a backtest, if it can be one."""
    return int(text) if text and re.fullmatch(ID, text) and int(text) < LAST_TIME else None


def _link(code: int, query: Mapping[str, Any]) -> str:
    return f"{DESK}/rules/{code}?{urlencode(query)}"
