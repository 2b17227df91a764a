"""Rows of pictures, batch by batch, and whose an error is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from blip_cpp._native import EncodedImage, Engine
from blip_cpp.errors import BlipError
from blip_cpp.inputs import Column, batches, source

#: "raise": the first row that fails ends the call. "return": its BlipError stands in its place.
Errors = Literal["raise", "return"]
#: (encoded pictures, their entries of the columns) -> their results.
Compute = Callable[[list[EncodedImage], list[Any]], list[Any]]


@dataclass(frozen=True)
class Task:
    """What is done with each row."""

    engine: Engine
    columns: Sequence[Column]
    compute: Compute
    errors: Errors


def map_rows(rows: Iterable[tuple[Any, ...]], task: Task, batch_size: int) -> list[Any]:
    """A result for each row (picture, entries of the columns...). Ctrl-C is heeded between batches, and pictures."""
    if task.errors not in ("raise", "return"):
        raise BlipError(f"errors is raise or return, not {task.errors!r}")
    # Before any row: options that suit none of them are nobody's error but the caller's.
    task.compute([], [])
    results: list[Any] = []
    for batch in batches(rows, batch_size):
        results += _run(batch, task)
    return results


def _run(batch: list[tuple[Any, ...]], task: Task) -> list[Any]:
    results: list[Any] = [_checked(row, task.columns) for row in batch]
    values = {i: row[1:] for i, row in enumerate(results) if not isinstance(row, BlipError)}
    for i, picture in zip(values, task.engine.encode([results[i][0] for i in values])):
        results[i] = picture
    good = [i for i in values if not isinstance(results[i], BlipError)]
    if task.errors == "raise":
        for result in results:
            if isinstance(result, BlipError):
                raise result
    for i, result in zip(good, _computed([results[i] for i in good], [values[i] for i in good], task)):
        results[i] = result
    return results


def _checked(row: tuple[Any, ...], columns: Sequence[Column]) -> tuple[Any, ...] | BlipError:
    """The row as the engine takes it, or what is wrong with it."""
    image, *values = row
    try:
        return (source(image), *(column.check(column.name, value) for column, value in zip(columns, values)))
    except BlipError as error:
        return error


def _computed(pictures: list[EncodedImage], values: list[Any], task: Task) -> list[Any]:
    """A batch's results; where it fails and errors are to be returned, those of each row by itself."""
    if not pictures:
        return []
    try:
        return task.compute(pictures, values)
    except BlipError as error:
        if task.errors == "raise":
            raise
        if len(pictures) == 1:
            return [error]
    return [_computed([picture], [row], task)[0] for picture, row in zip(pictures, values)]
