"""Builds the corpus from fetched packages; tools/corpus/build runs it."""

import argparse
import concurrent.futures
import functools
import pathlib
import sys
import time

from annotations import picture_of, write_annotations
from easy_vqa import build_easy_vqa
from emoji import EmojiTable
from emoji_pictures import build_emoji_pictures
from files import read_lines, write_json
from noise import build_noisy_scenes
from render import render
from splits import SCENE_SPLITS, TRAINED_STYLES
from sprites import Sprites, build_sprites
from tasks import build_extra, build_scenes, build_tasks
from vocabulary import write_vocabulary
from web import build_web

_CHUNK = 500   # scenes that a worker draws at a time


class Timer:
    def __init__(self):
        self._begin = time.monotonic()

    def tell(self, what: str) -> None:
        print(f"{time.monotonic() - self._begin:6.1f} s  {what}", flush=True)


@functools.cache
def _all_sprites(out: pathlib.Path) -> Sprites:
    styles = tuple(dict.fromkeys(style for split in SCENE_SPLITS for style in split.styles))
    return Sprites(out, styles, core_only=False)


def _draw(out: pathlib.Path, rows: list[dict], pixels: int) -> None:
    for row in rows:
        render(row["scene"], _all_sprites(out), pixels).save(out / picture_of(row["id"]))


def _draw_all(pool: concurrent.futures.Executor, out: pathlib.Path, pixels: int) -> None:
    """Writes scenes/SPLIT/*.png and noisy/scenes/*.png."""
    pending = []
    extra = ["scenes/extra.jsonl"] if (out / "scenes/extra.jsonl").exists() else []
    for lines in [f"scenes/{split.name}.jsonl" for split in SCENE_SPLITS] + extra + ["noisy/scenes.jsonl"]:
        (out / lines).with_suffix("").mkdir()
        rows = list(read_lines(out / lines))
        pending += [pool.submit(_draw, out, rows[i:i + _CHUNK], pixels) for i in range(0, len(rows), _CHUNK)]
    for future in pending:
        future.result()


def _web(packages: pathlib.Path, out: pathlib.Path) -> dict[str, int]:
    return build_web(packages / "npm/node_modules", packages / "openclipart/usr/share/openclipart", out)


def _emoji_pictures(packages: pathlib.Path, out: pathlib.Path) -> None:
    build_emoji_pictures(EmojiTable(packages / "npm/node_modules"), out)


def build(packages: pathlib.Path, out: pathlib.Path, options: argparse.Namespace) -> None:
    timer = Timer()
    with concurrent.futures.ProcessPoolExecutor() as pool:
        web = pool.submit(_web, packages, out)
        emoji_pictures = pool.submit(_emoji_pictures, packages, out)
        build_sprites(EmojiTable(packages / "npm/node_modules"), out)
        timer.tell("sprites")
        rows = build_scenes(out, options.core)
        if options.extra:
            build_extra(out, options.core, options.extra)
        timer.tell("scenes")
        build_tasks(rows, out, options.core)
        timer.tell("questions, statements, retrieval")
        left_out = web.result()
        timer.tell(f"web pictures; left out of openclipart: {left_out}")
        build_noisy_scenes(Sprites(out, TRAINED_STYLES, options.core), out)
        timer.tell("noisy scenes")
        emoji_pictures.result()
        timer.tell("emoji pictures")
        _draw_all(pool, out, options.pixels)
        timer.tell("pictures of scenes")
    write_annotations(out, options.relations)
    write_vocabulary(out)
    if options.easy_vqa:
        build_easy_vqa(packages / "easy-vqa", out)
    write_json(out / "corpus.json", {"nouns": "core" if options.core else "all", "pixels": options.pixels})
    timer.tell("annotations")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/corpus/build", description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("out", type=pathlib.Path, help="a folder that does not exist yet")
    parser.add_argument("--core", action="store_true", help="scenes of 69 nouns instead of 184")
    parser.add_argument("--pixels", type=_positive, default=64, help="width of the pictures of scenes (%(default)s)")
    parser.add_argument("--relations", type=_positive, default=5, metavar="N",
                        help="annotations/scenes_train_xN.jsonl has scenes of several groups N times (%(default)s)")
    parser.add_argument("--extra", type=_positive, default=0, metavar="N",
                        help="N further scenes to train on, most of several groups: scenes_extra.json")
    parser.add_argument("--easy-vqa", action="store_true", help="easy-VQA too")
    options = parser.parse_args()
    if options.out.exists():
        print(f"{options.out} exists; name another folder, or remove it first", file=sys.stderr)
        return 2
    partial = options.out.with_name(options.out.name + ".partial")
    try:
        partial.mkdir(parents=True)
    except FileExistsError:
        print(f"{partial} exists: another build is running, or was stopped; remove it then", file=sys.stderr)
        return 2
    build(options.packages, partial, options)
    partial.rename(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
