"""Records of WebDataset's tars: files of one name, that follow each other, are one record."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Any

from blip_cpp.capfilt import Record
from blip_cpp.errors import BlipError

PICTURE_ENDINGS = ("jpg", "jpeg", "jpe", "png", "webp", "tif", "tiff", "gif", "bmp", "ppm", "pgm", "pnm")
MOST_BYTES = 1 << 28  #: of a file
MOST_FILES = 64  #: of a record
_SPACE = " \t\r\n\f\v"


def tar_records(stream: IO[bytes], name: str) -> Iterator[Record]:
    """The records of a tar, plain or compressed, read from front to back: those that `blip capfilt` reads.

    Texts are the lines of .txt or .caption, or else "caption" or "text" of .json, where "human": true says that people
    wrote them. A record that is none, or whose key was there before, has a BlipError for its image. Where the tar is
    damaged there is a last record that says so. Raises OSError where the stream does:
    what comes after may be there another time.
    """
    seen: set[str] = set()
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as tar:
            for key, files in _samples(tar):
                record = _record(key, files)
                if not isinstance(record.image, BlipError):
                    if key in seen:
                        record = replace(record, image=BlipError(f"{name} has the key {record.key!r} before"))
                    seen.add(key)
                yield record
    except (tarfile.TarError, EOFError, ValueError) as error:
        yield Record(f"(end of {name})", BlipError(f"{name} is damaged: {error}", "io"))


def _samples(tar: tarfile.TarFile) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys, and by their endings the files; an ending that comes again begins the next sample."""
    key, files = "", {}
    for member in filter(tarfile.TarInfo.isfile, tar):
        name, ending = _split(member.name)
        if files and (name != key or ending in files or len(files) == MOST_FILES):
            yield key, files
            files = {}
        key = name
        files[ending] = _content(tar, member)
    if files:
        yield key, files


def _split(path: str) -> tuple[str, str]:
    """The key (all before the first dot of the last part) and the ending of a file."""
    folder, slash, last = path.rpartition("/")
    stem, _, ending = last.partition(".")
    return folder + slash + stem, ending


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | BlipError:
    if member.size > MOST_BYTES:
        return BlipError(f"has a file of over {MOST_BYTES} bytes", "too_large")
    file = tar.extractfile(member)
    return file.read() if file else b""


def _record(name: str, files: dict[str, Any]) -> Record:
    key = _valid(name)
    try:
        return Record(key, _picture(files), *_texts(files))
    except BlipError as error:
        return Record(key, BlipError(f"{key!r} {error}", error.code))


def _picture(files: dict[str, Any]) -> bytes:
    """Raises BlipError, also for a file that was not read."""
    for content in files.values():
        if isinstance(content, BlipError):
            raise content
    for ending in sorted(files):
        if ending.lower() in PICTURE_ENDINGS:
            return files[ending]
    raise BlipError("has no picture", "not_found")


def _texts(files: dict[str, bytes]) -> tuple[list[str], bool]:
    """The texts, and whether people wrote them. Raises BlipError."""
    lines = next((files[ending] for ending in ("txt", "caption") if ending in files), None)
    texts, human = [], False
    try:
        texts, human = _fields(files.get("json", b"{}"))
    except (ValueError, RecursionError) as error:
        if lines is None:  # else what the JSON says of the texts does not matter
            raise BlipError(f"has a .json without texts: {error}", "io") from error
    if lines is not None:
        texts = lines.decode(errors="replace").split("\n")
    return [stripped for text in texts if (stripped := text.strip(_SPACE))], human


def _fields(content: bytes) -> tuple[list[str], bool]:
    """The texts of a JSON object, and whether people wrote them. Raises ValueError."""
    fields = json.loads(content.decode("utf-8-sig"), parse_constant=int)  # NaN is no JSON, nor an int
    if not isinstance(fields, dict):
        raise ValueError("it is a " + type(fields).__name__)
    texts: Any = next((fields[name] for name in ("caption", "text") if name in fields), [])
    several = texts if isinstance(texts, list) else [texts]
    for text in several:
        if not isinstance(text, str):
            raise ValueError("a text is a " + type(text).__name__)
        text.encode()  # no lone surrogate
    return several, fields.get("human") is True


def _valid(text: str) -> str:
    """U+FFFD in place of what has no form in UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
