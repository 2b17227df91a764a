"""What users pass, in the form that the engine takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import islice, repeat
from numbers import Integral
from typing import Any, TypeVar, Union

import numpy as np

from blip_cpp._native import EncodedImage
from blip_cpp.errors import BlipError

#: A picture: the bytes of a file, a path, pixels [height, width, 3] as uint8, a PIL image, or an encoded one.
Picture = Union[bytes, bytearray, memoryview, str, "os.PathLike[str]", np.ndarray, EncodedImage, Any]

T = TypeVar("T")


def is_picture(value: object) -> bool:
    """Whether `value` is one picture and not several. An array of four dimensions is several."""
    if isinstance(value, np.ndarray):
        return value.ndim <= 3 and value.dtype != object
    return isinstance(value, (bytes, bytearray, memoryview, str, os.PathLike, EncodedImage)) or is_pil(value)


def is_pil(value: object) -> bool:
    # PIL need not be installed: its images are known by what they offer.
    return hasattr(value, "convert") and hasattr(value, "getbands")


def source(value: Any) -> Any:
    """`value` as the engine takes it: a path as str, pixels without gaps between rows."""
    if isinstance(value, BlipError):
        raise value  # what became of the picture before: it is passed on
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if is_pil(value):
        try:
            return np.asarray(value.convert("RGB"))
        except Exception as error:  # PIL reads files late, and fails in many ways
            raise BlipError(f"PIL cannot read the picture: {error}", "bad_image") from error
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        return np.ascontiguousarray(value)
    if hasattr(value, "as_buffer"):  # an Arrow scalar
        return memoryview(value.as_buffer()) if value.is_valid else None
    return value


def batches(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` values, the last one of what is left. Takes no more than it gives."""
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch


@dataclass(frozen=True)
class Column:
    """What belongs to pictures: one value for all of them, or an iterable with one for each."""

    name: str
    value: Any
    kind: type  #: that the one value for all has
    check: Callable[[str, Any], Any]  #: (name, value) -> what the engine takes; raises BlipError

    def values(self) -> Iterator[Any]:
        return repeat(self.value) if isinstance(self.value, self.kind) else iter(self.value)


def text(name: str, value: Any) -> str:
    """A str that has a form in UTF-8."""
    if not isinstance(value, str):
        raise BlipError(f"{name} is a str, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BlipError(f"{name} has a lone surrogate: {value!r:.200}") from None
    return value


def text_or_texts(name: str, value: Any) -> str | list[str]:
    """A str, or a list of them."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return text(name, value)
    return [text(name, one) for one in value]


def seed(name: str, value: Any) -> int:
    """A number of 64 bits."""
    if not isinstance(value, Integral) or not 0 <= value < 2**64:
        raise BlipError(f"{name} is from 0 to 2**64 - 1, not {value!r}")
    return int(value)


def rows(images: Iterable[Any], columns: Sequence[Column]) -> Iterator[tuple[Any, ...]]:
    """Each picture with its entries of the columns, as they come.

    Raises BlipError where there are not as many; before the first row where that can be known.
    """
    for column in columns:
        if isinstance(images, Sized) and isinstance(column.value, Sized) and not isinstance(column.value, column.kind):
            if len(column.value) != len(images):
                raise BlipError(f"{len(images)} pictures and {len(column.value)} entries of {column.name} are no pairs")
    iterators = [column.values() for column in columns]
    for number, image in enumerate(images):
        row = [image]
        for column, iterator in zip(columns, iterators):
            try:
                row.append(next(iterator))
            except StopIteration:
                raise BlipError(f"{column.name} ended after {number} pictures, and there are more") from None
        yield tuple(row)
