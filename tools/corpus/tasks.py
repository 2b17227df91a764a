"""The splits of scenes, and what is made of them: questions, statements about pairs, retrieval."""

import pathlib
import random

from captions import captions
from files import write_json, write_lines
from questions import questions
from scenes import CROWDED_TYPES, SceneMaker, signature
from splits import EXTRA_SEED, SCENE_SPLITS, TRAINED_STYLES, Split, has_dev_pair
from sprites import Sprites
from statements import StatementMaker
from words import CORE, all_nouns

TASK_SPLITS = ("train", "val", "test_iid", "test_pair", "test_style")
RETRIEVAL_SPLITS = ("val", "test_iid", "test_pair", "test_style")
_TASK_SEED = 7


def scene_rows(split: Split, sprites: Sprites) -> list[dict]:
    """[{id, captions, scene}]. Outside of training no two scenes have the same captions."""
    draw = random.Random(split.seed)
    maker = SceneMaker(sprites, draw, split.novelty)
    rows: list[dict] = []
    seen: set[tuple] = set()
    while len(rows) < split.size:
        scene = maker.scene()
        written = captions(scene, draw)
        if split.name != "train" and signature(scene) in seen:
            continue
        seen.add(signature(scene))
        rows.append({"id": f"{split.name}-{len(rows):05d}", "captions": written, "scene": scene})
    return rows


def build_scenes(out: pathlib.Path, core_only: bool) -> dict[str, list[dict]]:
    """Writes scenes/SPLIT.jsonl, and of train scenes/dev_pair.jsonl; returns the splits' rows."""
    found = {}
    for split in SCENE_SPLITS:
        found[split.name] = scene_rows(split, Sprites(out, split.styles, core_only))
        write_lines(out / f"scenes/{split.name}.jsonl", found[split.name])
    write_lines(out / "scenes/dev_pair.jsonl", (row for row in found["train"] if has_dev_pair(row["scene"]["groups"])))
    return found


def build_extra(out: pathlib.Path, core_only: bool, count: int) -> None:
    """Writes scenes/extra.jsonl: scenes that hold nothing of what the tests hold out, most with several groups; and
    nlvr/extra.jsonl: two statements for each."""
    draw = random.Random(EXTRA_SEED)
    maker = SceneMaker(Sprites(out, TRAINED_STYLES, core_only), draw, "iid", CROWDED_TYPES)
    rows = [{"id": f"extra-{number:05d}", "captions": captions(scene, draw), "scene": scene}
            for number, scene in enumerate(maker.scene() for _ in range(count))]
    write_lines(out / "scenes/extra.jsonl", rows)
    _write_statements(out, "extra", rows, 2 * count, draw)


def _write_statements(out: pathlib.Path, split: str, rows: list[dict], wanted: int, draw: random.Random) -> None:
    plurals = {noun.singular: noun.plural for noun in all_nouns()}
    statements = StatementMaker([row["scene"] for row in rows], plurals, draw).statements(wanted)
    for statement in statements:
        for side in ("left", "right"):
            statement[side] = rows[statement[side]]["id"]
    write_lines(out / f"nlvr/{split}.jsonl", statements)


def build_tasks(rows: dict[str, list[dict]], out: pathlib.Path, core_only: bool) -> None:
    """Writes vqa/SPLIT.jsonl, nlvr/SPLIT.jsonl and retrieval/SPLIT.json."""
    draw = random.Random(_TASK_SEED)
    nouns = sorted(noun.singular for noun in all_nouns() if not core_only or noun.singular in CORE)
    for split in TASK_SPLITS:
        of_split = rows[split]
        asked = [{"image": row["id"], "question": question, "answer": answer}
                 for row in of_split for question, answer in questions(row["scene"], nouns, draw)]
        write_lines(out / f"vqa/{split}.jsonl", asked)
        _write_statements(out, split, of_split, len(of_split), draw)
    for split in RETRIEVAL_SPLITS:
        write_json(out / f"retrieval/{split}.json", {"images": [row["id"] for row in rows[split]],
                                                     "captions": [row["captions"] for row in rows[split]]})
