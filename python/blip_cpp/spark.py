"""CapFilt with Spark: a DataFrame in, a DataFrame with one more column out.

    pairs = spark.read.parquet("pairs").repartition(10_000)
    capfilt(pairs, CapFiltOptions("blip-captioner", "blip-filter", threads=1)).write.parquet("kept")
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

from blip_cpp.arrow import Columns, capfilt_table
from blip_cpp.capfilt import CapFiltOptions, open_capfilter


def capfilt(pairs: DataFrame, options: CapFiltOptions, columns: Columns = Columns()) -> DataFrame:
    """The rows of `pairs` with CapFilt's column; lazy, like every step of Spark.

    Each Python worker loads the models once. One that dies takes its task with it, which Spark runs again (up to
    spark.task.maxFailures times), with the same result. Give a task options.threads cores: spark.task.cpus.
    """

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        capfilter = open_capfilter(options)
        for batch in batches:
            yield from capfilt_table(pa.Table.from_batches([batch]), capfilter, columns).to_batches()

    schema = columns.result_schema(to_arrow_schema(pairs.schema))
    return pairs.mapInArrow(run, from_arrow_schema(schema))
