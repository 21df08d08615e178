"""`flask --app app spark-backtest`: a backtest over an export, in Spark. It needs no database."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.backtest_question import AskedOptions, question_options, show_result
from commands.endings import Command, Interrupted, Stopped
from commands.optional import check_java, check_packages
from commands.terminal import json_option, progress
from rules.hindsight.manifest import NoExport, check_files, read_manifest

if TYPE_CHECKING:
    from rules.hindsight.spark_users import SparkBacktest

LOOK = 0.3  # seconds between two looks at how far it has come


def _configuration(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    found = dict(value.partition("=")[::2] for value in values)
    if bad := [name for name in found if not name.startswith("spark.") or not found[name]]:
        raise click.BadParameter(f"{bad[0]} must be spark.NAME=VALUE")
    return found


@click.command("spark-backtest", cls=Command)
@click.argument("folder", metavar="DIR")
@question_options
@click.option("--master", default="local[*]", show_default=True, metavar="URL", help="Spark's master, such as yarn.")
@click.option(
    "--conf", "configuration", multiple=True, metavar="NAME=VALUE", callback=_configuration, help="A setting of Spark."
)
@click.option("--no-check", is_flag=True, help="Do not compare the files with their digests first.")
@json_option
def spark_backtest(
    folder: str, master: str, configuration: dict[str, str], no_check: bool, as_json: bool, **options: Any
) -> None:
    """Judge the actions of an export again, as `backtest` does, in Spark; the report is the same.

    DIR is what `export` wrote, or a URI that Spark can read (hdfs://, s3a://) to which that was copied. No database and
    no settings are needed: the rules are those of the export, the checks those of this release. Exit status: 0 if done,
    2 if it could not be done, 130 after Ctrl+C.
    """
    asked = AskedOptions(**options)
    if "://" in folder and re.search(r"[][{}*?]", folder):
        raise Stopped("A URI with wildcards is no export: name one folder.")
    check_packages("pyspark", "pyarrow", "pandas", "numpy")
    check_java()
    try:
        _run(folder, asked, master, configuration, is_checked=not no_check, as_json=as_json)
    except NoExport as error:
        raise Stopped(str(error)) from None
    except KeyboardInterrupt:
        raise Interrupted("Stopped before the end: Spark ends too, and nothing was changed.") from None


def _run(
    place: str, asked: AskedOptions, master: str, configuration: dict[str, str], *, is_checked: bool, as_json: bool
) -> None:
    # These load pyspark.
    from commands.spark_session import spark_session
    from rules.hindsight.spark_users import SparkBacktest, check_remote_files, place_of, read_remote_manifest

    begun = time.monotonic()
    with ExitStack() as stack:
        if is_remote := "://" in place:
            spark = stack.enter_context(spark_session(master, configuration))
            manifest = read_remote_manifest(spark, place)
            if is_checked:
                check_remote_files(spark, place, manifest)
        else:
            manifest = read_manifest(Path(place))
            check_files(Path(place), manifest, digests=is_checked)
            place = place_of(Path(place))
        if unknown := manifest.unknown_rules():
            named = ", ".join(map(str, unknown))
            click.echo(f"Left out, since this release does not know them: rules {named}.", err=True)
        present = manifest.settings()
        question = asked.question(present)
        if not is_remote:
            spark = stack.enter_context(spark_session(master, configuration))
        result = question.empty_result()
        with _shown(backtest := SparkBacktest(spark, place, manifest), manifest.rows("actions"), begun):
            backtest.run(question.plan, result)
    show_result(
        question,
        present,
        result,
        seconds=time.monotonic() - begun,
        as_json=as_json,
        time_is_epoch=manifest.time_is_epoch,
    )


@contextmanager
def _shown(backtest: "SparkBacktest", total: int, begun: float) -> Iterator[None]:
    """Draw how far it has come, if standard error is a terminal."""
    ended = threading.Event()
    with ExitStack() as stack:
        show = progress("Judging", stack, begun)

        def draw() -> None:
            while not ended.wait(LOOK):
                show(backtest.done, total)

        show(0, total)
        thread = threading.Thread(target=draw, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
