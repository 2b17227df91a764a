"""Spark on a local cluster of several Python workers, one of which is killed in the middle."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys

import pytest

pytest.importorskip("pyspark", reason="pyspark is not installed")
pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
    pytest.skip("Spark needs Java", allow_module_level=True)
import pairs  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

import blip_cpp  # noqa: E402
from blip_cpp import BlipError, CapFilter, arrow, capfilt  # noqa: E402
from blip_cpp import spark as blip_spark  # noqa: E402


@pytest.fixture(scope="module")
def session():
    # Workers find the package and the tests' helpers as this process does.
    path = os.pathsep.join([str(pathlib.Path(blip_cpp.__file__).parents[1]), str(pathlib.Path(__file__).parent)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        # Two tasks at a time, each run up to four times.
        builder = SparkSession.builder.master("local[2,4]").appName("blip_cpp")
        settings = {
            "spark.ui.enabled": "false",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.memory": "512m",
            "spark.sql.execution.arrow.maxRecordsPerBatch": "5",
            "spark.sql.shuffle.partitions": "4",
        }
        for name, value in settings.items():
            builder = builder.config(name, value)
        spark = builder.getOrCreate()
        spark.sparkContext.setLogLevel("OFF")
        yield spark
        spark.stop()


class DyingCapFilter(CapFilter):
    """Kills its process, once in all, after its first batch."""

    marker = ""
    batches = 0

    def __call__(self, records):
        found = super().__call__(records)
        self.batches += 1
        if self.batches == 2:
            pairs.die_once(self.marker)
        return found


def pairs_of(session, path, count):
    pairs.write_parquet(path, count)
    return session.read.parquet(str(path)).repartition(4)


def rows_of(frame):
    rows = [row.asDict(recursive=True) for row in frame.collect()]
    return sorted(rows, key=lambda row: row["key"])


def test_a_dataframe_survives_a_killed_worker(session, capfilt_options, tmp_path, monkeypatch):
    marker = tmp_path / "killed"

    def open_dying(options):
        capfilter = capfilt._dying = getattr(capfilt, "_dying", None) or DyingCapFilter(options)  # a worker keeps it
        capfilter.marker = str(marker)
        return capfilter

    # The function that travels to the workers names this one, and takes it along.
    monkeypatch.setattr(blip_spark, "open_capfilter", open_dying)
    found = blip_spark.capfilt(pairs_of(session, tmp_path / "pairs.parquet", 80), capfilt_options)
    rows = rows_of(found)
    assert marker.exists()
    assert [row["key"] for row in rows] == [f"{n:05}" for n in range(80)]
    alone = arrow.capfilt_table(pairs.table(80), CapFilter(capfilt_options)).column("capfilt").to_pylist()
    assert [row["capfilt"] for row in rows] == alone


def test_columns(session, capfilt_options, tmp_path):
    frame = pairs_of(session, tmp_path / "pairs.parquet", 8)
    found = blip_spark.capfilt(frame, capfilt_options, arrow.Columns(keep_image=True))
    assert found.columns == ["key", "image", "text", "capfilt"]
    assert found.where("capfilt.status = 'failed'").count() == 1
    with pytest.raises(BlipError):
        blip_spark.capfilt(frame, capfilt_options, arrow.Columns(key="no"))
