"""`flask --app app distribute`: when it says no, and what it does in which order; on Citus itself see CITUS_URL."""

from typing import Any

import pytest
from click.testing import Result

from database import distribution, presence
from tests.conftest import ClientMaker


class Citus:
    """Answers in place of the database what `distribute` asks of Citus, and notes what it has it do."""

    def __init__(self) -> None:
        self.extension, self.owner, self.served = True, True, False
        self.workers = ["one:5432", "two:5432"]
        self.left = ["users", "user_actions"]
        self.done: list[Any] = []

    def put_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the command ask it."""
        for name, answer in {
            "has_extension": lambda _: self.extension,
            "may_distribute": lambda _: self.owner,
            "workers": lambda _: self.workers,
            "to_distribute": lambda _: self.left,
            "shards": lambda _: 32,
            "warnings": lambda _: [],
            "distribute": lambda _, table, shards: self.done.append((table, shards)),
            "drop_local_rows": lambda _: self.done.append("rows dropped"),
        }.items():
            monkeypatch.setattr(distribution, name, answer)
        monkeypatch.setattr(presence, "is_anybody_serving", lambda _: self.served)


@pytest.fixture
def citus(monkeypatch: pytest.MonkeyPatch) -> Citus:
    """A database that has Citus, as far as the command can tell."""
    found = Citus()
    found.put_in(monkeypatch)
    return found


@pytest.fixture
def run(make_client: ClientMaker) -> Any:
    """Runs the command."""
    application = make_client().application
    return lambda *args: application.test_cli_runner().invoke(args=["distribute", *args])


def test_a_single_server_stays_one(run: Any) -> None:
    """Without the extension it says no, and where to read about it."""
    for options in ((), ("--plan",)):
        result: Result = run(*options)
        assert result.exit_code == 2
        assert "has no Citus" in result.stderr
        assert "docs/scaling.md" in result.stderr


@pytest.mark.parametrize(
    ("what", "value", "why"),
    [
        ("workers", [], "citus_add_node"),
        ("owner", False, "does not own the tables"),
        ("served", True, "A service runs on this database"),
    ],
)
def test_what_is_in_the_way(what: str, value: object, why: str, run: Any, citus: Citus) -> None:
    """It says what is missing, and does nothing."""
    setattr(citus, what, value)
    result: Result = run()
    assert (result.exit_code, citus.done) == (2, [])
    assert why in result.stderr


def test_a_plan_does_nothing(run: Any, citus: Citus) -> None:
    """It names the tables and the workers, also while a service runs."""
    citus.served = True
    result: Result = run("--plan", "--shards", "8")
    assert (result.exit_code, citus.done) == (0, [])
    assert "8 shards on one:5432, two:5432" in result.stdout
    assert "users, user_actions" in result.stdout


def test_each_table_is_spread_once(run: Any, citus: Citus) -> None:
    """In the order given, then the rows left on the coordinator go; once it is done there is nothing to do."""
    result: Result = run("--shards", "8")
    assert (result.exit_code, citus.done) == (0, [("users", 8), ("user_actions", 8), "rows dropped"])
    assert "citus.enable_deadlock_prevention" in result.stdout
    citus.left, citus.done = [], []
    result = run()
    assert (result.exit_code, citus.done) == (0, [])
    assert "is spread already, by user: 32 shards" in result.stdout
