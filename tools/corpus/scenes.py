"""Scenes: what is where. A scene is a plain object, kept as it is in the corpus' files:

    type    "one" thing, "many" of one kind, "rel": two groups side by side, "three" in a row
    bg      the background's colour
    groups  [{noun, plural, cat, n: how many, col: the colour that captions may name or null, real: the colour seen or
            null, spr: number of the sprite, paint: the colour it is turned to}]
    axis    of "rel": "h", the first group left of the second, or "v", above it
    size, pos   of "one": "small", "big" or null; of small ones the place, such as "top left"
    objs    [[group, x, y, size, mirrored]]: centres and sizes as shares of the picture

The same seed gives the same scenes: the order of draws is part of the format."""

from __future__ import annotations

import random
import typing

from splits import belongs
from words import ONLY_ALONE

if typing.TYPE_CHECKING:
    from sprites import Sprites

BACKGROUNDS = {"white": (255, 255, 255), "gray": (190, 190, 195), "black": (30, 30, 34), "green": (150, 205, 140),
               "blue": (165, 205, 245), "yellow": (250, 238, 165), "pink": (250, 205, 220)}

USUAL_TYPES = {"one": 0.28, "many": 0.22, "rel": 0.40, "three": 0.10}
# More of the scenes that are hard to learn, for training only.
CROWDED_TYPES = {"one": 0.10, "many": 0.15, "rel": 0.55, "three": 0.20}
_KINDS_OF_THINGS = {"one": 1, "many": 1, "rel": 2, "three": 3}
# Types that cannot show a novelty.
_POINTLESS = {"pair": ("one", "many"), "noun": ("one",), "count": ("one", "three")}
_PLACES = {(0, 0): "top left", (1, 0): "top right", (0, 1): "bottom left", (1, 1): "bottom right", (0.5, 0.5): "middle"}


