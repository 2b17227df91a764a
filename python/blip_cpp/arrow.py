"""CapFilt and captions of Arrow tables: what the adapters share. A row is one in every table that comes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from blip_cpp.capfilt import CapFilter, JudgedRecord, Record
from blip_cpp.errors import BlipError

TEXT_TYPE = pa.struct(
    [
        ("text", pa.string()),
        ("origin", pa.string()),  # "web" or "synthetic"
        ("itm", pa.float64()),
        ("itc", pa.float64()),
        ("truncated", pa.bool_()),
        ("kept", pa.bool_()),
        ("reason", pa.string()),  # of dropping it
    ]
)
ERROR_TYPE = pa.struct([("code", pa.string()), ("message", pa.string())])
#: The column that CapFilt adds.
CAPFILT_TYPE = pa.struct(
    [
        ("status", pa.string()),  # "kept", "dropped" or "failed"
        ("kept", pa.list_(pa.string())),  # the texts to train on
        ("texts", pa.list_(TEXT_TYPE)),
        ("error", ERROR_TYPE),
    ]
)


@dataclass(frozen=True)
class Columns:
    """Where a table has its records, and what is written of them."""

    key: str = "key"  #: of str; names a record among all
    image: str = "image"  #: bytes of a picture file, or its path
    text: str | None = "text"  #: a text, a list of them, or null; None: there is none
    human: str | None = None  #: of bool: the texts are kept as they are
    result: str = "capfilt"  #: the new one
    keep_image: bool = False  #: the pictures are written too; off, as they take a thousand times the room

    def result_schema(self, schema: pa.Schema) -> pa.Schema:
        """That of capfilt_table(). Raises BlipError for a table without these columns."""
        for name in filter(None, (self.key, self.image, self.text, self.human)):
            if name not in schema.names:
                raise BlipError(f"there is no column {name!r} among {', '.join(schema.names)}")
        kind = schema.field(self.key).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise BlipError(f"keys are strings, but {self.key!r} is of {kind}")
        if self.result in schema.names:
            raise BlipError(f"there is a column {self.result!r} already; name another for the result")
        left = [field for field in schema if self.keep_image or field.name != self.image]
        return pa.schema([*left, pa.field(self.result, CAPFILT_TYPE)])


def capfilt_table(table: pa.Table, capfilter: CapFilter, columns: Columns = Columns()) -> pa.Table:
    """The table with the result's column, and without the image's unless it is kept."""
    schema = columns.result_schema(table.schema)
    judged = capfilter(_records(table, columns))
    result = pa.array([result_row(record) for record in judged], CAPFILT_TYPE)
    arrays = [result if name == columns.result else table.column(name) for name in schema.names]
    return pa.Table.from_arrays(arrays, schema=schema)


def result_row(record: JudgedRecord) -> dict[str, Any]:
    """A record in the form of CAPFILT_TYPE."""
    error = record.error and {"code": record.error.code, "message": record.error.message}
    return {
        "status": record.status,
        "kept": record.kept,
        "texts": [asdict(text) for text in record.texts],
        "error": error,
    }


def _records(table: pa.Table, columns: Columns) -> Iterator[Record]:
    keys, images = table.column(columns.key), table.column(columns.image)
    texts = table.column(columns.text).to_pylist() if columns.text else [None] * len(keys)
    humans = table.column(columns.human).to_pylist() if columns.human else [False] * len(keys)
    for key, image, text, human in zip(keys, images, texts, humans):
        yield Record(key.as_py(), image.as_py(), _texts(text), bool(human))


def _texts(value: str | list[str | None] | None) -> list[str]:
    """Texts without white space around them; none that is blank."""
    several = [value] if isinstance(value, str) else value or []
    return [stripped for text in several if text and (stripped := text.strip(" \t\r\n\f\v"))]
