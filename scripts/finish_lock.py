"""Finish what `pipenv lock` wrote: take the package indexes out of Pipfile.lock, and write the requirements files.

Run by `make lock`, with pipenv's own Python; reads and rewrites files in the current folder. Packages then install from
whichever index a machine is set up for, with pip alone.
"""

import json
import os
from pathlib import Path
from typing import Any

# Pipenv before 2026.7 ends with a TypeError where a lock names no index: whoever looks into it finds this on top.
NOTE = "Needs pipenv 2026.7 or newer. Without it: pip install --require-hashes -r requirements.txt"


# The groups of the lock, and the file of each.
GROUPS = {"default": "requirements.txt", "develop": "requirements-dev.txt", "spark": "requirements-spark.txt"}


def main() -> None:
    path = Path("Pipfile.lock")
    lock = json.loads(path.read_text())
    lock["_meta"]["note"] = NOTE
    lock["_meta"]["sources"] = []
    # pipenv includes the machine's indexes in the hash of the Pipfile: take them out again.
    lock["_meta"]["hash"]["sha256"] = plain_hash()
    for group in GROUPS:
        for package in lock[group].values():
            package.pop("index", None)
    path.write_text(json.dumps(lock, indent=4, sort_keys=True) + "\n")
    for name, text in requirements(lock).items():
        Path(name).write_text(text)


def requirements(lock: dict[str, Any]) -> dict[str, str]:
    """The requirements files that follow from a Pipfile.lock, as their texts by name.

    All but the first have only what that has not: they are meant to be installed together with it.
    """
    head = "# Written by `make lock` from Pipfile.lock: change Pipfile, not this.\n"
    written = {}
    for group, name in GROUPS.items():
        own = {one: what for one, what in lock[group].items() if group == "default" or one not in lock["default"]}
        written[name] = head + "".join(_requirement(*item) for item in sorted(own.items()))
    return written


def _requirement(name: str, package: dict[str, Any]) -> str:
    extras = f"[{','.join(package['extras'])}]" if "extras" in package else ""
    markers = f" ; {package['markers']}" if "markers" in package else ""
    lines = [f"{name}{extras}{package['version']}{markers}", *(f"--hash={value}" for value in package["hashes"])]
    return " \\\n    ".join(lines) + "\n"


def plain_hash() -> str:
    """The hash of the Pipfile as pipenv computes it on a machine where pip is not configured."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "PIPENV_"))]:
        del os.environ[name]
    os.environ["PIP_CONFIG_FILE"] = os.devnull
    from pipenv.project import Project  # reads the configuration when imported

    return str(Project(chdir=False).pipfile.calculate_hash())


if __name__ == "__main__":
    main()
