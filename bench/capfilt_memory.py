#!/usr/bin/env python3
"""CapFilt of many records: does memory stay flat, do the books balance. Small pictures in tars, the small model that ships as
captioner and filter, so that 100 000 records take minutes."""

import argparse
import io
import json
import pathlib
import random
import subprocess
import sys
import tarfile
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def make_tars(folder: pathlib.Path, records: int, size: int) -> None:
    """Pictures of few colours, each with a text, 1000 a tar; one in a hundred is broken."""
    from PIL import Image

    draw = random.Random(0)
    pictures = []
    for _ in range(1000):
        image = Image.new("RGB", (size, size), tuple(draw.randrange(256) for _ in range(3)))
        image.paste(tuple(draw.randrange(256) for _ in range(3)), (0, 0, draw.randrange(1, size), draw.randrange(1, size)))
        data = io.BytesIO()
        image.save(data, "JPEG")
        pictures.append(data.getvalue())
    for first in range(0, records, 1000):
        with tarfile.open(folder / f"{first // 1000:05}.tar", "w") as tar:
            for i in range(first, min(first + 1000, records)):
                picture = draw.choice(pictures)
                for name, data in ((f"{i:09}.jpg", picture[: len(picture) // 3] if i % 100 == 7 else picture), (f"{i:09}.txt", b"a picture of two red apples")):
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def resident_mib(pid: int) -> float:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=128, help="of the pictures, in pixels (default 128)")
    parser.add_argument("--blip", type=pathlib.Path, default=ROOT / "build/release/bin/blip")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        tars, out = pathlib.Path(scratch, "in"), pathlib.Path(scratch, "out")
        tars.mkdir()
        make_tars(tars, options.records, options.size)
        start = time.perf_counter()
        model = ROOT / "models/default"
        messages = pathlib.Path(scratch, "messages")
        with messages.open("w") as to:
            process = subprocess.Popen([options.blip, "capfilt", tars, out, "--captioner", model, "--filter", model], stderr=to)
        samples = []
        while process.poll() is None:
            done = len(list(out.glob("*_stats.json"))) if out.exists() else 0
            try:
                samples.append((done, resident_mib(process.pid)))
            except FileNotFoundError:
                break
            time.sleep(0.2)
        seconds = time.perf_counter() - start
        if process.wait() != 0:
            sys.stderr.write(messages.read_text()[-2000:])
            return process.returncode
        books = json.loads((out / "_stats.json").read_text())["records"]
    shards = (options.records + 999) // 1000
    for low, high in ((0.0, 0.1), (0.1, 0.5), (0.5, 1.0)):
        part = [mib for done, mib in samples if low * shards <= done <= high * shards]
        if part:
            print(f"shards {low:4.0%} to {high:4.0%}: {min(part):6.1f} to {max(part):6.1f} MiB resident")
    print(f"{books['in']} records in {seconds:.0f} s ({books['in'] / seconds:.0f} a second); books: {books}")
    return 0 if books["in"] == options.records == books["kept"] + books["dropped"] + books["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
