"""Scenes with texts like those of the web, whose truth is known: what a filter must tell apart.

    good         a true caption
    partial      true keywords: "car red vehicle clip art"
    wrong        another picture's caption
    boilerplate  a title of openclipart that says nothing
    subtle       a true caption with one word changed"""

from __future__ import annotations

import pathlib
import random
import typing

from captions import captions
from files import read_lines, write_lines
from grader import Grader
from scenes import SceneMaker

if typing.TYPE_CHECKING:
    from sprites import Sprites

_SCENES = 12000
_SEED = 11
_SWAPPED = {"left": "right", "right": "left", "above": "below", "below": "above", "over": "under", "under": "over",
            "red": "blue", "blue": "green", "green": "red", "yellow": "purple", "two": "three", "three": "two",
            "four": "two", "purple": "orange", "orange": "pink", "pink": "black"}


class NoiseMaker:
    def __init__(self, scenes: list[dict], titles: list[str], draw: random.Random):
        """`titles`: what is written under pictures of all kinds."""
        self._scenes = scenes
        self._titles = titles
        self._draw = draw
        self._grader = Grader()
        self.captions = [captions(scene, draw) for scene in scenes]

    def text(self, number: int) -> tuple[str, str]:
        """A text for one scene, and its truth. 69 % are not good: openclipart's titles have 59 %."""
        draw, dice = self._draw, self._draw.random()
        if dice < 0.30:
            return draw.choice(self.captions[number]), "good"
        if dice < 0.45:
            return self._keywords(self._scenes[number]["groups"]), "partial"
        if dice < 0.75:
            return self._judged(self._caption_of_another(), "wrong", number)
        if dice < 0.90:
            return draw.choice(self._titles), "boilerplate"
        words = draw.choice(self.captions[number]).split()
        places = [place for place, word in enumerate(words) if word in _SWAPPED]
        if not places:
            return self._judged(self._caption_of_another(), "wrong", number)
        place = draw.choice(places)
        words[place] = _SWAPPED[words[place]]
        return self._judged(" ".join(words), "subtle", number)

    def _judged(self, text: str, truth: str, number: int) -> tuple[str, str]:
        """Some wrong texts happen to be true."""
        return text, "good" if self._grader.grade(text, self._scenes[number]).all else truth

    def _caption_of_another(self) -> str:
        return self._draw.choice(self.captions[self._draw.randrange(len(self.captions))])

    def _keywords(self, groups: list[dict]) -> str:
        return self._draw.choice([
            groups[0]["noun"], " ".join(self._tags(groups)), " ".join(self._tags(groups)) + " clip art",
            f"{groups[-1]['noun']} {self._draw.randint(1, 40)}", "free " + groups[0]["noun"] + " icon"])

    def _tags(self, groups: list[dict]) -> list[str]:
        tags = []
        for group in groups:
            if group["real"] and self._draw.random() < 0.4:
                tags.append(group["real"])
            tags += [group["noun"], group["cat"]]
        return tags


def build_noisy_scenes(sprites: Sprites, out: pathlib.Path) -> None:
    """Reads noisy/web.jsonl for its titles; writes noisy/scenes.jsonl."""
    draw = random.Random(_SEED)
    titles = [row["text"] for row in read_lines(out / "noisy/web.jsonl") if row["generic_title"]]
    maker = SceneMaker(sprites, draw, "iid")
    scenes = [maker.scene() for _ in range(_SCENES)]
    noise = NoiseMaker(scenes, titles, draw)
    rows = []
    for number, scene in enumerate(scenes):
        text, truth = noise.text(number)
        rows.append({"id": f"noisy-{number:05d}", "text": text, "truth": truth, "scene": scene,
                     "good": noise.captions[number]})
    write_lines(out / "noisy/scenes.jsonl", rows)
