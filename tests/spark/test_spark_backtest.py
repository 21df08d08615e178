"""A backtest in Spark finds what a backtest of the database finds, alert by alert."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from commands.spark_backtest import spark_backtest
from rules.hindsight import backtest, backtester
from rules.hindsight.arrow_users import judge_share, whole_users
from rules.hindsight.backtest import BacktestResult
from rules.hindsight.manifest import Manifest, NoExport, read_manifest
from rules.hindsight.spark_users import SparkBacktest, check_remote_files, place_of, read_remote_manifest
from rules.model import RISKS
from tests.postgres import Sessions
from tests.service import ROOT
from tests.spark.history import found, present, questions, reported, run_command
from tests.unit.test_floors import LIBRARIES, SETTINGS, WEB, loads
from tests.unit.test_project import SERVICE_FOLDERS


@pytest.fixture
def manifest(exported: Path) -> Manifest:
    return read_manifest(exported)


@pytest.fixture
def over(spark: Any, exported: Path, manifest: Manifest) -> SparkBacktest:
    return SparkBacktest(spark, place_of(exported), manifest)


def test_the_history_has_all_that_matters(stored: Sessions) -> None:
    """Else the comparisons below would prove little."""
    with stored() as session:
        counts = session.execute(
            text("""
                SELECT count(*) FILTER (WHERE late), count(*) FILTER (WHERE superseded), count(*) FILTER (WHERE shadow),
                    count(*) FILTER (WHERE NOT superseded AND outcome = 'true_positive'),
                    (SELECT count(*) FROM checkpoints), (SELECT count(DISTINCT user_id) FROM user_settings),
                    (SELECT count(*) FROM user_settings WHERE overrides <> '{}'),
                    (SELECT count(DISTINCT settings_version) FROM user_actions)
                FROM alerts
            """)
        ).one()
        risks = set(session.scalars(text("SELECT risk FROM user_settings")))
    assert all(count > 3 for count in counts), counts
    assert risks == set(RISKS)


@pytest.mark.parametrize("name", ["all rules", "a period", "a sweep", "the last moment", "before everything"])
def test_the_report_is_that_of_the_database(
    name: str, over: SparkBacktest, manifest: Manifest, stored: Sessions
) -> None:
    """All figures, days, samples and their evidence, for whatever is asked."""
    assert manifest.settings() == present(stored)
    question = questions(manifest.settings())[name]
    result = question.empty_result()
    over.run(question.plan, result)
    assert over.done == result.actions
    assert reported(question, result) == reported(question, found(stored, question.plan))


def test_alert_by_alert(
    over: SparkBacktest, manifest: Manifest, stored: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only the samples: each alert that is added or removed, with its time, evidence and outcome."""
    for module in (backtest, backtester):
        monkeypatch.setattr(module, "SAMPLES", 1_000_000)
    question = questions(manifest.settings())["all rules"]
    # What Spark hands to its processes, judged in this one.
    (row,) = judge_share(question.plan, over.rows(question.plan).coalesce(1).toArrow().to_batches(), lambda _: None)
    ours: BacktestResult = pickle.loads(row.column(0)[0].as_py())
    theirs = found(stored, question.plan)
    assert len(ours.added) == ours.now[0].added > 20
    assert len(ours.removed) == ours.now[0].removed > 20
    assert ours.left_out == theirs.left_out > 0
    assert sorted(ours.added) == sorted(theirs.added)
    assert sorted(one[:2] + one[3:] for one in ours.removed) == sorted(one[:2] + one[3:] for one in theirs.removed)
    assert (ours.now, ours.then, ours.days) == (theirs.now, theirs.then, theirs.days)


def test_all_that_was_written_is_judged(spark: Any, exported: Path, manifest: Manifest) -> None:
    """If Spark judges more or fewer actions, there is no report; how many a period has is not known."""
    last = manifest.files_of("actions")[-1]
    others = [replace(one, rows=one.rows + 1) if one is last else one for one in manifest.files]
    over = SparkBacktest(spark, place_of(exported), replace(manifest, files=tuple(others)))
    asked = questions(manifest.settings())
    with pytest.raises(NoExport, match="Spark has judged"):
        over.run(asked["the last moment"].plan, asked["the last moment"].empty_result())
    over.run(asked["a period"].plan, asked["a period"].empty_result())


# Users that span batches


def users_of(rows: pa.Table | pa.RecordBatch) -> list[int]:
    found: list[int] = rows.column("user_id").to_pylist()
    return found


