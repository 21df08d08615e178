"""What `make lint` says of migrations, good and bad ones, and what a new migration starts from."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from database import migrations
from scripts import lint_migrations
from tests.migrations import add, config_with, documented, following
from tests.service import ROOT


def faults(folder: Path, body: str) -> list[str]:
    """The faults of a migration with `body` as its upgrade."""
    revision = add(folder, body)
    configuration = config_with(folder)
    script = ScriptDirectory.from_config(configuration).get_revision(revision)
    return lint_migrations.check_one(configuration, script)


def test_the_projects_own_migrations_are_clean() -> None:
    """`make lint` finds nothing, and ends with status 0."""
    lint = subprocess.run([sys.executable, "-m", "scripts.lint_migrations"], cwd=ROOT, capture_output=True, text=True)
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", "")
    assert "scripts.lint_migrations" in (ROOT / "Makefile").read_text().split("\nlint:")[1].split("\n\n")[0]


def test_faults_end_with_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If there are faults they are printed."""
    add(tmp_path, 'op.execute("CREATE INDEX ix_users_name ON users (name)")')
    configuration = config_with(tmp_path)
    monkeypatch.setattr(migrations, "config", lambda: configuration)
    with pytest.raises(SystemExit) as ended:
        lint_migrations.main()
    assert ended.value.code == 1
    assert "require-concurrent-index-creation" in capsys.readouterr().out


def test_what_is_excluded_exists_and_has_a_reason() -> None:
    """Only released migrations are left out, by name."""
    known = {script.revision for script in ScriptDirectory.from_config(migrations.config()).walk_revisions()}
    assert set(lint_migrations.EXCLUDED) <= known
    assert all(lint_migrations.EXCLUDED.values())


@pytest.mark.parametrize(
    ("body", "rule", "line"),
    [
        (
            'op.add_column("users", sa.Column("country", sa.Text, nullable=False))',
            "adding-required-field",
            "ALTER TABLE users ADD COLUMN country TEXT NOT NULL;",
        ),
        (
            'op.add_column("users", sa.Column("country", sa.Uuid, server_default=sa.text("gen_random_uuid()")))',
            "adding-field-with-default",
            "ALTER TABLE users ADD COLUMN country UUID DEFAULT gen_random_uuid();",
        ),
        (
            'op.create_index("ix_users_name", "users", ["name"])',
            "require-concurrent-index-creation",
            "CREATE INDEX ix_users_name ON users (name);",
        ),
        (
            'op.create_index("ix_users_name", "users", ["name"], if_not_exists=True, postgresql_concurrently=True)',
            "ban-concurrent-index-creation-in-transaction",
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_users_name ON users (name);",
        ),
        (
            'op.create_check_constraint(op.f("ck_users_named"), "users", "name IS NOT NULL")',
            "constraint-missing-not-valid",
            "ALTER TABLE users ADD CONSTRAINT ck_users_named CHECK (name IS NOT NULL);",
        ),
        (
            'op.alter_column("users", "name", type_=sa.LargeBinary)',
            "changing-column-type",
            "ALTER TABLE users ALTER COLUMN name TYPE BYTEA;",
        ),
        (
            'op.alter_column("users", "name", nullable=False)',
            "adding-not-nullable-field",
            "ALTER TABLE users ALTER COLUMN name SET NOT NULL;",
        ),
        ('op.drop_column("users", "name")', "ban-drop-column", "ALTER TABLE users DROP COLUMN name;"),
        ('op.drop_table("alerts")', "ban-drop-table", "DROP TABLE alerts;"),
        (
            'op.alter_column("users", "name", new_column_name="label")',
            "renaming-column",
            "ALTER TABLE users RENAME name TO label;",
        ),
        (
            'op.execute("ALTER TABLE users ADD COLUMN country TEXT, ADD COLUMN city TEXT")',
            "one-subcommand",
            "ALTER TABLE users ADD COLUMN country TEXT, ADD COLUMN city TEXT",
        ),
    ],
)
def test_a_bad_migration_is_found(tmp_path: Path, body: str, rule: str, line: str) -> None:
    """Each rule of the template that a machine can check, with the line that breaks it."""
    (fault,) = faults(tmp_path, body)
    head, quoted = fault.split("\n    ")
    assert head.startswith(f"{following()}_of_a_test.py: {rule}: ")
    assert quoted == line


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE UNIQUE INDEX CONCURRENTLY ix_users_name ON users (name)",
        "ALTER TABLE alerts ADD CONSTRAINT uq_alerts_time UNIQUE (time, code)",
        "ALTER TABLE user_actions ADD COLUMN id BIGINT GENERATED ALWAYS AS IDENTITY",
    ],
)
def test_what_binds_users_to_one_server_is_found(statement: str) -> None:
    """Keys that are unique over all users, and numbers given out over all of them, which others may have."""
    assert lint_migrations.bound(f"BEGIN; {statement}; COMMIT;") == [statement]
    others = ("CREATE UNIQUE INDEX ix_users_name ON users (user_id, name)", "CREATE UNIQUE INDEX ix_keys_n ON keys (n)")
    assert lint_migrations.bound("; ".join(others)) == []


