"""Why an alert was raised, in the form in which it is stored and shown."""

import json
from decimal import Decimal
from typing import Any

from rules.base import RuleInForce
from rules.model import Finding
from rules.parameters import written_values


def evidence_of(rule: RuleInForce, finding: Finding) -> dict[str, Any]:
    """The evidence for an alert as plain JSON data: see the contract, "Alerts"."""
    measured = finding.measured
    evidence: dict[str, Any] = {
        "rule_version": rule.version,
        # Money is written as text with two decimals: as a number it would be read as a float.
        "measured": str(measured) if isinstance(measured, Decimal) else measured,
        "parameters": written_values(rule.values),
        "origin": rule.origin,
        "actions": list(finding.actions),
        "sentence": finding.sentence,
    }
    if finding.unlisted:
        evidence["actions_unlisted"] = finding.unlisted
    return evidence


def written_evidence(rule: RuleInForce, finding: Finding) -> str:
    """The same as JSON text, as `json.dumps` writes it: a batch can raise thousands of alerts."""
    if rule.written is None:
        rule.written = _members({"parameters": written_values(rule.values), "origin": rule.origin})
    measured = finding.measured
    shown = f'"{measured}"' if isinstance(measured, Decimal) else str(measured)
    unlisted = f', "actions_unlisted": {finding.unlisted}' if finding.unlisted else ""
    return (
        f'{{"rule_version": {rule.version}, "measured": {shown}, {rule.written}, "actions": {[*finding.actions]}, '
        f'"sentence": {json.dumps(finding.sentence)}{unlisted}}}'
    )


def _members(data: dict[str, Any]) -> str:
    return json.dumps(data)[1:-1]
