"""easy-VQA (PyPI easy-vqa 1.0, MIT): coloured shapes with questions, in the form of the corpus' own."""

import json
import pathlib
import shutil

from files import write_json


def build_easy_vqa(package: pathlib.Path, out: pathlib.Path) -> None:
    """Writes easy_vqa/SPLIT/*.png, annotations/easy_vqa_SPLIT.json and easy_vqa_answers.txt."""
    data = package / "easy_vqa/data"
    for split in ("train", "test"):
        shutil.copytree(data / split / "images", out / "easy_vqa" / split)
        asked = json.loads((data / split / "questions.json").read_text(encoding="utf-8"))
        write_json(out / f"annotations/easy_vqa_{split}.json", [
            {"question_id": number, "image": f"easy_vqa/{split}/{image}.png", "question": question, "answer": [answer],
             "dataset": "vqa"} for number, (question, answer, image) in enumerate(asked)])
    answers = sorted((data / "answers.txt").read_text(encoding="utf-8").split())
    (out / "annotations/easy_vqa_answers.txt").write_text("".join(answer + "\n" for answer in answers), encoding="utf-8")
