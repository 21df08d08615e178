"""The summary of a replay: what it counts, and when it says that it could not."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from commands import replay_tally
from commands.replay_tally import Tally
from database.replayed import AlertsOfCode


def test_a_count_that_fails_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that goes away in the middle leaves no part of a count; the next one has all of it."""
    monkeypatch.setattr(replay_tally, "_AT_ONCE", 1)
    tally, answers = Tally(), [[AlertsOfCode(30, 1, 1, 0, 0)], ConnectionError()]

    def run(_: object) -> Any:
        answer = answers.pop(0) if answers else [AlertsOfCode(30, 2, 0, 0, 0)]
        if isinstance(answer, Exception):
            raise answer
        return answer

    service = cast(Any, SimpleNamespace(run=run))
    tally.actions.add(1, 1)
    tally.actions.add(2, 1)
    with pytest.raises(ConnectionError):
        tally.count(service)
    assert ("not counted" in tally.summary(), tally.alerts, tally.others) == (True, {}, {})
    tally.count(service)
    tally.count(service)  # what is counted is not counted again
    assert ("not counted" in tally.summary(), tally.alerts, tally.others["late"]) == (False, {30: 4}, 0)
