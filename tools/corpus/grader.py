"""Judges a caption by the scene it is about: every fact that it states must be true. It needs no references, and a
caption may leave things out; so look at how many facts are stated, too.

It reads the words of captions.py, and nothing else. Sizes ("a small dog") are not judged."""

import dataclasses
import re

from words import COLOURS, NUMBERS, all_nouns

_ANY_COLOUR = "|".join(COLOURS)
_COUNTS = {"a": 1, "an": 1} | {word: NUMBERS.index(word) for word in ("two", "three", "four")}
_BACKGROUND = re.compile(rf" on an? ({_ANY_COLOUR}) background")
_PLACE = re.compile(r"in the (top left|top right|bottom left|bottom right|middle)")
# (words between two things, axis of the scene, which of its groups is named first)
_RELATIONS = (
    (re.compile(r"to the left of|on the left of"), "h", 0),
    (re.compile(r"to the right of|on the right of"), "h", 1),
    (re.compile(r"on the left and"), "h", 0),
    (re.compile(r" above | over |at the top and"), "v", 0),
    (re.compile(r" below | under "), "v", 1),
)


@dataclasses.dataclass(frozen=True)
class Thing:
    noun: str
    count: int | None    # None: "a group of"
    colour: str | None


@dataclasses.dataclass(frozen=True)
class Verdict:
    """True or False for what the caption states, None for what it does not. Counts, colours and relations are judged
    only where the nouns are right."""
    nouns: bool
    count: bool | None = None
    colour: bool | None = None
    relation: bool | None = None
    place: bool | None = None
    background: bool | None = None
    stated: int = 0      # how many facts: nouns, their numbers and colours, relation, place, background

    @property
    def all(self) -> bool:
        return False not in (self.nouns, self.count, self.colour, self.relation, self.place, self.background)


class Grader:
    def __init__(self):
        nouns = all_nouns()
        self._nouns = {noun.plural: noun.singular for noun in nouns} | {noun.singular: noun.singular for noun in nouns}
        longest_first = sorted(self._nouns, key=lambda name: (-len(name), name))
        self._thing = re.compile(
            rf"\b(an?|two|three|four|group of)\s+(?:(?:small|tiny|big|large)\s+)?(?:({_ANY_COLOUR})\s+)?"
            rf"({'|'.join(map(re.escape, longest_first))})\b")

    def things(self, caption: str) -> list[Thing]:
        return [Thing(self._nouns[noun], _COUNTS.get(count), colour or None)
                for count, colour, noun in self._thing.findall(caption)]

    def grade(self, caption: str, scene: dict) -> Verdict:
        background = _BACKGROUND.search(caption)
        if background:
            caption = caption[:background.start()] + caption[background.end():]
        things = self.things(caption)
        if not things:
            return Verdict(nouns=False)
        place = _PLACE.search(caption)
        right_nouns = {thing.noun for thing in things} == {group["noun"] for group in scene["groups"]}
        said = sum(1 + (thing.count is not None) + (thing.colour is not None) for thing in things)
        return Verdict(
            nouns=right_nouns,
            count=_are_counts_right(things, scene) if right_nouns else None,
            colour=_are_colours_right(things, scene) if right_nouns else None,
            relation=_is_relation_right(caption, things, scene) if right_nouns else None,
            place=_is_place_right(place.group(1), scene) if place else None,
            background=background.group(1) == scene["bg"] if background else None,
            stated=said + sum(bool(fact) for fact in (_says_relation(caption, things), place, background)))


def _how_many(scene: dict, noun: str, colour: str | None = None) -> int:
    return sum(group["n"] for group in scene["groups"]
               if group["noun"] == noun and (colour is None or group["real"] == colour))


def _are_counts_right(things: list[Thing], scene: dict) -> bool:
    """Of all things; each group of the scene must be named, once. Where two groups have one noun, the colour tells
    which is counted."""
    groups = scene["groups"]
    one_noun = len({group["noun"] for group in groups}) < len(groups)
    return len(things) == len(groups) and all(
        _how_many(scene, thing.noun, thing.colour if one_noun else None)
        == (thing.count if thing.count is not None else _how_many(scene, thing.noun))
        for thing in things)


def _are_colours_right(things: list[Thing], scene: dict) -> bool | None:
    named = [thing for thing in things if thing.colour]
    return all(_how_many(scene, thing.noun, thing.colour) for thing in named) if named else None


def _says_relation(caption: str, things: list[Thing]) -> bool:
    """Three things are always told from left to right."""
    told = "next to" in caption or any(words.search(caption) for words, _, _ in _RELATIONS)
    return len(things) == 3 or (len(things) == 2 and told)


def _is_relation_right(caption: str, things: list[Thing], scene: dict) -> bool | None:
    groups = scene["groups"]
    if scene["type"] == "three":
        return [thing.noun for thing in things] == [group["noun"] for group in groups]
    if scene["type"] != "rel" or len(things) != 2:
        return None
    for words, axis, first in _RELATIONS:
        if words.search(caption):
            order = [_group_of(thing, groups) for thing in things]
            return scene["axis"] == axis and order == [first, 1 - first]
    return scene["axis"] == "h" if "next to" in caption else None


def _group_of(thing: Thing, groups: list[dict]) -> int | None:
    """The first group that a thing can be."""
    return next((number for number, group in enumerate(groups)
                 if group["noun"] == thing.noun and thing.colour in (None, group["real"])), None)


def _is_place_right(place: str, scene: dict) -> bool:
    """Things that are not in a corner are in the middle."""
    return scene.get("pos", "middle") == place
