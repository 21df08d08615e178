"""psql on the service's database. If that is the embedded one, its server is started or joined.

Run by `make console`.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from sqlalchemy import make_url

from config_loader import SettingsError, load_settings
from database import embedded
from database.connecting import dsn


def main() -> int:
    """Run psql with the arguments of this program until it ends. Returns its status, as `run` does."""
    return run("psql", sys.argv[1:])


def run(program: str, arguments: Sequence[str]) -> int:
    """Run one of PostgreSQL's programs on the service's database until it ends.

    Returns its status, as a shell would; 1 if there is no database, 2 for bad settings.
    """
    with ExitStack() as stack:
        try:
            settings = load_settings()
            url = make_url(settings.database or stack.enter_context(embedded.use(settings.data_dir)))
        except (SettingsError, embedded.EmbeddedError) as error:
            print(error, file=sys.stderr)
            return 2 if isinstance(error, SettingsError) else 1
        # The password is passed in the environment: every user of the machine can read arguments.
        password = url.password or url.query.get("password")
        environment = os.environ | ({"PGPASSWORD": str(password)} if password else {})
        environment.pop("PGOPTIONS", None)  # which the service does not heed: it might lead to another schema
        address = dsn(url._replace(password=None).difference_update_query(["password"]))
        signal.signal(signal.SIGINT, lambda *_: None)  # left to psql: it stops a query, not psql
        command = [str(embedded.bin_dir() / program), f"--dbname={address}", *arguments]
        status = subprocess.run(command, env=environment).returncode
        return status if status >= 0 else 128 - status  # ended by a signal


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before psql has started
        sys.exit(128 + signal.SIGINT)
