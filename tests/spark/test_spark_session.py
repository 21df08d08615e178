"""Spark as a command has it: what it is sent, how it ends, and what is said if it fails."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commands.spark_session import _code, _failures, _held_back, _summary
from rules.hindsight.manifest import read_manifest
from rules.hindsight.spark_users import SparkBacktest, place_of
from tests.spark.history import questions


def test_the_archive_has_all_that_is_needed(tmp_path: Path) -> None:
    """Where nothing else of the service is."""
    archive = _code(tmp_path)
    wanted = "import sys; sys.path.insert(0, sys.argv[1]); import rules.hindsight.arrow_users as a; print(a.__file__)"
    command = [sys.executable, "-P", "-c", wanted, str(archive)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    loaded = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (loaded.stderr, loaded.stdout) == ("", f"{archive}/rules/hindsight/arrow_users.py\n")


def test_what_would_end_it_waits_until_spark_has_started() -> None:
    """And then is as it would have been; whatever Spark makes of it meanwhile."""
    before = signal.getsignal(signal.SIGINT)
    reached = []

    def start(*interrupts: int) -> None:
        with _held_back():
            for number in interrupts:
                signal.raise_signal(number)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            reached.append(interrupts)

    with pytest.raises(KeyboardInterrupt):
        start(signal.SIGINT)
    start()
    assert reached == [(signal.SIGINT,), ()]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_file_that_is_gone_is_not_passed_over(spark: Any, exported: Path, tmp_path: Path) -> None:
    """Nor one that cannot be read, as below, even where Spark is set up to do so."""
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    manifest = read_manifest(folder)
    backtest = SparkBacktest(spark, place_of(folder), manifest)
    question = questions(manifest.settings())["a period"]
    rows = backtest.rows(question.plan)
    (folder / manifest.files_of("alerts")[0].name).unlink()
    with pytest.raises(_failures(), match="FILE_NOT_EXIST"):
        rows.collect()


def test_why_it_failed_is_said_in_a_line(spark: Any, exported: Path, tmp_path: Path) -> None:
    """That of the innermost exception, not of those that passed it on, nor the last of a page."""
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    manifest = read_manifest(folder)
    harmed = folder / manifest.files_of("actions")[0].name
    harmed.write_bytes(harmed.read_bytes()[:-5])
    question = questions(manifest.settings())["a period"]
    with pytest.raises(_failures()) as raised:
        SparkBacktest(spark, place_of(folder), manifest).run(question.plan, question.empty_result())
    said = _summary(raised.value, Path(os.devnull))
    assert "is not a Parquet file" in said
    assert "\n" not in said


def test_why_it_did_not_start_is_in_its_log(tmp_path: Path) -> None:
    """If the message itself does not say."""
    log = tmp_path / "log"
    log.write_text("WARNING: noise\nException in thread main SparkException: Master must be one.\n\tat a.b\n")
    error = RuntimeError("[JAVA_GATEWAY_EXITED] Java gateway process exited.\nmore")
    assert _summary(error, log) == "Exception in thread main SparkException: Master must be one."
    log.write_text("")
    assert _summary(error, log) == "[JAVA_GATEWAY_EXITED] Java gateway process exited."
