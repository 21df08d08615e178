"""Plans that are kept: whatever the tables were like when they were made, actions are found by an index."""

import pytest
from sqlalchemy import text

from database.judging import COUNT_AND_LOCK
from database.prepared import Prepared, prepare_anew, run_directly
from tests.postgres import Sessions, engine_on, transaction

READS = [each for each in COUNT_AND_LOCK.all if each.name.startswith("read_")]


@pytest.mark.parametrize("read", READS, ids=lambda read: read.name)
def test_a_plan_from_when_there_was_nothing(read: Prepared, sessions: Sessions, database_url: str) -> None:
    """A table that was analysed while it was nearly empty is not scanned for ever."""
    with transaction(sessions) as session:
        session.execute(text("INSERT INTO users (user_id) SELECT generate_series(1, 5)"))
    with transaction(sessions) as session:
        session.execute(text("ANALYZE"))
    with engine_on(database_url, connections=1) as engine, engine.connect() as connection:
        run_directly(connection, prepare_anew(COUNT_AND_LOCK), {})
        count = f"SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = '{read.name}'"
        ((parameters,),) = run_directly(connection, count, {})
        nothing = ", ".join(["'{}'"] * parameters)
        found = run_directly(connection, f"EXPLAIN EXECUTE {read.name} ({nothing})", {})
        plan = "\n".join(line for (line,) in found)
        assert "user_actions" in plan
        assert "Seq Scan on user_actions" not in plan
        assert "Seq Scan on users" not in plan
