"""Commands that need what not everybody has say what is missing, and how to get it."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from commands import endings, optional
from commands.endings import Stopped
from commands.optional import check_java
from commands.spark_backtest import spark_backtest
from tests.service import ROOT


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is named, with the command that installs it, and that is one that there is."""
    monkeypatch.setattr(optional, "find_spec", lambda name: None if name.startswith("py") else object())
    result = CliRunner().invoke(spark_backtest, [str(tmp_path)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Not installed, and needed for this: pyspark, pyarrow. Install: make spark" in result.stderr
    assert "\nspark:" in (ROOT / "Makefile").read_text()
    assert (ROOT / "requirements-spark.txt").exists()


def java(folder: Path, says: str) -> Path:
    """A Java in `folder` that says this of its version."""
    program = folder / "bin/java"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ('openjdk version "17.0.15" 2025-04-15', None),
        ('openjdk version "21" 2023-09-19', None),
        ('java version "1.8.0_392"', "is Java 8, and Spark needs 17 or newer"),
        ('openjdk version "11.0.2" 2019-01-15', "is Java 11, and Spark needs 17 or newer"),
        ("nothing of interest", "is Java one that does not say which"),
    ],
)
def test_javas(says: str, told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is too old is refused before Spark would print a page about it."""
    monkeypatch.setenv("JAVA_HOME", str(java(tmp_path, says)))
    if told is None:
        check_java()
        return
    with pytest.raises(Stopped, match=told):
        check_java()


def test_no_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where JAVA_HOME says, nor on the path."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    with pytest.raises(Stopped, match=r"JAVA_HOME is .*gone, and Spark needs Java 17"):
        check_java()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Stopped, match="There is no java, and Spark needs Java 17"):
        check_java()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--app", "app", "spark-backtest", "replay"], "spark-backtest"),
        (["-A", "spark-backtest", "replay", "spark-backtest"], "replay"),
        (["--app", "app"], None),
    ],
)
def test_which_command_the_application_is_loaded_for(
    words: list[str], name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command line, as Flask itself will read it: a file that is named like a command is none."""
    from flask.cli import FlaskGroup

    monkeypatch.setattr(sys, "argv", ["flask", *words])
    group = FlaskGroup(name="flask")
    with group.make_context("flask", list(words), resilient_parsing=True):
        assert endings.named_command() == name
    assert endings.named_command() is None
