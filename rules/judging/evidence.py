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
    """The same as JSON text."""
    return json.dumps(evidence_of(rule, finding))
