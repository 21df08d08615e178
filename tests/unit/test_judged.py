"""The answer to many events, which is written by hand: byte for byte what the json module writes."""

import json
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from routes.http import judged
from routes.http.decisions import decision_of, problem_of
from routes.http.problems import Problem
from rules.model import Refusal, Verdict
from rules.payload import FieldProblem
from rules.registry import REGISTRY
from rules.values import MAX_ID

VERDICTS = st.builds(
    Verdict,
    st.integers(1, MAX_ID),
    st.lists(st.sampled_from([*REGISTRY]), max_size=4, unique=True).map(tuple),
    st.booleans(),
)
PROBLEMS = st.builds(Problem, st.sampled_from([400, 413]), st.text(), errors=st.just([FieldProblem("/a", 'é"\\')]))
REFUSED = st.builds(Refusal, st.just("overdraft"), st.text()).map(problem_of)


def shown(result: Verdict | Problem) -> dict[str, Any]:
    """What is answered for one event."""
    if isinstance(result, Problem):
        return {"problem": result.document()}
    return decision_of(result) | ({"replayed": True} if result.replayed else {})


@given(st.lists(VERDICTS | PROBLEMS | REFUSED, max_size=5))
def test_the_answer_to_many_events(results: list[Verdict | Problem]) -> None:
    """Its counts and each result, with the members in the same order and no white space."""
    with patch.object(judged, "_results", lambda *_: results):
        answer = judged.events_answer([], atomic=False)
    rejected = sum(isinstance(result, Problem) for result in results)
    each = [{"index": index} | shown(result) for index, result in enumerate(results)]
    expected = {"accepted": len(results) - rejected, "rejected": rejected, "results": each}
    assert answer.body == (json.dumps(expected, separators=(",", ":")) + "\n").encode()
