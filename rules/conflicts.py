"""Values of parameters that are good by themselves, but not together: the rule could never fire, or makes no sense.

Looked for when somebody sets them, in what would then be in force: a user's overrides over the values for a rating over
the rule's own, as the rating scales them.
"""

from collections.abc import Collection, Iterator, Mapping

from rules.base import Rule, RuleInForce, RuleSetting
from rules.model import RISKS, Risk, Value

Path = tuple[str, ...]  # of a member in a request


def conflicts(rule: Rule, values: Mapping[str, Value], named: Collection[str]) -> Iterator[tuple[str, str]]:
    """Of the parameters `named`, those whose value cannot be with those of others; each with the end of a sentence."""
    for order in rule.in_order:
        lower, upper = order.lower, order.upper
        if order.holds(values):
            continue
        if lower in named:
            yield lower, f"must be {'at most' if order.or_equal else 'less than'} {upper}, which is {values[upper]}"
        elif upper in named:
            yield upper, f"must be {'at least' if order.or_equal else 'more than'} {lower}, which is {values[lower]}"


def setting_conflicts(
    setting: RuleSetting, parameters: Collection[str], by_risk: Mapping[str, Collection[str]]
) -> dict[Path, str]:
    """What is wrong with `setting` at any rating, by the path of the member that says so.

    Those named in `parameters` and in `by_risk` were set or taken away just now; others are nobody's fault now.
    """
    found: dict[Path, str] = {}
    for risk in RISKS:
        own = by_risk.get(risk, ())
        for name, sentence in conflicts(setting.rule, _values(setting, risk, {}), {*parameters, *own}):
            found.setdefault(("by_risk", risk, name) if name in own else ("parameters", name), sentence)
    return found


def override_conflicts(setting: RuleSetting, risk: Risk, own: Mapping[str, Value]) -> dict[str, str]:
    """What is wrong with a user's own values of a rule's parameters, by parameter."""
    return dict(conflicts(setting.rule, _values(setting, risk, own), own))


def _values(setting: RuleSetting, risk: Risk, own: Mapping[str, Value]) -> Mapping[str, Value]:
    return RuleInForce(setting, risk=risk, overrides=own).values
