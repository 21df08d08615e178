"""Remove package indexes from Pipfile.lock, so that it installs from whichever index a machine is set up for.

Run by `make lock` after `pipenv lock`, with pipenv's own Python; reads and rewrites Pipfile.lock in the current folder.
"""

import json
import os
from pathlib import Path


def main() -> None:
    path = Path("Pipfile.lock")
    lock = json.loads(path.read_text())
    lock["_meta"]["sources"] = []
    # pipenv includes the machine's indexes in the hash of the Pipfile: take them out again.
    lock["_meta"]["hash"]["sha256"] = plain_hash()
    for group in ("default", "develop"):
        for package in lock[group].values():
            package.pop("index", None)
    path.write_text(json.dumps(lock, indent=4, sort_keys=True) + "\n")


def plain_hash() -> str:
    """The hash of the Pipfile as pipenv computes it on a machine where pip is not configured."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "PIPENV_"))]:
        del os.environ[name]
    os.environ["PIP_CONFIG_FILE"] = os.devnull
    from pipenv.project import Project  # reads the configuration when imported

    return str(Project(chdir=False).pipfile.calculate_hash())


if __name__ == "__main__":
    main()
