"""Check what migrations would do to a live database: run squawk on their SQL; one subcommand per ALTER TABLE.

Run by `make lint`. Prints what is wrong and exits with status 1, or else with 0. No database is needed.
"""

import json
import re
import subprocess
import sys
import sysconfig
from io import StringIO
from pathlib import Path

from alembic.config import Config
from alembic.script import Script, ScriptDirectory

from database import distribution, migrations

RELEASED = "released before migrations were checked"
# By revision, with the reason.
EXCLUDED = {
    "0001": RELEASED,
    "0002": RELEASED,
    "0003": f"{RELEASED}; it reads what it migrates, so its SQL cannot be written out",
    "0004": RELEASED,
}
# The oldest PostgreSQL that the service runs on.
PG_VERSION = "15.0"
SQUAWK = Path(sysconfig.get_path("scripts"), "squawk")

IGNORED = re.compile(r"^\s*# squawk-ignore ([a-z-]+): \S", re.MULTILINE)
# These may contain commas and semicolons that separate nothing: comments, quoted text and names, brackets.
QUOTED = re.compile(r"""--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'|"[^"]*\"""", re.DOTALL)
BRACKETS = re.compile(r"\([^()\[\]]*\)|\[[^()\[\]]*\]")
OF_USERS = re.compile(rf"\b(TABLE|ON)\s+(ONLY\s+)?({'|'.join(distribution.TABLES)})\b", re.IGNORECASE)
IDENTITY = re.compile(r"\bAS\s+IDENTITY\b|\bSERIAL\b|\bBIGSERIAL\b", re.IGNORECASE)
UNIQUE = re.compile(r"\bUNIQUE\b[^(]*\(([^)]*)\)", re.IGNORECASE)
ALTER_TABLE = re.compile(r"\s*ALTER\s+TABLE\b[^,]*,", re.IGNORECASE)


def check(configuration: Config) -> list[str]:
    """What is wrong with the migrations of `configuration`, oldest first; those in EXCLUDED are skipped."""
    scripts = ScriptDirectory.from_config(configuration).walk_revisions()
    wanted = [script for script in scripts if script.revision not in EXCLUDED]
    return [fault for script in reversed(wanted) for fault in check_one(configuration, script)]


def check_one(configuration: Config, script: Script) -> list[str]:
    """What is wrong with one migration of `configuration`, whether it is in EXCLUDED or not."""
    name = Path(script.path).name
    try:
        sql = render(configuration, script)
    except Exception as error:  # a migration that reads the database, which is not there, may raise anything
        return [f"{name}: cannot be written as SQL without a database ({error!r}); see docs/migrations.md"]
    faults = [("one-subcommand", "One subcommand per ALTER TABLE.", statement) for statement in crowded(sql)]
    faults += [
        ("one-server", "Citus cannot do this to a table of users: docs/migrations.md.", one) for one in bound(sql)
    ]
    faults += squawk(name, sql)
    ignored = set(IGNORED.findall(Path(script.path).read_text()))
    needless = sorted(ignored - {rule for rule, _, _ in faults})
    return [f"{name}: {rule}: {what}\n    {line}" for rule, what, line in faults if rule not in ignored] + [
        f"{name}: `# squawk-ignore {rule}` is not needed" for rule in needless
    ]


def render(configuration: Config, script: Script) -> str:
    """The SQL that the migration runs, as `alembic upgrade --sql` prints it. Raises whatever the migration raises."""
    buffer = StringIO()
    migrations.render(configuration, script, buffer)
    return buffer.getvalue()


def crowded(sql: str) -> list[str]:
    """Each ALTER TABLE in `sql` with more than one subcommand, stripped of comments, brackets and quotes."""
    sql = QUOTED.sub(" ", sql)
    before = ""
    while sql != before:
        before, sql = sql, BRACKETS.sub("", sql)
    return [" ".join(statement.split()) for statement in sql.split(";") if ALTER_TABLE.match(statement)]


def bound(sql: str) -> list[str]:
    """Each statement in `sql` that would bind a table of what belongs to users to one server."""
    statements = [" ".join(QUOTED.sub(" ", statement).split()) for statement in sql.split(";")]
    return [one for one in statements if OF_USERS.search(one) and (IDENTITY.search(one) or _is_unique_of_all(one))]


def _is_unique_of_all(statement: str) -> bool:
    unique = UNIQUE.search(statement)
    return unique is not None and "user_id" not in unique[1]


def squawk(name: str, sql: str) -> list[tuple[str, str, str]]:
    """squawk's findings in `sql`, each as its rule, its message and the line it is about."""
    program = [str(SQUAWK), f"--pg-version={PG_VERSION}", "--reporter=json", f"--stdin-filepath={name}"]
    ran = subprocess.run(program, cwd=migrations.ROOT, input=sql, capture_output=True, text=True)
    if ran.returncode not in (0, 1):
        sys.exit(f"squawk failed on {name}: {ran.stderr}")
    lines = sql.splitlines()
    return [
        (found["rule_name"], " ".join(filter(None, (found["message"], found["help"]))), lines[found["line"]].strip())
        for found in json.loads(ran.stdout)
    ]


def main() -> None:
    faults = check(migrations.config())
    print(*faults, sep="\n", end="\n" if faults else "")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
