"""The corpus in the forms that `blip eval` and the trainer read. Pictures are named relative to the corpus' folder."""

import pathlib
from collections.abc import Iterable

from files import read_lines, write_json, write_lines
from splits import SCENE_SPLITS, has_dev_pair
from tasks import TASK_SPLITS

CLEAN_SPLITS = ("train", "val", "test_comp", "test_novel", "test_style")
SEVERAL_GROUPS = ("rel", "three")   # scenes from which relations are learnt


def picture_of(scene_id: str) -> str:
    """"test_pair-00012" -> its file's name."""
    split = scene_id.rsplit("-", 1)[0]
    return f"noisy/scenes/{scene_id}.png" if split == "noisy" else f"scenes/{split}/{scene_id}.png"


def _coco(pictures: list[tuple[str, list[str]]]) -> dict:
    """COCO's form of [(picture, captions)]; a picture's id is its number, from 0."""
    captions = [(number, caption) for number, (_, written) in enumerate(pictures) for caption in written]
    return {"images": [{"id": number, "file_name": name} for number, (name, _) in enumerate(pictures)],
            "annotations": [{"id": number, "image_id": image, "caption": caption}
                            for number, (image, caption) in enumerate(captions)]}


def write_annotations(out: pathlib.Path, relations: int) -> None:
    """Writes annotations/. `relations`: how often scenes of several groups stand in scenes_train_xN.jsonl, and in
    scenes_dev_train_xN.jsonl. "dev": without the pairs of dev_pair."""
    to = out / "annotations"
    for split in [split.name for split in SCENE_SPLITS] + ["dev_pair"]:
        _write_scenes(to / f"scenes_{split}.json", read_lines(out / f"scenes/{split}.jsonl"))
    if (out / "scenes/extra.jsonl").exists():
        extra = list(read_lines(out / "scenes/extra.jsonl"))
        _write_scenes(to / "scenes_extra.json", extra)
        _write_scenes(to / "scenes_dev_extra.json", _without_dev_pairs(extra))
        _write_statements(out, to, "extra")
    for split in CLEAN_SPLITS:
        rows = [(row["image"], row["captions"]) for row in read_lines(out / f"clean/{split}.jsonl")]
        write_json(to / f"clean_{split}.json", _coco(rows))
    training = list(read_lines(out / "scenes/train.jsonl"))
    _write_weighted(to / f"scenes_train_x{relations}.jsonl", training, relations)
    _write_weighted(to / f"scenes_dev_train_x{relations}.jsonl", _without_dev_pairs(training), relations)
    write_lines(to / "noisy_scenes.jsonl", (
        {"image": picture_of(row["id"]), "caption": row["text"], "truth": row["truth"]}
        for row in read_lines(out / "noisy/scenes.jsonl")))
    write_lines(to / "web.jsonl", ({"image": row["image"], "caption": row["text"], "source": row["source"]}
                                   for row in read_lines(out / "noisy/web.jsonl")))
    for split in TASK_SPLITS:
        _write_task(out, to, split)


def _without_dev_pairs(rows: Iterable[dict]) -> list[dict]:
    return [row for row in rows if not has_dev_pair(row["scene"]["groups"])]


def _write_scenes(path: pathlib.Path, rows: Iterable[dict]) -> None:
    write_json(path, _coco([(picture_of(row["id"]), row["captions"]) for row in rows]))


def _write_weighted(path: pathlib.Path, rows: list[dict], relations: int) -> None:
    write_lines(path, ({"image": picture_of(row["id"]), "caption": row["captions"]} for row in rows
                       for _ in range(relations if row["scene"]["type"] in SEVERAL_GROUPS else 1)))


def _write_task(out: pathlib.Path, to: pathlib.Path, split: str) -> None:
    """Questions and statements in the BLIP authors' form."""
    questions = list(read_lines(out / f"vqa/{split}.jsonl"))
    write_json(to / f"vqa_{split}.json", [
        {"question_id": number, "image": picture_of(row["image"]), "question": row["question"],
         "answer": [row["answer"]], "dataset": "vqa"} for number, row in enumerate(questions)])
    if split == "train":
        answers = sorted({row["answer"] for row in questions})
        (to / "vqa_answers.txt").write_text("".join(answer + "\n" for answer in answers), encoding="utf-8")
    _write_statements(out, to, split)


def _write_statements(out: pathlib.Path, to: pathlib.Path, split: str) -> None:
    write_json(to / f"nlvr_{split}.json", [
        {"images": [picture_of(row["left"]), picture_of(row["right"])], "sentence": row["sentence"],
         "label": str(row["label"])} for row in read_lines(out / f"nlvr/{split}.jsonl")])
