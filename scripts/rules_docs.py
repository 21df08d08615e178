"""Write docs/rules, an index and a page for each rule, only from what the rules declare.

Run by `make docs`. `docs/rules/write-your-own.md` is written by hand and left alone.
"""

import json
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from rules.base import (
    RISK_FACTORS,
    First,
    Last,
    LookBack,
    Rule,
    RuleInForce,
    RuleSetting,
    SumsSoFar,
    SumsWithin,
    Within,
)
from rules.judging.late import Reach, reach_of
from rules.model import ActionType, Value
from rules.parameters import Parameter, written_values
from rules.registry import DEFAULT_CODES, REGISTRY
from rules.values import CENT

FOLDER = Path(__file__).resolve().parent.parent / "docs/rules"
INDEX = "README.md"
BY_HAND = frozenset({"write-your-own.md"})

_WIDTH = 120
_KINDS: dict[ActionType | None, str] = {None: "actions", "deposit": "deposits", "withdraw": "withdrawals"}
_ONE_OF: dict[ActionType | None, str] = {None: "any action", "deposit": "a deposit", "withdraw": "a withdrawal"}


def main() -> int:
    """Write the pages that are out of date, and remove those that belong to no rule. Returns 0."""
    wanted = pages()
    FOLDER.mkdir(exist_ok=True)
    for name in sorted(present() - set(wanted)):
        (FOLDER / name).unlink()
        print(f"removed {name}")
    for name, page in wanted.items():
        path = FOLDER / name
        if not path.exists() or path.read_text() != page:
            path.write_text(page)
            print(f"wrote {name}")
    return 0


def present() -> set[str]:
    """The file names of the existing pages, except those written by hand."""
    return {path.name for path in FOLDER.glob("*.md")} - BY_HAND


def pages() -> dict[str, str]:
    """The text of every page, by file name."""
    return {INDEX: _index(REGISTRY.values())} | {f"{code}.md": _page(rule) for code, rule in REGISTRY.items()}


def _index(rules: Iterable[Rule]) -> str:
    factors = ", ".join(f"{factor.normalize():f} for users of {risk} risk" for risk, factor in RISK_FACTORS.items())
    rows = [
        (f"[{rule.code}]({rule.code}.md)", _title(rule), _ONE_OF[rule.fires_on], _status(rule), rule.described[0])
        for rule in rules
    ]
    return _text(
        "# The rules",
        "<!-- Written by `make docs` from rules/catalogue: change that, not this. -->",
        _table(("code", "title", "fires on", "as shipped", "what it finds"), rows),
        "An answer lists the codes in this order. The setting `RULES` names the rules that are active until somebody "
        "sets them with `PUT /rules/{code}`. `active`: judged and answered. `shadow`: judged and stored apart, never "
        "answered. `off`: not judged.",
        "The value of a parameter that is scaled by risk is multiplied by "
        f"{factors}. A value set for one rating (`by_risk`) or one user (overrides) comes first, and is not scaled.",
        "A [backtest](../backtest.md) shows what another value would have raised. A rule that is missing here can be "
        "[written in one file](write-your-own.md).",
    )


def _page(rule: Rule) -> str:
    module = sys.modules[rule.check.__module__]
    path = module.__name__.replace(".", "/") + ".py"
    what, *source = rule.described
    parts = [
        f"# {rule.code}: {_title(rule)}",
        f"<!-- Written by `make docs` from {path}: change that, not this. -->",
        f"{what} It fires on {_ONE_OF[rule.fires_on]}. As shipped, it is {_status(rule)}.",
        rule.fires_when,
    ]
    if source:
        parts += ["## Where it comes from", *source]
    parts += ["## Parameters", *_parameters(rule)]
    parts += ["## How far it looks back", *_look_back(rule)]
    parts += [
        "## Setting it",
        f"`PUT /rules/{rule.code}` makes a new version of the rule, for example with",
        _example(rule),
        "What is left out stays as it is; `by_risk` is replaced as a whole.",
        f"The rule is in [{path}](../../{path}). [All rules](README.md).",
    ]
    return _text(*parts)


def _title(rule: Rule) -> str:
    return rule.titled(written_values(rule.defaults()))


def _status(rule: Rule) -> str:
    return "active" if rule.code in DEFAULT_CODES else "off"


def _parameters(rule: Rule) -> Iterator[str]:
    if not rule.declared:
        yield "It has none."
        return
    rows = [
        (
            f"`{one.name}`",
            one.unit,
            *(_spelt(one, value) for value in (one.default, one.least, one.most)),
            "yes" if one.scaled else "no",
            one.why,
        )
        for one in rule.declared
    ]
    yield _table(("name", "unit", "default", "least", "most", "scaled by risk", "why"), rows)
    if rule.in_order:
        bounds = (f"`{one.lower}` {'at most' if one.or_equal else 'less than'} `{one.upper}`" for one in rule.in_order)
        yield f"Together: {', '.join(bounds)}, whatever each value comes from; anything else is refused."
    if not any(one.scaled for one in rule.declared):
        yield "They are the same at every risk rating."
        return
    yield "As shipped, the values for users of each risk rating are:"
    setting = RuleSetting.initial(rule)
    in_force = {risk: written_values(RuleInForce(setting, risk=risk, overrides={}).values) for risk in RISK_FACTORS}
    names = [one.name for one in rule.declared]
    yield _table(
        ("risk", *(f"`{name}`" for name in names)),
        [(risk, *(str(values[name]) for name in names)) for risk, values in in_force.items()],
    )


