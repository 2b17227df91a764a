"""Records of WebDataset's tars: files of one name, that follow each other, are one record."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from itertools import groupby
from typing import IO, Any

from blip_cpp.capfilt import Record
from blip_cpp.errors import BlipError

PICTURE_ENDINGS = ("jpg", "jpeg", "jpe", "png", "webp", "tif", "tiff", "gif", "bmp", "ppm", "pgm", "pnm")
MOST_BYTES = 1 << 28  #: of a file
MOST_FILES = 64  #: of a record
_SPACE = " \t\r\n\f\v"


def tar_records(stream: IO[bytes], name: str) -> Iterator[Record]:
    """The records of a tar, plain or compressed, read from front to back; a record that is none has a BlipError for
    its image. Texts are the lines of .txt or .caption, or "caption" or "text" of .json, where "human": true says that
    people wrote them. Where the tar is damaged there is a last record that says so. Raises OSError where the stream does:
    what comes after may be there another time.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as tar:
            members = (member for member in tar if member.isfile())
            for key, files in groupby(members, lambda member: _split(member.name)[0]):
                yield _record(tar, key, files)
    except (tarfile.TarError, EOFError, ValueError) as error:
        yield Record(f"(end of {name})", BlipError(f"{name} is damaged: {error}", "io"))


def _split(path: str) -> tuple[str, str]:
    """The key (all before the first dot of the last part) and the ending of a file."""
    folder, slash, last = path.rpartition("/")
    stem, _, ending = last.partition(".")
    return _valid(folder + slash + stem), ending.lower()


def _record(tar: tarfile.TarFile, key: str, members: Iterator[tarfile.TarInfo]) -> Record:
    files: dict[str, bytes] = {}
    mistake = None
    for member in members:
        if member.size > MOST_BYTES or len(files) >= MOST_FILES:
            mistake = BlipError(f"{key!r} has over {MOST_FILES} files, or one over {MOST_BYTES} bytes", "too_large")
        if mistake is None:
            content = tar.extractfile(member)
            files[_split(member.name)[1]] = content.read() if content else b""
    picture: Any = next((files[ending] for ending in files if ending in PICTURE_ENDINGS), None)
    if picture is None:
        picture = BlipError(f"{key!r} has no picture", "not_found")
    try:
        return Record(key, mistake or picture, *_texts(files))
    except (ValueError, RecursionError) as error:
        return Record(key, BlipError(f"{key!r}.json is no JSON object: {error}", "io"))


def _texts(files: dict[str, bytes]) -> tuple[list[str], bool]:
    """The texts, and whether people wrote them. Raises ValueError."""
    fields = json.loads(files.get("json", b"{}"))
    if not isinstance(fields, dict):
        raise ValueError("it is a " + type(fields).__name__)
    texts: Any = next((fields[name] for name in ("caption", "text") if name in fields), [])
    lines = next((files[ending] for ending in ("txt", "caption") if ending in files), None)
    if lines is not None:
        texts = lines.decode(errors="replace").split("\n")
    several = texts if isinstance(texts, list) else [texts]
    return [_valid(text.strip(_SPACE)) for text in several if isinstance(text, str) and text.strip(_SPACE)], (
        fields.get("human") is True
    )


def _valid(text: str) -> str:
    """U+FFFD in place of what has no form in UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
