"""What the form of a rule asks to try: its values, perhaps a sweep of one of them, over a period."""

from collections.abc import Mapping

from routes.desk.rule_form import (
    BUDGET,
    END,
    START,
    SWEEP,
    SWEEP_FROM,
    SWEEP_STEP,
    SWEEP_TO,
    Draft,
    changes,
    propose_sweep,
)
from rules.base import RuleSetting
from rules.hindsight.question import Question, Sweep, step_of, steps
from rules.hindsight.start import ask
from rules.payload import BadPayload
from rules.values import LAST_TIME, read_whole_number


def read_question(
    present: Mapping[int, RuleSetting], draft: Draft, texts: Mapping[str, str], faults: dict[str, str]
) -> Question | None:
    """What to try; None if something is wrong, which is added to the `faults`."""
    code = draft.setting.code
    period = {START: 0, END: LAST_TIME}
    for name in period:
        if text := texts.get(name, ""):
            period[name] = _whole(name, text, faults)
    if period[END] < period[START]:
        faults[END] = "must not be before the beginning"
    sweep = _sweep(draft, texts, faults)
    budget = _whole(BUDGET, text, faults) if (text := texts.get(BUDGET, "")) else None
    if budget is not None and not texts.get(SWEEP):
        faults[BUDGET] = "needs a parameter to sweep"
    if faults:
        return None
    wanted = {code: changes(present[code], draft.setting)}
    try:
        return ask(present, wanted, start=period[START], end=period[END], sweep=sweep, at_most=budget)
    except BadPayload as bad:  # of the form nothing is wrong, so it is a value of the sweep
        faults[SWEEP] = bad.errors[0].detail
        return None


def _sweep(draft: Draft, texts: Mapping[str, str], faults: dict[str, str]) -> Sweep | None:
    name = texts.get(SWEEP, "")
    if not name or name in faults:
        return None
    declared = {one.name: one for one in draft.setting.rule.declared}
    if name not in declared:
        faults[SWEEP] = "is no parameter of this rule"
        return None
    parameter = declared[name]
    proposed = propose_sweep(parameter, draft.setting.parameters[name])
    found = list(proposed)
    for at, (one, reader) in enumerate(
        ((SWEEP_FROM, parameter), (SWEEP_TO, parameter), (SWEEP_STEP, step_of(parameter)))
    ):
        if text := texts.get(one, ""):
            try:
                found[at] = reader.typed(text)
            except ValueError as error:
                faults[one] = str(error)
    if any(one in faults for one in (SWEEP_FROM, SWEEP_TO, SWEEP_STEP)):
        return None
    try:
        return Sweep(code=draft.setting.code, parameter=name, values=steps(*found))
    except ValueError as error:
        faults[SWEEP_STEP] = str(error)
        return None


def _whole(name: str, text: str, faults: dict[str, str]) -> int:
    try:
        number = read_whole_number(text)
        if number <= LAST_TIME:
            return number
    except ValueError:
        pass
    faults[name] = "must be a whole number"
    return 0
