"""A column has its name in `database/models` alone: renamed there and in the database, no statement notices."""

import subprocess
import sys

from tests.service import ROOT


def test_no_statement_outside_of_judging_names_a_column(database_url: str) -> None:
    """With every column renamed, in the models and by ALTER TABLE, all that reads and writes tables works."""
    # A program of its own: statements are built from the models when they are imported.
    program = [sys.executable, "-m", "tests.integration.renamed_columns_elsewhere", database_url]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
