"""What the tests of exports and Spark share: one history, one export of it, and one session of Spark."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands.endings import Stopped
from commands.optional import check_java
from database.session import make_sessions
from tests.postgres import Databases, Sessions, engine_on
from tests.spark.history import make_history, run_command


@pytest.fixture(scope="session")
def history_url(databases: Databases, template: str) -> Iterator[str]:
    """The URL of a database with a history, which no test changes."""
    with databases.new(template) as name:
        url = databases.url(name)
        with engine_on(url) as engine:
            make_history(make_sessions(engine))
        yield url


@pytest.fixture(scope="session")
def stored(history_url: str) -> Iterator[Sessions]:
    """Sessions on it."""
    with engine_on(history_url) as engine:
        yield make_sessions(engine)


@pytest.fixture(scope="session")
def exported(history_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of that history, whose name Spark would take for a pattern, or for one that is encoded."""
    folder = tmp_path_factory.mktemp("exports") / "an {export} [1]*, 100%41?#"
    result = run_command(history_url, "export", folder, "--processes", "1")
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return folder


@pytest.fixture(scope="session")
def of_a_cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SPARK_CONF_DIR as a cluster may have it: paths are those of HDFS, and files that cannot be read passed over.

    Skips the test where there is no Java.
    """
    try:
        check_java()
    except Stopped as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("spark")
    (folder / "spark-defaults.conf").write_text(
        "spark.hadoop.fs.defaultFS hdfs://127.0.0.1:1\n"
        "spark.sql.files.ignoreMissingFiles true\n"
        "spark.sql.files.ignoreCorruptFiles true\n"
    )
    return folder


@pytest.fixture(scope="session")
def spark(of_a_cluster: Path) -> Iterator[Any]:
    """A session of Spark whose batches are so short that users span them."""
    from commands.spark_session import spark_session

    settings = {
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "7",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_CONF_DIR", str(of_a_cluster))
        with spark_session("local[2]", settings) as session:
            yield session