class SceneMaker:
    """Draws scenes that have one novelty (see splits.py). `types`: how often each type is tried."""

    def __init__(self, sprites: Sprites, draw: random.Random, novelty: str, types: dict[str, float] = USUAL_TYPES):
        self._sprites = sprites
        self._draw = draw
        self._novelty = novelty
        self._types = types

    def scene(self) -> dict:
        while True:
            kind = self._draw.choices(list(self._types), list(self._types.values()))[0]
            if kind in _POINTLESS.get(self._novelty, ()):
                continue
            groups = self._groups(kind)
            if groups is None or not belongs(groups, self._novelty):
                continue
            background = self._draw.choice(list(BACKGROUNDS)) if self._draw.random() < 0.6 else "white"
            if not _stands_out(groups, background):
                continue
            axis = self._draw.choice("hhv") if kind == "rel" else "h"
            return self._placed({"type": kind, "bg": background, "groups": groups, "axis": axis})

    def _groups(self, kind: str) -> list[dict] | None:
        """None for two groups of one noun that no words would tell apart."""
        draw = self._draw
        nouns = draw.sample(self._sprites.nouns, _KINDS_OF_THINGS[kind])
        if self._novelty == "noun" and not any(noun in ONLY_ALONE for noun in nouns):
            nouns[0] = draw.choice(ONLY_ALONE)
        same = kind == "rel" and draw.random() < 0.15  # the same noun in two colours: which is where?
        if same:
            nouns[1] = nouns[0]
        counts = [1] * len(nouns)
        if kind == "many":
            counts = [draw.randint(2, 4)]
        elif kind == "rel":
            counts = [draw.choices([1, 2, 3], [0.65, 0.22, 0.13])[0] for _ in nouns]
        groups = [self._group(noun, count, draw.random() < 0.6) for noun, count in zip(nouns, counts)]
        if kind == "rel" and nouns[0] == nouns[1]:
            colours = [group["col"] for group in groups]
            if None in colours or colours[0] == colours[1] or counts != [1, 1]:
                return None
        return groups

    def _group(self, noun: str, count: int, recolour: bool) -> dict:
        draw = self._draw
        number = draw.choice(self._sprites.of_noun[noun])
        sprite = self._sprites.rows[number]
        colours = ([sprite["colour"]] if sprite["colour"] else []) + list(sprite["variants"])
        colour = None
        if recolour and colours:
            colour = draw.choice(colours)
        elif sprite["colour"] and draw.random() < 0.5:
            colour = sprite["colour"]
        return {"noun": noun, "plural": sprite["plural"], "cat": sprite["cat"], "n": count, "col": colour,
                "real": colour or sprite["colour"], "spr": number, "paint": colour}

    def _placed(self, scene: dict) -> dict:
        objects = getattr(self, "_place_" + scene["type"])(scene)
        scene["objs"] = [[group] + [round(share, 3) for share in place] + [int(self._draw.random() < 0.3)]
                         for group, *place in objects]
        return scene

    def _place_one(self, scene: dict) -> list[tuple]:
        scene["size"] = self._draw.choice(["small", "big", None])
        if scene["size"] == "small":
            x, y = self._draw.choice(list(_PLACES))
            scene["pos"] = _PLACES[x, y]
            return [(0, 0.19 + 0.62 * x, 0.19 + 0.62 * y, 0.32)]
        size = self._draw.uniform(0.85, 0.95) if scene["size"] == "big" else self._draw.uniform(0.55, 0.75)
        return [(0, 0.5, 0.5, size)]

    def _place_many(self, scene: dict) -> list[tuple]:
        count, stacked = scene["groups"][0]["n"], self._draw.random() < 0.25
        cell = (0.02, 0.02, 0.98, 0.98)
        if count == 4 and self._draw.random() < 0.6:
            return [(0, *place) for place in self._square(cell)]
        return [(0, *place) for place in self._row(cell, count, stacked)]

    def _place_rel(self, scene: dict) -> list[tuple]:
        beside = scene["axis"] == "h"
        cells = ((0.0, 0.08, 0.48, 0.92), (0.52, 0.08, 1.0, 0.92)) if beside else \
            ((0.08, 0.0, 0.92, 0.48), (0.08, 0.52, 0.92, 1.0))
        return [(number, *place) for number, (cell, group) in enumerate(zip(cells, scene["groups"]))
                for place in self._row(cell, group["n"], stacked=beside)]

    def _place_three(self, _scene: dict) -> list[tuple]:
        return [(i, (i + 0.5) / 3, 0.5 + self._draw.uniform(-0.08, 0.08), 0.31) for i in range(3)]

    def _square(self, cell: tuple) -> list[tuple]:
        """Four things in a square."""
        left, top, right, bottom = cell
        width, height = right - left, bottom - top
        centres = [(left + width * x, top + height * y) for x in (0.27, 0.73) for y in (0.27, 0.73)]
        return self._sized(centres, min(width, height) * 0.44)

    def _row(self, cell: tuple, count: int, stacked: bool) -> list[tuple]:
        """(x, y, size) of things in a row, or one over the other, with a little disorder."""
        left, top, right, bottom = cell
        width, height = right - left, bottom - top
        if count == 1:
            return [(left + width / 2, top + height / 2, min(width, height) * self._draw.uniform(0.78, 0.95))]
        if stacked:
            centres = [(left + width / 2 + self._jitter() * width, top + height * (i + 0.5) / count)
                       for i in range(count)]
            return self._sized(centres, min(width, height / count) * 0.92)
        centres = [(left + width * (i + 0.5) / count, top + height / 2 + self._jitter() * height)
                   for i in range(count)]
        return self._sized(centres, min(width / count, height) * 0.92)

    def _jitter(self) -> float:
        return self._draw.uniform(-0.06, 0.06)

    def _sized(self, centres: list[tuple], largest: float) -> list[tuple]:
        return [(x, y, largest * self._draw.uniform(0.9, 1)) for x, y in centres]


def _stands_out(groups: list[dict], background: str) -> bool:
    """Things of the background's colour vanish in it, and those without a colour word may on grey and black."""
    seen = [group["real"] for group in groups]
    return background not in seen and not (background in ("black", "gray") and None in seen)


def contents(scene: dict) -> dict[str, int]:
    """Noun -> how many."""
    counts: dict[str, int] = {}
    for group in scene["groups"]:
        counts[group["noun"]] = counts.get(group["noun"], 0) + group["n"]
    return counts


def signature(scene: dict) -> tuple:
    """Two scenes of the same signature have the same captions."""
    groups = tuple((group["noun"], group["n"], group["col"]) for group in scene["groups"])
    return scene["type"], scene["axis"], scene["bg"], groups, scene.get("pos")
