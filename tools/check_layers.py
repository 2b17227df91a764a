#!/usr/bin/env python3
"""Holds every #include to the layering of docs/architecture.md: who may include whom, and which
room is the only door to each outside library. Exits 1 naming each breach."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# room -> the rooms whose headers it may include (itself always).
MAY_INCLUDE = {
    "blip/base": [],
    "blip/tokenizer": ["blip/base"],
    "blip/image": ["blip/base"],
    "blip/checkpoint": ["blip/base"],
    "blip/generation": ["blip/base"],
    "blip/ops": ["blip/base"],
    "blip/index": ["blip/base", "blip/ops"],
    "blip/model": ["blip/base", "blip/ops", "blip/checkpoint"],
    "blip/metrics": ["blip/base"],
    "blip/dataset": ["blip/base"],
    "blip/tasks": ["blip/base", "blip/image", "blip/index", "blip/tokenizer", "blip/checkpoint", "blip/generation", "blip/model"],
    "blip": ["blip/base", "blip/image", "blip/generation", "blip/tasks"],
    "apps/findings": ["blip/base", "blip/tasks"],
    "apps/polish": ["blip/base"],
    "apps/server": ["blip/base", "blip/image", "blip/index", "blip/tokenizer", "blip/checkpoint", "blip/generation", "blip/model", "blip/tasks", "apps/findings", "apps/polish"],
    "apps/cli": ["apps/findings", "apps/polish", "apps/server", "blip/base", "blip/dataset", "blip/metrics", "blip/image", "blip/index", "blip/tokenizer", "blip/checkpoint", "blip/ops", "blip/model", "blip/generation", "blip/tasks"],
    "python": ["blip", "blip/base", "blip/generation", "blip/image", "blip/index", "blip/tasks", "blip/tokenizer"],
    "train/model": ["blip/base", "blip/checkpoint"],
    "train/data": ["blip/base", "blip/image", "blip/tokenizer", "blip/dataset", "train/model"],
    "train/run": ["blip/base", "blip/checkpoint", "blip/image", "blip/tokenizer", "blip/dataset", "train/model", "train/data"],
}

# outside header -> the only rooms that may include it.
DOORS = {
    r"oneapi/|dnnl": ["blip/ops"],
    r"hwy/": ["blip/ops"],
    r"nlohmann/": ["blip/base"],
    r"faiss/|xxhash": ["blip/index"],
    r"utf8proc": ["blip/dataset", "blip/tokenizer", "blip/metrics"],
    r"re2/": ["blip/metrics"],
    r"jpeglib|jerror|spng|webp/|tiff|gif_lib": ["blip/image"],
    r"archive": ["blip/dataset"],
    r"yaml-cpp/": ["train/run"],
    r"CLI/": ["apps/cli"],
    r"boost/": ["apps/server"],
    r"curl/": ["apps/polish"],
    r"torch/|ATen/|c10/": ["train/model", "train/data", "train/run"],
    r"nanobind/|Python\.h": ["python"],
    r"omp\.h": ["blip/base", "blip/image", "blip/index", "blip/ops"],
}

INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.MULTILINE)


def room_of(path: str) -> str | None:
    """The longest room name that `path` lies in."""
    return max((room for room in MAY_INCLUDE if path.startswith(room + "/")), key=len, default=None)


def breaches(file: pathlib.Path) -> list[str]:
    name = file.relative_to(ROOT).as_posix()
    room = room_of(name)
    found = []
    for included in INCLUDE.findall(file.read_text(encoding="utf-8")):
        target = room_of(included)
        if target is not None and target != room and target not in MAY_INCLUDE[room]:
            found.append(f"{name} includes {included}: {room} may not include {target}")
        for pattern, rooms in DOORS.items():
            if target is None and re.match(pattern, included) and room not in rooms:
                found.append(f"{name} includes {included}: only {', '.join(rooms)} may")
    return found


def main() -> int:
    files = [f for top in ("blip", "apps", "python", "train") for f in (ROOT / top).rglob("*") if f.suffix in (".h", ".cpp")]
    found = [breach for file in sorted(files) for breach in breaches(file)]
    print("\n".join(found) if found else f"{len(files)} files keep to the layers")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