@settings(max_examples=200)
@given(
    counts=st.lists(st.integers(1, 9), max_size=8),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    at_least=st.integers(1, 20),
)
def test_users_are_put_together_again(counts: list[int], cuts: list[int], at_least: int) -> None:
    """However the rows are cut into batches, empty ones too: no row is lost, no user is split, little is held."""
    rows = [user_id for user_id, count in enumerate(counts, start=5) for _ in range(count)]
    places = sorted({0, *(min(cut, len(rows)) for cut in cuts), len(rows)})
    pieces = [rows[a:b] for a, b in [(0, 0), *pairwise(places), (0, 0)]]
    batches = [pa.record_batch([pa.array(piece, pa.int64())], names=["user_id"]) for piece in pieces]
    together = list(whole_users(batches, at_least))
    assert [user_id for table in together for user_id in users_of(table)] == rows
    for table, following in pairwise(together):
        assert set(users_of(table)).isdisjoint(users_of(following))
        assert table.num_rows >= at_least
    longest = max(map(len, pieces))
    assert all(table.num_rows < at_least + longest + max(counts) for table in together)


def test_what_the_processes_load() -> None:
    """Besides Arrow and numpy nothing but the standard library: no database, no settings, no web."""
    banned = {*LIBRARIES, *WEB, *SETTINGS} - {"numpy"}
    assert loads(tuple(banned), "rules.hindsight.arrow_users") == {"rules.hindsight.arrow_users": []}


# An export elsewhere


def test_an_export_that_spark_reads(spark: Any, exported: Path, tmp_path: Path, stored: Sessions) -> None:
    """At a URI, Spark reads the manifest, compares the files, and judges them."""
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    place = folder.as_uri()
    manifest = read_remote_manifest(spark, place)
    assert manifest == read_manifest(exported)
    check_remote_files(spark, place, manifest)
    question = questions(manifest.settings())["a period"]
    result = question.empty_result()
    SparkBacktest(spark, place, manifest).run(question.plan, result)
    assert reported(question, result) == reported(question, found(stored, question.plan))

    name = manifest.files_of("alerts")[0].name
    harmed = bytearray((folder / name).read_bytes())
    harmed[100] ^= 1
    (folder / name).write_bytes(harmed)
    with pytest.raises(NoExport, match=f"{name} is not as it was written"):
        check_remote_files(spark, place, manifest)
    (folder / name).unlink()
    with pytest.raises(NoExport, match=name):
        check_remote_files(spark, place, manifest)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(NoExport, match="cannot be read"):
        read_remote_manifest(spark, place)
    (folder / "manifest.json").unlink()
    with pytest.raises(NoExport, match="has no manifest"):
        read_remote_manifest(spark, place)


def test_an_empty_export(spark: Any, database_url: str, tmp_path: Path) -> None:
    """Of a database without users: nothing is found, and nothing fails."""
    folder = tmp_path / "empty"
    result = run_command(database_url, "export", folder, "--processes", "1", "--json")
    assert (result.exit_code, json.loads(result.stdout)["actions"]) == (0, 0)
    manifest = read_manifest(folder)
    assert manifest.files == ()
    question = questions(manifest.settings())["a sweep"]
    nothing = question.empty_result()
    SparkBacktest(spark, place_of(folder), manifest).run(question.plan, nothing)
    assert reported(question, nothing) == reported(question, question.empty_result())


# The command


@pytest.mark.parametrize("place", ["s3a://history/2026-11-*", "hdfs://there/{a,b}", "file:///srv/exports/[1]"])
def test_one_export_is_judged_not_all_that_match(place: str) -> None:
    """Users would count once for each."""
    result = CliRunner().invoke(spark_backtest, [place])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "name one folder" in result.stderr


def test_the_command_needs_neither_database_nor_settings(
    exported: Path, tmp_path: Path, history_url: str, of_a_cluster: Path
) -> None:
    """In a folder of its own, whose name has a space, with settings that are wrong and no home: the same text."""
    code = tmp_path / "a folder"
    code.mkdir()
    for path in (*ROOT.glob("*.py"), *(ROOT / name for name in SERVICE_FOLDERS)):
        (code / path.name).symlink_to(path)
    environment = {"PATH": os.environ["PATH"], "HOME": "", "DATABASE_URL": "nonsense", "SECRET_KEY": "short"}
    environment["SPARK_CONF_DIR"] = str(of_a_cluster)
    command = [sys.executable, "-m", "flask", "--app", "app", "spark-backtest", str(exported), "--master", "local[1]"]
    command += ["--conf", "spark.driver.extraJavaOptions=-XX:TieredStopAtLevel=1"]
    ended = subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    theirs = run_command(history_url, "backtest", "--processes", "1")
    assert without_rate(ended.stdout) == without_rate(theirs.stdout)
    names = {path.name for path in code.iterdir()}
    assert names - {path.name for path in ROOT.iterdir()} == set()


def without_rate(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("actions per second")]
