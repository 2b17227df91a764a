"""Which scenes belong to which split. Combinations are held out by a hash of their words, so that the rule needs no
list, and holds for any vocabulary."""

import dataclasses
import hashlib

from words import ONLY_ALONE

# Styles of drawing (emoji.SETS). "fluent" and "fluentflat" have the same outlines and stay on one side.
TRAINED_STYLES = ("noto", "noto1", "twemoji", "fluent", "fluentflat")
UNSEEN_STYLES = ("fxemoji",)


@dataclasses.dataclass(frozen=True)
class Split:
    name: str
    size: int
    seed: int
    novelty: str               # what no scene of "train" has: "pair", "attr", "count", "noun"; "iid": nothing
    styles: tuple[str, ...] = TRAINED_STYLES


SCENE_SPLITS = (
    Split("train", 20000, 100, "iid"),
    Split("val", 1000, 101, "iid"),
    Split("test_iid", 1000, 102, "iid"),
    Split("test_pair", 1000, 103, "pair"),      # two nouns that are never together in train
    Split("test_attr", 1000, 104, "attr"),      # a colour that the noun never has in train
    Split("test_count", 1000, 105, "count"),    # a number of things that train never has
    Split("test_noun", 1000, 106, "noun"),      # nouns that train only shows alone
    Split("test_style", 1000, 107, "iid", UNSEEN_STYLES),
)


# Further scenes to train on: as many as are asked for, of the same rules as train's.
EXTRA_SEED = 208


def percentile(*words) -> int:
    """A number in 0..99 that the words fix."""
    return int(hashlib.md5("|".join(map(str, words)).encode()).hexdigest()[:8], 16) % 100


def is_held_pair(noun: str, other: str) -> bool:
    return percentile("pair", *sorted((noun, other))) < 10


def is_dev_pair(noun: str, other: str) -> bool:
    """Pairs that train has, and that a choice between ways of training may hold out: those of test_pair must not be
    looked at before the last evaluation."""
    return 10 <= percentile("pair", *sorted((noun, other))) < 15


def has_dev_pair(groups: list[dict]) -> bool:
    nouns = [group["noun"] for group in groups]
    return any(is_dev_pair(noun, other) for i, noun in enumerate(nouns) for other in nouns[i + 1:] if noun != other)


def is_held_colour(colour: str | None, noun: str) -> bool:
    return colour is not None and percentile("attr", colour, noun) < 12


def is_held_count(count: int, noun: str) -> bool:
    return count > 1 and percentile("count", count, noun) < 12


def novelties(groups: list[dict]) -> set[str]:
    """What in a scene is new to someone who saw only the training split."""
    found = set()
    nouns = [group["noun"] for group in groups]
    if any(is_held_pair(noun, other) for i, noun in enumerate(nouns) for other in nouns[i + 1:]):
        found.add("pair")
    if any(is_held_colour(group["real"], group["noun"]) for group in groups):
        found.add("attr")
    if any(is_held_count(group["n"], group["noun"]) for group in groups):
        found.add("count")
    if any(group["noun"] in ONLY_ALONE and (len(groups) > 1 or group["n"] > 1) for group in groups):
        found.add("noun")
    return found


def belongs(groups: list[dict], novelty: str) -> bool:
    """Whether a scene has exactly that novelty. A new colour must be one that captions may name ("col"), not only one
    that is seen."""
    found = novelties(groups)
    if novelty == "iid":
        return not found
    if novelty == "attr" and not any(is_held_colour(group["col"], group["noun"]) for group in groups):
        return False
    return found == {novelty}
