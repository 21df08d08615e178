"""The replica to read from, as the service starts."""

from commands import start_messages
from database import connecting, replica


def check(url: str, replica_url: str | None) -> None:
    """Say where lists come from, if there is a replica of the database at `url`.

    Raises NotAReplica if what is there is none. If nothing answers there, that is said too: it may pass.
    """
    if replica_url is None:
        return
    start_messages.step(f"Lists and backtests come from the replica {connecting.place_of(replica_url)}")
    if (trouble := replica.check(url, replica_url)) is not None:
        start_messages.step(f"Not yet: {trouble}. Until it follows, they come from the primary")
