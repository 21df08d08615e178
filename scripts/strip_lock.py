"""Make Pipfile.lock name no package index, so that it installs from whichever index a machine is set up for.

Run by `make lock` after `pipenv lock`; reads and rewrites Pipfile.lock in the current folder.
"""

import json
from pathlib import Path


def main() -> None:
    path = Path("Pipfile.lock")
    lock = json.loads(path.read_text())
    lock["_meta"]["sources"] = []
    for group in ("default", "develop"):
        for package in lock[group].values():
            package.pop("index", None)
    path.write_text(json.dumps(lock, indent=4, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
