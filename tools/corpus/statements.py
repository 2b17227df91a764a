"""Statements about two scenes, true or false, as in NLVR2. Each comes once with a pair of which it is true and once
with one of which it is false: the words alone tell nothing."""

import random

from captions import with_article
from scenes import contents
from words import NUMBERS

# In this order, again and again.
_KINDS = ("both", "one", "none", "left", "right", "total", "more", "same")
_WITHOUT_NUMBER = ("both", "one", "none", "more", "same")
_FEWEST_SCENES = 3   # of a noun that is asked about
_TRIES = 80


def is_true(kind: str, left: int, right: int, number: int | None) -> bool:
    """`left` and `right`: how many of the noun each picture has; `number`: the one that the statement names."""
    return {"both": left > 0 and right > 0, "one": (left > 0) != (right > 0), "none": left == 0 and right == 0,
            "left": left == number, "right": right == number, "total": left + right == number, "more": left > right,
            "same": left == right and left > 0}[kind]


def sentence(kind: str, noun: str, plural: str, number: int | None) -> str:
    if kind == "both":
        return f"both images contain {with_article(noun)}"
    if kind == "one":
        return f"exactly one of the images contains {with_article(noun)}"
    if kind == "none":
        return f"neither image contains {with_article(noun)}"
    if kind == "more":
        return f"there are more {plural} in the left image than in the right image"
    if kind == "same":
        return f"both images have the same number of {plural}"
    counted = f"one {noun}" if number == 1 else f"{NUMBERS[number]} {plural}"
    if kind == "total":
        return f"there {'is' if number == 1 else 'are'} {counted} in total"
    return f"the {kind} image has exactly {counted}"


class StatementMaker:
    """Statements about pairs from a pool of scenes."""

    def __init__(self, scenes: list[dict], plurals: dict[str, str], draw: random.Random):
        self._counts = [contents(scene) for scene in scenes]
        self._plurals = plurals
        self._draw = draw
        self._with_noun: dict[str, list[int]] = {}
        for number, counts in enumerate(self._counts):
            for noun in counts:
                self._with_noun.setdefault(noun, []).append(number)
        self._nouns = [noun for noun, where in self._with_noun.items() if len(where) >= _FEWEST_SCENES]

    def statements(self, wanted: int) -> list[dict]:
        """[{left, right: numbers of scenes, sentence, label, kind}]; `wanted` is even."""
        found: list[dict] = []
        while len(found) < wanted:
            kind = _KINDS[len(found) // 2 % len(_KINDS)]
            noun = self._draw.choice(self._nouns)
            number = None if kind in _WITHOUT_NUMBER else self._draw.randint(1, 5 if kind == "total" else 4)
            pairs = self._pairs(kind, noun, number)
            if len(pairs) == 2:
                text = sentence(kind, noun, self._plurals[noun], number)
                found += [{"left": pairs[label][0], "right": pairs[label][1], "sentence": text, "label": label,
                           "kind": kind} for label in (True, False)]
        return found

    def _pairs(self, kind: str, noun: str, number: int | None) -> dict[bool, tuple[int, int]]:
        """A pair of which it is true and one of which it is false, as far as they are found."""
        found: dict[bool, tuple[int, int]] = {}
        for _ in range(_TRIES):
            left, right = self._scene_for(noun), self._scene_for(noun)
            counts = [self._counts[scene].get(noun, 0) for scene in (left, right)]
            if left == right or (kind != "none" and not any(counts)):
                continue
            found.setdefault(is_true(kind, *counts, number), (left, right))
            if len(found) == 2:
                break
        return found

    def _scene_for(self, noun: str) -> int:
        if self._draw.random() < 0.7:
            return self._draw.choice(self._with_noun[noun])
        return self._draw.randrange(len(self._counts))
