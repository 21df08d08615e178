"""A dry run is what judging would be, and leaves no trace: random histories, settings and policies."""

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from rules.judging.engine import RuleEngine
from rules.model import Event, Refusal, Verdict
from rules.policy import Policy
from rules.registry import REGISTRY
from tests.integration.test_engine import rows
from tests.integration.test_hindsight import (
    ORIGINS,
    Live,
    Posted,
    RuleSet,
    all_rules,
    forget_rules,
    happening,
    posted,
    short_stretches,  # noqa: F401 (used by pytest)
)

Sessions = sessionmaker[Session]

_TABLES = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
_SEQUENCES = text("SELECT sequencename, last_value FROM pg_sequences ORDER BY 1")


def everything(sessions: Sessions) -> list[Any]:
    """Every row of every table, where it lies, which transactions made and locked it; and every sequence."""
    with sessions() as session:
        tables = session.scalars(_TABLES).all()
        assert len(tables) > 5
        found: list[Any] = [tuple(row) for row in session.execute(_SEQUENCES)]
        for table in tables:
            whole = text(f"SELECT '{table}', t.ctid::text, t.xmin::text, t.xmax::text, t::text FROM {table} AS t")
            found += sorted(tuple(row) for row in session.execute(whole))
        return found


def stored_evidence(sessions: Sessions, user_id: int, seq: int) -> dict[int, dict[str, Any]]:
    """The evidence of the alerts of an action by code."""
    own = "SELECT code, evidence FROM alerts WHERE user_id = :user AND seq = :seq"
    return dict(rows(sessions, own, user=user_id, seq=seq))


policies = st.fixed_dictionaries(
    {
        "create_users": st.booleans(),
        "allow_overdraft": st.booleans(),
        "accept_out_of_order": st.sampled_from([True, True, False]),
        "late_limit": st.sampled_from([200_000, 0, 2]),
        "max_ahead": st.sampled_from([None, None, 20]),
    }
)


@settings(max_examples=30)
@given(rules=all_rules(), steps=happening, more=st.lists(posted(), max_size=3), policy=policies, origin=ORIGINS)
def test_it_is_what_judging_then_makes_of_the_event(
    sessions: Sessions, rules: list[RuleSet], steps: list[Any], more: list[Posted], policy: dict[str, Any], origin: int
) -> None:
    """Whatever has happened, dry and then in earnest the outcome and the evidence are the same, refusals too.

    Between the two, no table, row, row lock or sequence is another.
    """
    forget_rules(sessions)
    live = Live(sessions)
    live.set_rules(rules)
    live.do(steps, origin)
    engine = RuleEngine(Policy(tuple(REGISTRY.values()), **policy), clock=lambda: origin + 100)
    for event in [event for one in more for event in one.events]:
        event = event._replace(user_id=live.first + event.user_id, time=origin + event.time)
        before = everything(sessions)
        with sessions() as session:
            dry = engine.dry_run(session, event)
        assert everything(sessions) == before
        with sessions() as session:
            assert dry.outcome == engine.process(session, [event])[0]
        if isinstance(dry.outcome, Verdict) and not dry.outcome.replayed:
            seq = rows(sessions, "SELECT last_seq FROM users WHERE user_id = :user", user=event.user_id)[0][0]
            assert dry.evidence == stored_evidence(sessions, event.user_id, seq)
        assert isinstance(dry.outcome, Refusal) or set(dry.evidence) >= set(dry.outcome.codes)


def test_before_anything_is_stored(sessions: Sessions) -> None:
    """On an empty database it judges by the rules that would be stored first, and stores not even those."""
    event = Event(1, "withdraw", Decimal("150.00"), 10)
    engine = RuleEngine(Policy(tuple(REGISTRY[code] for code in (1100, 30))))
    before = everything(sessions)
    with sessions() as session:
        dry = engine.dry_run(session, event)
        assert dry == engine.dry_run(session, event)
    assert everything(sessions) == before
    with sessions() as session:
        assert engine.process(session, [event]) == [dry.outcome] == [Verdict(event.user_id, (1100,))]
    assert stored_evidence(sessions, event.user_id, 1) == dry.evidence


def test_a_replay_shows_what_was_stored(sessions: Sessions) -> None:
    """For an event_id that is there it has the first answer and its stored evidence, whatever the rules are by now."""
    forget_rules(sessions)
    live = Live(sessions, (1100,))
    event = Event(live.first + 1, "withdraw", Decimal("150.00"), 10, "a")
    live.post([event])
    stored = stored_evidence(sessions, event.user_id, 1)
    live.set_rules([RuleSet(1100, "off", REGISTRY[1100].defaults(), {})])
    with sessions() as session:
        assert live.engine.dry_run(session, event) == (Verdict(event.user_id, (1100,), replayed=True), stored)
        other = live.engine.dry_run(session, event._replace(time=11))
    assert isinstance(other.outcome, Refusal)
    assert other.outcome.reason == "event_id_conflict"
