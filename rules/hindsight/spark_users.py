"""A backtest over an export in Spark: each user's rows brought together in order, and judged by mapInArrow.

Needs pyspark. What the processes of Spark do is in `arrow_users.py`.
"""

import json
import pickle
import re
from collections.abc import Iterable, Mapping
from functools import partial, reduce
from pathlib import Path
from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from rules.hindsight.arrow_users import ACTION, ALERT, CHECKPOINT, COLUMNS, SETTINGS, judge_share
from rules.hindsight.backtest import BacktestPlan, BacktestResult
from rules.hindsight.manifest import NAME, Manifest, NoExport
from rules.values import LAST_TIME

# What is read of each table. Columns that a later release adds are passed over.
_READ = {
    "actions": "user_id bigint, time bigint, seq bigint, type string, amount decimal(14,2), settings_version bigint",
    "alerts": "user_id bigint, time bigint, seq bigint, code int, outcome string, superseded boolean, evidence string",
    "settings": "user_id bigint, version bigint, risk string, overrides string",
    "checkpoints": "user_id bigint, type string, actions bigint, total decimal(38,2), first_time bigint, "
    "first_seq bigint, first_amount decimal(14,2), newest_seq bigint, until_seq bigint, pruned_before bigint",
}

# Rows of a share, whichever of these makes more shares: enough work for each process to be worth it, and few enough to
# be sorted in memory.
_AT_LEAST, _AT_MOST = 20_000, 250_000


class SparkBacktest:
    """A backtest over the export at the URI `place`, of which `manifest` is known. For a folder, see `place_of`."""

    def __init__(self, spark: SparkSession, place: str, manifest: Manifest) -> None:
        self._spark, self._place, self._manifest = spark, place, manifest
        self._done = spark.sparkContext.accumulator(0)

    @property
    def done(self) -> int:
        """How many actions have been judged, as far as is known here: it grows as shares are completed."""
        return int(self._done.value)

    def run(self, plan: BacktestPlan, result: BacktestResult) -> None:
        """Judge all actions, and add what is found to `result`, with the stored evidence of removed samples.

        Raises NoExport if they are more or fewer than were written, which is known unless the plan ends before them.
        """
        judge = partial(judge_share, plan, done=self._done.add)
        found = self.rows(plan).mapInArrow(judge, "result binary")
        actions = 0
        for row in found.collect():
            share: BacktestResult = pickle.loads(row.result)  # noqa: S301 (our own processes made it)
            actions += share.actions
            result.add(share)
        if plan.end == LAST_TIME and actions != (written := self._manifest.rows("actions")):
            raise NoExport(f"Spark has judged {actions:,} actions, and {written:,} were written: the files are others.")
        evidence = self._evidence([sample.key for sample in result.removed])
        result.removed = [sample._replace(evidence=evidence[sample.key]) for sample in result.removed]

    def rows(self, plan: BacktestPlan) -> DataFrame:
        """All that is judged or needed for it, by user: settings, checkpoints, alerts, actions in order of time."""
        actions = self._table("actions").where(f.col("time") <= plan.end)
        alerts = self._table("alerts").where(
            ~f.col("superseded") & f.col("code").isin(plan.codes) & f.col("time").between(plan.start, plan.end)
        )
        of_checkpoint = [name for name in self._table("checkpoints").columns if name != "user_id"]
        parts = [
            self._table("settings").select(
                "user_id",
                f.lit(SETTINGS).alias("kind"),
                f.col("version").alias("number"),
                f.to_json(f.struct("risk", "overrides")).alias("more"),
            ),
            self._table("checkpoints").select(
                "user_id",
                f.lit(CHECKPOINT).alias("kind"),
                f.to_json(f.struct(*(f.col(name).cast("string").alias(name) for name in of_checkpoint))).alias("more"),
            ),
            alerts.select(
                "user_id",
                f.lit(ALERT).alias("kind"),
                "time",
                "seq",
                f.col("code").alias("number"),
                f.col("outcome").alias("more"),
            ),
            actions.select(
                "user_id",
                f.lit(ACTION).alias("kind"),
                "time",
                "seq",
                (f.col("type") == "deposit").alias("is_deposit"),
                (f.col("amount") * 100).cast("bigint").alias("amount"),
                f.col("settings_version").alias("number"),
            ),
        ]
        rows = reduce(partial(DataFrame.unionByName, allowMissingColumns=True), parts).select(*COLUMNS)
        return rows.repartition(self._shares(), "user_id").sortWithinPartitions("user_id", "kind", "time", "seq")

    def _shares(self) -> int:
        rows = self._manifest.rows("actions")
        cores = int(self._spark.sparkContext.defaultParallelism)
        return max(1, min(2 * cores, rows // _AT_LEAST), rows // _AT_MOST)

    def _table(self, name: str) -> DataFrame:
        paths = [_below(self._place, file.name) for file in self._manifest.files_of(name)]
        if not paths:
            return self._spark.createDataFrame([], _READ[name])
        return self._spark.read.schema(_READ[name]).parquet(*paths)

    def _evidence(self, keys: Iterable[tuple[int, int, int]]) -> Mapping[tuple[int, int, int], dict[str, Any]]:
        """The stored evidence of some alerts."""
        wanted = [
            (f.col("user_id") == user_id) & (f.col("seq") == seq) & (f.col("code") == code)
            for user_id, seq, code in keys
        ]
        if not wanted:
            return {}
        found = self._table("alerts").where(reduce(lambda one, other: one | other, wanted)).collect()
        return {(row.user_id, row.seq, row.code): json.loads(row.evidence) for row in found}


def place_of(folder: Path) -> str:
    """The URI of a folder of this machine, as Spark reads it: nothing is decoded, and wildcards have to be marked.

    Without a scheme a cluster would look for it in the file system that it is set up with.
    """
    return "file://" + re.sub(r"([][{}*?\\^])", r"\\\1", str(folder.resolve()))


def _below(place: str, name: str) -> str:
    return f"{place.rstrip('/')}/{name}"


def read_remote_manifest(spark: SparkSession, place: str) -> Manifest:
    """The manifest of the export at the URI `place`. Raises NoExport."""
    try:
        text = spark.read.text(_below(place, NAME), wholetext=True).first()
    except AnalysisException:
        text = None
    if text is None:
        raise NoExport(f"{place} has no {NAME}: it is no export, or one that did not end.")
    try:
        return Manifest.read(text.value)
    except NoExport as error:
        raise NoExport(f"{_below(place, NAME)} {error}.") from None


def check_remote_files(spark: SparkSession, place: str, manifest: Manifest) -> None:
    """Compare the files at the URI `place` with `manifest`. Raises NoExport if one is another than it was."""
    if not manifest.files:
        return
    try:
        files = spark.read.format("binaryFile").load([_below(place, file.name) for file in manifest.files])
        found = files.select("path", f.sha2("content", 256).alias("sha256")).collect()
    except AnalysisException as error:  # one of them is not there
        raise NoExport(f"{place} is not whole: {str(error).splitlines()[0]}") from None
    digests = {"/".join(row.path.split("/")[-2:]): row.sha256 for row in found}
    for file in manifest.files:
        if digests.get(file.name) != file.sha256:
            raise NoExport(f"{_below(place, file.name)} is not as it was written: its sha256 is another.")
