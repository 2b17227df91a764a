"""Records for the tests of CapFilt: the samples over and over, every seventh of them damaged."""

from __future__ import annotations

import io
import json
import os
import pathlib
import signal
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq

SAMPLES = pathlib.Path(__file__).resolve().parents[2] / "models/default/samples"


def pair(number: int) -> tuple[str, bytes, str]:
    """(key, picture, text)"""
    pictures = sorted(SAMPLES.glob("*.png"))
    content = pictures[number % len(pictures)].read_bytes()
    return f"{number:05}", content[:50] if number % 7 == 3 else content, f"web text {number}"


def die_once(marker: str) -> None:
    """Kills this process, unless another that was given the same marker has died."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def is_damaged(key: str) -> bool:
    return int(key) % 7 == 3


def table(count: int, first: int = 0) -> pa.Table:
    keys, images, texts = zip(*(pair(n) for n in range(first, first + count)))
    return pa.table({"key": keys, "image": pa.array(images, pa.binary()), "text": texts})


def write_parquet(path: pathlib.Path, count: int, first: int = 0) -> str:
    pq.write_table(table(count, first), path)
    return str(path)


def write_tar(path: pathlib.Path, count: int, first: int = 0, mode: str = "w") -> str:
    with tarfile.open(path, mode) as tar:
        for number in range(first, first + count):
            key, image, text = pair(number)
            add(tar, key + ".png", image)
            add(tar, key + ".json", json.dumps({"caption": text}).encode())
    return str(path)


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
