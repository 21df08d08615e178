"""The engines of one process: what has to go on whatever else is under way has connections of its own."""

from dataclasses import dataclass

from sqlalchemy import Engine

from database.session import make_engine, make_read_engine

# Seconds. The longest that a batch of many users waits for one of them: in the shared lane and in the patient one. Less
# than a statement may take in all, or its end would not say that it waited for a user.
SHARED_WAIT, PATIENT_WAIT = 0.25, 1.0
# The longest that a statement of a large repair may take.
REPAIR_SECONDS = 60.0
CHANGE_SECONDS = 5.0  # the longest that a change of a rule may wait, if others may not wait for as long
# Connections: for the shared batch and to find out who holds it up; for the patient one; for large repairs; and for
# changes of rules, which one process makes together.
SHARED, PATIENT, REPAIRS, CHANGES = 2, 1, 3, 1
FEW = SHARED + PATIENT + REPAIRS + CHANGES


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
    replica: Engine | None
    timeout: float

    @property
    def all(self) -> tuple[Engine, ...]:
        """All of them."""
        primary = self.main, self.shared, self.patient, self.repairs, self.changes, self.reads
        return primary if self.replica is None else (*primary, self.replica)


def make_engines(
    url: str,
    *,
    timeout: float,
    connections: int,
    read_timeout: float,
    read_connections: int,
    replica_url: str | None = None,
) -> Engines:
    """Engines on the PostgreSQL at `url`, and on its replica; `connections` are those of the main one.

    The others have few.
    """
    replica = None
    if replica_url is not None:
        replica = make_read_engine(replica_url, timeout=read_timeout, connections=read_connections)
    return Engines(
        main=make_engine(url, timeout=timeout, connections=connections),
        shared=make_engine(url, timeout=timeout, connections=SHARED, lock=min(timeout / 4, SHARED_WAIT)),
        patient=make_engine(url, timeout=timeout, connections=PATIENT, lock=min(timeout / 2, PATIENT_WAIT)),
        repairs=make_engine(url, timeout=REPAIR_SECONDS, connections=REPAIRS, lock=timeout),
        # It pauses within its transaction, so a short DB_TIMEOUT is not for it.
        changes=make_engine(url, timeout=max(timeout, CHANGE_SECONDS), connections=CHANGES),
        reads=make_read_engine(url, timeout=read_timeout, connections=read_connections),
        replica=replica,
        timeout=timeout,
    )
