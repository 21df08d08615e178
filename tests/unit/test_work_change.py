"""What a change of work makes of an alert, and its history: any sequence of changes, without a database."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from access.key_terms import RESERVED
from database.alert_filters import NOBODY
from work.change import NEW, SERVICE, HistoryLine, Outcome, Status, WorkState, changed, faults, lines, written

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
MOMENTS = st.none() | st.integers(-2, 5).map(lambda hours: NOW + timedelta(hours=hours))
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(get_args(Status)),
        "outcome": st.sampled_from(get_args(Outcome)),
        "assignee": st.none() | st.sampled_from(["Ada", "Grace"]),
        "snoozed_until": MOMENTS,
    },
)
NOTES = st.none() | st.just("why")


def worked(steps: list[tuple[dict[str, Any], str | None]]) -> tuple[WorkState, list[HistoryLine]]:
    """What a new alert has become after these changes and notes, except those that do not fit; and its history."""
    state, history = NEW, list[HistoryLine]()
    for wanted, note in steps:
        if not faults(state, wanted, NOW):
            after = changed(state, wanted)
            history += lines(len(history), state, after, who="Ada", note=note)
            state = after
    return state, history


@given(st.lists(st.tuples(CHANGES, NOTES), max_size=12))
def test_the_history_leads_to_the_state(steps: list[tuple[dict[str, Any], str | None]]) -> None:
    """Replayed from a new alert on, each line begins where the last one of its field ended; `n` has no gaps."""
    state, history = worked(steps)
    assert [line.n for line in history] == list(range(1, len(history) + 1))
    replayed = {field: written(value) for field, value in NEW._asdict().items()}
    for line in history:
        if line.what == "note":
            assert (line.before, line.after, line.note) == (None, None, "why")
        else:
            assert replayed[line.what] == line.before != line.after
            replayed[line.what] = line.after
    assert replayed == {field: written(value) for field, value in state._asdict().items()}


@given(st.lists(st.tuples(CHANGES, NOTES), max_size=12))
def test_what_holds_of_every_state(steps: list[tuple[dict[str, Any], str | None]]) -> None:
    """Closed alerts have an outcome and no snooze, and others have no outcome: the tables insist on it too."""
    state, _ = worked(steps)
    assert (state.status == "closed") == (state.outcome is not None)
    assert state.status != "closed" or state.snoozed_until is None


@given(st.lists(st.tuples(CHANGES, NOTES), max_size=5), CHANGES, NOTES)
def test_a_change_made_twice(
    steps: list[tuple[dict[str, Any], str | None]], wanted: dict[str, Any], note: str | None
) -> None:
    """The second time nothing changes; what is left out stays as it is, but for what closing and opening take away."""
    before, _ = worked(steps)
    if faults(before, wanted, NOW):
        return
    after = changed(before, wanted)
    assert all(getattr(after, field) == value for field, value in wanted.items())
    kept = set(WorkState._fields) - wanted.keys() - {"outcome", "snoozed_until"}
    assert all(getattr(after, field) == getattr(before, field) for field in kept)
    assert lines(7, after, changed(after, wanted), who="Ada", note=None) == []
    noted = lines(7, before, after, who="Ada", note=note)
    assert [line.note for line in noted if line.note] == ([note] if note else [])


def test_what_does_not_fit() -> None:
    """Each fault is named by its field."""
    closed = NEW._replace(status="closed", outcome="inconclusive")
    assert faults(NEW, {"status": "closed"}, NOW).keys() == {"outcome"}
    assert faults(closed, {"status": "open", "outcome": "inconclusive"}, NOW).keys() == {"outcome"}
    assert faults(closed, {"snoozed_until": NOW + timedelta(1)}, NOW).keys() == {"snoozed_until"}
    assert faults(NEW, {"snoozed_until": NOW}, NOW).keys() == {"snoozed_until"}
    assert faults(closed, {"status": "closed", "snoozed_until": None}, NOW) == {}


def test_no_key_has_a_name_that_says_something_else() -> None:
    """Neither the one who does what nobody asked for, nor the assignee of alerts that nobody has."""
    assert {SERVICE, NOBODY} <= set(RESERVED)
