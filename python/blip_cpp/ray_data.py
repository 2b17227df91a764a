"""CapFilt with Ray Data: one call for shards of pairs, and an actor for any dataset.

    options = CapFiltOptions("blip-captioner", "blip-filter", threads=8)
    statistics = capfilt("pairs-{00000..09999}.tar", "kept", options, workers=(1, 64))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import ray.data

from blip_cpp.arrow import Columns, capfilt_table
from blip_cpp.capfilt import CapFilter, CapFiltOptions
from blip_cpp.errors import BlipError
from blip_cpp.shards import Shard, plan, run_shard, sweep, total


class CapFiltActor:
    """CapFilt of batches (`batch_format="pyarrow"`): a worker that loads the models once."""

    def __init__(self, options: CapFiltOptions, columns: Columns = Columns()) -> None:
        self.capfilter = CapFilter(options)
        self.columns = columns

    def __call__(self, table: pa.Table) -> pa.Table:
        return capfilt_table(table, self.capfilter, self.columns)


class ShardActor:
    """CapFilt of whole files: takes numbers of shards, and writes what comes of them."""

    def __init__(self, options: CapFiltOptions, shards: list[Shard]) -> None:
        self.capfilter = CapFilter(options)
        self.shards = shards

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"id": batch["id"], "error": [self._run(self.shards[number]) for number in batch["id"]]}

    def _run(self, shard: Shard) -> str:
        try:
            run_shard(shard, self.capfilter)
        except BlipError as error:
            return str(error)
        return ""


def capfilt_dataset(
    dataset: ray.data.Dataset,
    options: CapFiltOptions,
    columns: Columns = Columns(),
    *,
    workers: int | tuple[int, int] = 1,
    batch_size: int = 64,
) -> ray.data.Dataset:
    """The dataset with CapFilt's column; lazy, like every step of Ray Data.

    Workers are actors of `options.threads` cores (None: of one). One that dies is started again, and its batch is done
    again, with the same result. Leave the cluster cores for reading: where workers take all, Ray waits forever.
    """
    return dataset.map_batches(
        CapFiltActor,
        fn_constructor_args=(_with_threads(options), columns),
        batch_format="pyarrow",
        batch_size=batch_size,
        **_actors(options, workers),
    )


def capfilt(
    sources: str | Iterable[str],
    output: str,
    options: CapFiltOptions,
    columns: Columns = Columns(),
    *,
    workers: int | tuple[int, int] = 1,
) -> dict[str, Any]:
    """CapFilt of files of pairs (see `blip_cpp.shards`), tars or parquet, to parquet in the folder `output`.

    Finished shards are skipped: run it again after whatever happened, and it goes on. `columns` are those of parquet.

    Returns:
        {"shards", "records": {"in", "kept", "dropped", "failed"}, "errors": {code: count}, "unfinished": {shard: why}}
    Raises:
        BlipError: there are no such shards, or two of one name.
    """
    shards = plan(sources, output, columns)
    todo = [shard for shard in shards if shard.statistics() is None]
    unfinished = {}
    if todo:
        rows = ray.data.from_items([{"id": n} for n in range(len(todo))], override_num_blocks=len(todo)).map_batches(
            ShardActor,
            fn_constructor_args=(_with_threads(options), todo),
            batch_size=1,
            **_actors(options, workers),
        )
        unfinished = {todo[row["id"]].source: row["error"] for row in rows.iter_rows() if row["error"]}
        sweep(shards)
    return {**total(filter(None, (shard.statistics() for shard in shards))), "unfinished": unfinished}


def _with_threads(options: CapFiltOptions) -> CapFiltOptions:
    return dataclasses.replace(options, threads=options.threads or 1)


def _actors(options: CapFiltOptions, workers: int | tuple[int, int]) -> dict[str, Any]:
    least, most = (workers, workers) if isinstance(workers, int) else workers
    # Ray Data starts actors that die anew, and gives their tasks to others, as often as it takes.
    return {"compute": ray.data.ActorPoolStrategy(min_size=least, max_size=most), "num_cpus": options.threads or 1}
