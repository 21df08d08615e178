"""The engines of one process: what has to go on whatever else is under way has connections of its own."""

from dataclasses import dataclass

from sqlalchemy import Engine

from database.session import make_engine, make_read_engine

# Seconds. The longest that a batch of many users waits for one of them: in the shared lane and in the patient one.
SHARED_WAIT, PATIENT_WAIT = 0.25, 1.0
# The longest that a statement of a large repair may take.
REPAIR_SECONDS = 60.0
REPAIRS = 3  # large repairs at once


@dataclass(frozen=True, kw_only=True)
class Engines:
    """`main` is for all that has no other: `shared` and `patient` are for the lanes of these names, `repairs` for large
    repairs, `changes` for changes of rules, `reads` for what is read over HTTP. Each waits for `timeout` seconds at
    most, large repairs for REPAIR_SECONDS, reads for a time of their own.
    """

    main: Engine
    shared: Engine
    patient: Engine
    repairs: Engine
    changes: Engine
    reads: Engine
    timeout: float

    @property
    def all(self) -> tuple[Engine, ...]:
        """All of them."""
        return self.main, self.shared, self.patient, self.repairs, self.changes, self.reads


def make_engines(url: str, *, timeout: float, connections: int, read_timeout: float, read_connections: int) -> Engines:
    """Engines on the PostgreSQL at `url`; `connections` are those of the main one, the others have few."""
    return Engines(
        main=make_engine(url, timeout=timeout, connections=connections),
        # One for the batch, one to find out who held it up.
        shared=make_engine(url, timeout=timeout, connections=2, lock=min(timeout, SHARED_WAIT)),
        patient=make_engine(url, timeout=timeout, connections=1, lock=min(timeout, PATIENT_WAIT)),
        repairs=make_engine(url, timeout=REPAIR_SECONDS, connections=REPAIRS, lock=timeout),
        changes=make_engine(url, timeout=timeout, connections=1),  # changes of one process are made together
        reads=make_read_engine(url, timeout=read_timeout, connections=read_connections),
        timeout=timeout,
    )
