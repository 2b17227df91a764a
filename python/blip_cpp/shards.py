"""CapFilt of files of pairs, each by itself: any worker may run any shard at any time, as often as it likes.

What comes of pairs-7.tar is pairs-7.parquet and then pairs-7_stats.json, written under other names and renamed. So a
shard is there whole or not at all, one that is there is not run again, and one that two workers run is there once.
"""

from __future__ import annotations

import glob
import json
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from blip_cpp.arrow import CAPFILT_TYPE, Columns, capfilt_table, result_row
from blip_cpp.capfilt import CapFilter, Record
from blip_cpp.errors import BlipError
from blip_cpp.inputs import batches
from blip_cpp.webdataset import tar_records

_ROWS = 256  # in memory at a time


@dataclass(frozen=True)
class Shard:
    """A file of pairs and the folder for what comes of it: paths, or any URI that pyarrow.fs knows (s3://...)."""

    source: str  #: .parquet, or a tar in WebDataset's form, plain or compressed
    output: str
    columns: Columns = Columns()  #: of parquet; a tar has none to name

    @property
    def name(self) -> str:
        return PurePosixPath(self.source).name.split(".", 1)[0]

    def target(self, ending: str) -> str:
        return f"{self.output.rstrip('/')}/{self.name}{ending}"

    def statistics(self) -> dict[str, Any] | None:
        """Of a shard that is finished."""
        files, path = _place(self.target("_stats.json"))
        if files.get_file_info(path).type != fs.FileType.File:
            return None
        with files.open_input_stream(path) as stream:
            return json.loads(stream.readall())


def plan(sources: str | Iterable[str], output: str, columns: Columns = Columns()) -> list[Shard]:
    """A Shard for each source. A str may have ranges and lists in braces, "pairs-{000..127}.tar", or be a local glob.

    Raises BlipError when there is none, or when two would have one result.
    """
    named = [sources] if isinstance(sources, str) else list(sources)
    expanded = [path for name in named for path in _expanded(name)]
    shards = [Shard(path, output, columns) for path in expanded]
    if not shards:
        raise BlipError(f"there is no shard at {sources}", "not_found")
    twice = [name for name, count in Counter(shard.name for shard in shards).items() if count > 1]
    if twice:
        raise BlipError(f"{twice[0]!r} is the name of several shards, which would have one result")
    return shards


def run_shard(shard: Shard, capfilter: CapFilter) -> dict[str, Any]:
    """Runs a shard that is not finished; its statistics: records in, kept, dropped, failed, errors by code.

    Raises BlipError for a shard that cannot be read or written as a whole: it stays unfinished.
    """
    finished = shard.statistics()
    if finished is not None:
        return finished
    try:
        counts = _write(shard, _results(shard, capfilter))
    except (OSError, pa.ArrowException) as error:
        raise BlipError(f"{shard.source}: {error}", "io") from error
    statistics = {"source": shard.source, **counts}
    _replace(shard.target("_stats.json"), json.dumps(statistics).encode())
    return statistics


def total(all_statistics: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The sum of shards' statistics. Raises BlipError{internal} when a record is lost or doubled."""
    records, errors, shards = Counter(), Counter(), 0
    for statistics in all_statistics:
        records.update(statistics["records"])
        errors.update(statistics["errors"])
        shards += 1
    _check(records)
    return {"shards": shards, "records": dict(records), "errors": dict(errors)}


def sweep(shards: Iterable[Shard]) -> None:
    """Removes what killed workers left half-written. Not while workers run."""
    for output in {shard.output for shard in shards}:
        files, folder = _place(output)
        for info in files.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
            if re.fullmatch(r"\..*\.[0-9a-f]{32}\.tmp", info.base_name):
                files.delete_file(info.path)


def _results(shard: Shard, capfilter: CapFilter) -> Iterator[pa.Table]:
    """The shard's rows with their results, in order; a table at least."""
    files, path = _place(shard.source)
    if shard.source.endswith(".parquet"):
        with files.open_input_file(path) as file:
            parquet = pq.ParquetFile(file)
            yield capfilt_table(parquet.schema_arrow.empty_table(), capfilter, shard.columns)
            for batch in parquet.iter_batches(_ROWS):
                yield capfilt_table(pa.Table.from_batches([batch]), capfilter, shard.columns)
        return
    yield _tar_table([], capfilter, shard.columns)
    with files.open_input_stream(path, compression=None) as stream:
        for records in batches(tar_records(stream, PurePosixPath(path).name), _ROWS):
            yield _tar_table(records, capfilter, shard.columns)


def _tar_table(records: list[Record], capfilter: CapFilter, columns: Columns) -> pa.Table:
    arrays = {
        "key": pa.array([record.key for record in records], pa.string()),
        "text": pa.array([list(record.texts) for record in records], pa.list_(pa.string())),
        columns.result: pa.array(map(result_row, capfilter(records)), CAPFILT_TYPE),
    }
    if columns.keep_image:
        images = [None if isinstance(record.image, BlipError) else record.image for record in records]
        arrays["image"] = pa.array(images, pa.binary())
    return pa.table(arrays)


def _write(shard: Shard, tables: Iterator[pa.Table]) -> dict[str, Any]:
    files, path = _place(shard.target(".parquet"))
    files.create_dir(_place(shard.output)[1], recursive=True)
    temporary = _temporary(path)
    status, errors, rows = Counter({"kept": 0, "dropped": 0, "failed": 0}), Counter(), 0
    first = next(tables)
    with files.open_output_stream(temporary) as stream:
        with pq.ParquetWriter(stream, first.schema, compression="zstd") as writer:
            for table in tables:
                writer.write_table(table)
                rows += len(table)
                results = table.column(shard.columns.result).to_pylist()
                status.update(result["status"] for result in results)
                errors.update(result["error"]["code"] for result in results if result["error"])
    records = {"in": rows, **status}
    _check(records)
    files.move(temporary, path)
    return {"records": records, "errors": dict(errors)}


def _check(records: dict[str, int]) -> None:
    if records.get("in", 0) != sum(records.get(status, 0) for status in ("kept", "dropped", "failed")):
        raise BlipError(f"records are lost or doubled: {dict(records)}", "internal")


def _replace(target: str, content: bytes) -> None:
    files, path = _place(target)
    temporary = _temporary(path)
    with files.open_output_stream(temporary) as stream:
        stream.write(content)
    files.move(temporary, path)


def _temporary(path: str) -> str:
    """Beside it, hidden from readers of folders, and no other worker's."""
    place = PurePosixPath(path)
    return str(place.with_name(f".{place.name}.{uuid.uuid4().hex}.tmp"))


def _place(path: str) -> tuple[fs.FileSystem, str]:
    return fs.FileSystem.from_uri(path if "://" in path else Path(path).absolute().as_uri())


def _expanded(name: str) -> list[str]:
    braces = re.search(r"\{([^{}]*)\}", name)
    if not braces:
        return sorted(glob.glob(name)) if "*" in name and "://" not in name else [name]
    bounds = re.fullmatch(r"(\d+)\.\.(\d+)", braces[1])
    words = braces[1].split(",")
    if bounds:
        words = [str(n).zfill(len(bounds[1])) for n in range(int(bounds[1]), int(bounds[2]) + 1)]
    return [path for word in words for path in _expanded(name[: braces.start()] + word + name[braces.end() :])]