@pytest.mark.parametrize(
    "body",
    [
        'op.add_column("users", sa.Column("country", sa.Text, server_default="a, b", nullable=False))',
        'op.create_table("keys", sa.Column("n", sa.BigInteger)), op.create_index("ix_keys_n", "keys", ["n"])',
        'op.execute("ALTER TABLE users ADD COLUMN share numeric(10, 2) DEFAULT 0 /* one, two */")',
        "op.execute(\"ALTER TABLE users ADD CHECK (name <> ALL (ARRAY['a, b', $$;, $$])) NOT VALID\")",
    ],
)
def test_a_good_migration_passes(tmp_path: Path, body: str) -> None:
    """Commas in brackets, text and comments do not make two subcommands."""
    assert faults(tmp_path, body) == []


def test_the_documented_examples_pass(tmp_path: Path) -> None:
    """What docs/migrations.md shows passes the check."""
    for body in documented():
        add(tmp_path, body)
    assert len(list(tmp_path.glob("*.py"))) == 7
    assert lint_migrations.check(config_with(tmp_path)) == []


def test_a_finding_is_ignored_for_a_reason_alone(tmp_path: Path) -> None:
    """Without one it remains, and so do the findings of other rules."""
    add(tmp_path, '# squawk-ignore ban-drop-column: unused since 1.4\nop.drop_column("users", "name")')
    assert lint_migrations.check(config_with(tmp_path)) == []
    (unexplained,) = faults(tmp_path, '# squawk-ignore ban-drop-table:\nop.drop_table("alerts")')
    assert unexplained.startswith(f"{following(2)}_of_a_test.py: ban-drop-table: ")


def test_ignoring_what_is_not_found_is_a_fault(tmp_path: Path) -> None:
    """A migration keeps no comment that is not true."""
    body = '# squawk-ignore ban-drop-column: no longer\nop.add_column("users", sa.Column("country", sa.Text))'
    assert faults(tmp_path, body) == [f"{following()}_of_a_test.py: `# squawk-ignore ban-drop-column` is not needed"]


def test_a_migration_that_cannot_be_written_as_sql_is_a_fault(tmp_path: Path) -> None:
    """No migration goes unchecked because it reads what it migrates."""
    (fault,) = faults(tmp_path, 'op.get_bind().execute(sa.text("SELECT count(*) FROM users")).scalar()')
    assert fault.startswith(f"{following()}_of_a_test.py: cannot be written as SQL without a database (AttributeError")


def test_written_sql_is_bounded_and_whole(tmp_path: Path) -> None:
    """One transaction per migration, timeouts before the first, and percent signs as they are."""
    add(tmp_path, "op.execute(\"UPDATE users SET name = '' WHERE name LIKE '%'\")")
    add(tmp_path, 'op.add_column("users", sa.Column("country", sa.Text))')
    configuration = config_with(tmp_path)
    script = ScriptDirectory.from_config(configuration)
    texts = [lint_migrations.render(configuration, script.get_revision(name)) for name in (following(1), following(2))]
    assert "LIKE '%';" in texts[0]
    for sql in texts:
        begun = sql.index("BEGIN;")
        assert sql.index("SET lock_timeout = '500ms';") < begun
        assert sql.index("SET statement_timeout = '10min';") < begun
        assert (sql.count("BEGIN;"), sql.count("COMMIT;")) == (1, 1)


def test_a_new_migration_carries_the_rules(tmp_path: Path) -> None:
    """`alembic revision` writes them into the file, which is in the project's style except for imports not used yet."""
    configuration = config_with(tmp_path)
    command.revision(configuration, "countries of users", rev_id=following(), version_path=str(tmp_path))
    path = tmp_path / f"{following()}_countries_of_users.py"
    text = path.read_text()
    for word in (
        "Expand, backfill, contract",
        "CONCURRENTLY",
        "autocommit_block()",
        "NOT VALID",
        "VALIDATE CONSTRAINT",
        "One subcommand per ALTER",
        "No table is rewritten",
        "volatile default",
        "half a second at a time",
        "in the release that stops using it",
        "squawk-ignore RULE: REASON",
    ):
        assert word in text
    for style in (["check", "--ignore", "F401"], ["format", "--check"]):
        checked = subprocess.run(
            [sys.executable, "-m", "ruff", *style, "--config", str(ROOT / "pyproject.toml"), str(path)],
            capture_output=True,
            text=True,
        )
        assert checked.returncode == 0, checked.stdout
    assert lint_migrations.check(configuration) == []
