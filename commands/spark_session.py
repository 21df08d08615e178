"""Spark for as long as a command needs it: it starts, its log is kept off the terminal, and its processes get the code.

Needs pyspark.
"""

import os
import re
import signal
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from commands.endings import Stopped

_EXCEPTION = re.compile(r"^(?:\S.*)?\b\w*(?:Error|Exception)\b: ")
_ROOT = Path(__file__).resolve().parent.parent
# What judging users needs is in these; nothing else of them is loaded there.
_SHIPPED = ("database", "rules")
_ALWAYS = {
    "spark.app.name": "transaction-alerts backtest",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    # Else what a file does not have would be missing from a report that looks whole.
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.files.ignoreCorruptFiles": "false",
}
# Nobody else has to reach it, nor may.
_LOCAL = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.authenticate": "true",
}


@contextmanager
def spark_session(master: str, configuration: Mapping[str, str]) -> Iterator[SparkSession]:
    """A session of Spark on `master`, with further `configuration`, until the end of the block.

    Raises Stopped if it cannot start, or if Spark fails within the block; then its log is kept.
    """
    is_local = re.fullmatch(r"local(\[.*\])?", master) is not None
    if is_local:
        # For the process of Spark, which would look up a name, and take whatever Python it finds.
        os.environ |= {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    with tempfile.TemporaryDirectory(prefix="transaction-alerts-") as folder:
        descriptor, log = tempfile.mkstemp(prefix="spark-", suffix=".log")
        try:
            spark = None
            try:
                with _held_back():
                    spark = _start(master, _ALWAYS | (_LOCAL if is_local else {}) | dict(configuration), descriptor)
                spark.sparkContext.addPyFile(str(_code(Path(folder))))
                yield spark
            finally:
                if spark is not None:
                    with suppress(Exception):  # whatever has happened to it, the process of Spark ends with this one
                        spark.stop()
        except _failures() as error:
            raise Stopped(f"Spark failed: {_summary(error, Path(log))} Its log is in {log}.") from error
        except BaseException:
            os.unlink(log)
            raise
        os.unlink(log)


@contextmanager
def _held_back() -> Iterator[None]:
    """Around the start of Spark: what would end the command does so at the end of the block.

    If the start broke off, the process of Spark could not say that it is ready, and would wait for ever.
    """
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda came_now, _: came.append(came_now)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # Spark has set one of its own
    if came:
        signal.raise_signal(came[0])


def _start(master: str, configuration: Mapping[str, str], log: int) -> SparkSession:
    builder = SparkSession.builder.master(master)
    for name, value in configuration.items():
        builder = builder.config(name, value)
    kept = os.dup(1), os.dup(2)
    try:
        # The process of Spark, and those that it starts, write where this one does.
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        return builder.getOrCreate()
    finally:
        for descriptor, was in zip((1, 2), kept, strict=True):
            os.dup2(was, descriptor)
            os.close(was)
        os.close(log)


def _code(folder: Path) -> Path:
    """The code that Spark's processes need, as an archive that they load it from."""
    path = folder / "transaction_alerts.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in _SHIPPED:
            for file in sorted((_ROOT / name).rglob("*.py")):
                archive.write(file, file.relative_to(_ROOT))
    return path


def _failures() -> tuple[type[Exception], ...]:
    from py4j.protocol import Py4JError

    return PySparkException, Py4JError


def _summary(error: BaseException, log: Path) -> str:
    """The line that says most: that of the innermost exception, in Spark's message or else in its log."""
    said = [str(error), log.read_text(errors="replace")]
    lines = [line.strip() for text in said for line in reversed(text.splitlines()) if _EXCEPTION.search(line)]
    line = next(iter(lines), said[0].partition("\n")[0])
    return line.removeprefix("Caused by: ").rstrip(".") + "."
