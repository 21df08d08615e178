"""The text of evidence, which is put together by hand: byte for byte what the json module writes."""

import json

from hypothesis import given
from hypothesis import strategies as st

from rules.base import RuleInForce, RuleSetting
from rules.judging.evidence import evidence_of, written_evidence
from rules.model import RISKS, Finding
from rules.registry import REGISTRY

RULES = [
    RuleInForce(RuleSetting.initial(rule), risk=risk, overrides={}) for rule in REGISTRY.values() for risk in RISKS
]
MEASURED = st.integers() | st.decimals(places=2, allow_nan=False, allow_infinity=False)
FINDINGS = st.builds(
    Finding, MEASURED, st.lists(st.integers(1, 2**63), max_size=3).map(tuple), st.text(), st.integers(0, 10**6)
)


@given(st.sampled_from(RULES), st.lists(FINDINGS, min_size=2, max_size=2))
def test_evidence_as_text(rule: RuleInForce, findings: list[Finding]) -> None:
    """Whatever was found, of whatever rule, the first time and later."""
    for finding in findings:
        assert written_evidence(rule, finding) == json.dumps(evidence_of(rule, finding))