def _look_back(rule: Rule) -> Iterator[str]:
    if not rule.look_back:
        yield "It looks only at the judged action, and reads no history."
    else:
        yield "\n".join(_wrapped(f"- {_looks(rule, one)}", "  ") for one in rule.look_back)
    found = list(_again(rule, reach_of([RuleInForce(RuleSetting.initial(rule), risk="normal", overrides={})])))
    if found:
        yield f"When an event arrives late, the service judges again: {'; '.join(found)}."
    else:
        yield "An event that arrives late changes nothing for other actions."


def _looks(rule: Rule, look: LookBack) -> str:
    """How far back the rule looks, and what that reads for each judged action."""
    declared = {one.name: one for one in rule.declared}

    def bounds(name: str) -> str:
        one = declared[name]
        unit = " s" if one.unit == "seconds" else ""
        return f"as shipped {_spelt(one, one.default, unit)}, at most {_spelt(one, one.most, unit)}"

    if isinstance(look, First):
        return (
            f"The user's first action, if it is no older than `{look.seconds}` ({bounds(look.seconds)}): it reads the "
            "first deposit and the first withdrawal."
        )
    kinds = _KINDS[look.of]
    if isinstance(look, Last):
        rows = "that many of each type" if look.of is None else "that many"
        return f"The user's last `{look.count}` {kinds} ({bounds(look.count)}), however long ago: it reads {rows}."
    sums = "([how](../decisions/running-sums.md))"
    if isinstance(look, SumsSoFar):
        return f"Count and sum of all {kinds} of the user so far: it reads the newest, however many there are {sums}."
    within = f"with `time` in [t - `{look.seconds}`, t] ({bounds(look.seconds)})"
    if isinstance(look, SumsWithin):
        return (
            f"Count and sum of the {kinds} {within}: it reads the oldest and the newest of them, however many lie "
            f"between {sums}."
        )
    assert isinstance(look, Within)
    return (
        f"All {kinds} {within}: it reads the oldest and the newest 100 of each type, however many there are "
        "([how](../decisions/one-crowded-window.md))."
    )


def _again(rule: Rule, reach: Reach) -> Iterator[str]:
    """Which of the actions after a late one this rule, as shipped, can judge differently."""
    kinds = _KINDS[rule.fires_on]
    if reach.endless:
        yield f"all {kinds} after it"
    if reach.count:
        yield f"the next {reach.count} {kinds}" if reach.count > 1 else f"the next {kinds[:-1]}"
    if reach.seconds:
        yield f"the {kinds} of the next {_length(reach.seconds, ' s')}"
    for kind, number in reach.until.items():
        yield f"if it is {_ONE_OF[kind]}, the {kinds} up to {kind} number {number} after it"
    if reach.after_first is not None:
        length = _length(reach.after_first, " s")
        yield f"if it is now the user's first action, the {kinds} up to {length} after the one that was first before"


def _example(rule: Rule) -> str:
    body: dict[str, object] = {
        "status": "active" if rule.code in DEFAULT_CODES else "shadow",
        "parameters": written_values(rule.defaults()),
    }
    if rule.declared:
        # What people would change first: the amount that is scaled by risk, else a number of actions.
        shown = sorted(rule.declared, key=lambda one: (not one.scaled, one.unit != "actions"))[0]
        body["by_risk"] = {"high": written_values({shown.name: _stricter(shown)})}
    body["note"] = "Watch high-risk users more closely."
    lines = ",\n ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in body.items())
    return f"```json\n{{{lines}}}\n```"


def _stricter(parameter: Parameter) -> Value:
    """A value below the default, within the bounds."""
    if isinstance(parameter.default, int):
        return max(int(parameter.least), parameter.default - 1)
    return max(parameter.least, (parameter.default / 4).quantize(CENT))


def _spelt(parameter: Parameter, value: Value, unit: str = "") -> str:
    return _length(int(value), unit) if parameter.unit == "seconds" else str(value)


def _length(seconds: int, unit: str = "") -> str:
    for name, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds and seconds % size == 0:
            count = seconds // size
            return f"{seconds}{unit} ({count} {name}{'s' if count > 1 else ''})"
    return f"{seconds}{unit}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def _text(*parts: str) -> str:
    """One page, made of `parts` with an empty line between them."""
    return "\n\n".join(part if part.startswith(("|", "```", "- ", "<!--")) else _wrapped(part) for part in parts) + "\n"


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    sys.exit(main())
