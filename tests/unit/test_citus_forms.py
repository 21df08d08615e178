"""That no statement which judging runs on Citus has a form that Citus refuses, without one at hand."""

import importlib
import pkgutil
import re

import pytest

import database
from database import citus_statements, judging
from database.distribution import TABLES
from database.prepared import Planned, Prepared
from database.user_records import Forms

# A function among the tables has names for its columns.
UNNEST = re.compile(r"\) AS (\w+)\(\w+")
SPREAD = "|".join(TABLES)


def faults(sql: str) -> list[str]:
    """What Citus would refuse in a statement, of what was found in practice."""
    found = []
    beside = UNNEST.findall(sql)
    if beside and re.search(r"\bLATERAL\b.*\bLIMIT\b", sql, re.DOTALL):
        found.append("LATERAL with LIMIT beside unnest")
    if any(re.search(rf"(?<!LATERAL )\(SELECT\b[^()]*\bWHERE\b[^()]*= {name}\.", sql) for name in beside):
        found.append("a correlated subquery beside unnest")
    if re.search(rf"\bUPDATE ({SPREAD})\b.*\b(clock_timestamp|random)\(", sql, re.DOTALL):
        found.append("a volatile function in UPDATE")
    if re.search(r"\bDO UPDATE SET\b.*\b(now|clock_timestamp|statement_timestamp)\(", sql, re.DOTALL):
        found.append("a moment in DO UPDATE")
    if re.search(r"= ANY \(.*\bFOR (NO KEY )?UPDATE\b", sql, re.DOTALL):
        found.append("a row lock of several users")
    joined = re.findall(r"\busers AS (\w+)", sql)
    if len(joined) > 1 and not re.search(r"\w+\.user_id = \w+\.user_id(?! [+-])", sql):
        found.append("users joined with users otherwise than by user_id")
    return found


def _statements() -> dict[str, str]:
    """All that judging runs on Citus, by module and name."""
    found = {}
    for module_found in pkgutil.iter_modules(database.__path__):
        module = importlib.import_module(f"database.{module_found.name}")
        for name, value in vars(module).items():
            if isinstance(value, Forms):
                found[f"{module_found.name}.{name}"] = value.distributed.text
            elif isinstance(value, Planned):
                found[f"{module_found.name}.{name}"] = value.text
            elif module is not judging:
                some = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, Prepared)]
                for each in some:
                    found[f"{module_found.name}.{name}{'' if each is value else some.index(each)}"] = each.prepare
    return found


# It is run for one user at a time there.
ONE_BY_ONE = {"locks._FREE_USERS"}
STATEMENTS = {name: sql for name, sql in _statements().items() if name not in ONE_BY_ONE}


def test_all_of_them_are_found() -> None:
    """Those with which a batch begins are among what is checked, and some that late events need."""
    assert {
        "citus_statements.COUNT_KNOWN",
        "citus_statements._READS4",
        "late_events._READ_AHEAD",
        "storing._INSERT_ACTIONS",
    } <= STATEMENTS.keys()


@pytest.mark.parametrize("name", STATEMENTS)
def test_what_runs_on_citus(name: str) -> None:
    """No statement of judging in the form for Citus has what Citus refuses."""
    assert faults(STATEMENTS[name]) == []


def test_the_check_finds_what_citus_refuses() -> None:
    """The forms for one server have it: each of them was refused by Citus."""
    history = judging._READS[-1].prepare
    assert faults(history) == ["LATERAL with LIMIT beside unnest"]
    assert faults(judging.COUNT_AND_LOCK.prepare) == ["a correlated subquery beside unnest"]
    assert faults("UPDATE alerts SET touched_at=clock_timestamp() WHERE alerts.user_id = 1") != []
    assert faults("INSERT INTO mutes VALUES (1) ON CONFLICT DO UPDATE SET created_at = now()") != []
    assert faults("SELECT 1 FROM users WHERE users.user_id = ANY ($1) FOR NO KEY UPDATE") != []
    assert faults("SELECT 1 FROM users AS one JOIN users AS other ON other.user_id = one.user_id + 1") != []
    assert faults(citus_statements.COUNT_KNOWN.prepare) == []
