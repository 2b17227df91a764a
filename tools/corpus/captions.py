"""Captions of scenes, from templates: true by construction. They leave things out, as people do."""

import random

from words import NUMBERS

_CAPTIONS = 5
_TRIES = 60


def with_article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" and not noun.startswith(("uni", "eu")) else "a ") + noun


def captions(scene: dict, draw: random.Random) -> list[str]:
    """Five different ones, or fewer where the scene has not so many. The same seed gives the same captions."""
    write = {"one": _one, "many": _many, "rel": _relation, "three": _three}[scene["type"]]
    groups = scene["groups"]
    same_noun = len(groups) == 2 and groups[0]["noun"] == groups[1]["noun"]
    found: list[str] = []
    for _ in range(_TRIES):
        things = [_thing(group, draw, 1.0 if same_noun else 0.8) for group in groups]
        background = f" on a {scene['bg']} background" if draw.random() < 0.45 else ""
        caption = write(scene, things, background, draw)
        if caption not in found:
            found.append(caption)
        if len(found) == _CAPTIONS:
            break
    return found


def _thing(group: dict, draw: random.Random, colour_chance: float) -> str:
    """"a green dog", "two dogs"."""
    colour = group["col"] + " " if group["col"] and draw.random() < colour_chance else ""
    if group["n"] == 1:
        return with_article(colour + group["noun"])
    return f"{NUMBERS[group['n']]} {colour}{group['plural']}"


def _one(scene: dict, things: list[str], background: str, draw: random.Random) -> str:
    thing = things[0]
    if scene["size"] and draw.random() < 0.6:
        size = draw.choice({"small": ["small", "tiny"], "big": ["big", "large"]}[scene["size"]])
        thing = with_article(f"{size} {_without_first_word(thing)}")
    place, where = scene.get("pos"), ""
    if place and draw.random() < 0.7:
        where = " in the middle" if place == "middle" else f" in the {place} corner"
    return draw.choice([thing + where + background, "a picture of " + thing + where + background,
                        "there is " + thing + where, thing + background])


def _many(_scene: dict, things: list[str], background: str, draw: random.Random) -> str:
    thing = things[0]
    return draw.choice([thing + background, "there are " + thing, "a picture of " + thing + background,
                        "a group of " + _without_first_word(thing) + background])


def _relation(scene: dict, things: list[str], background: str, draw: random.Random) -> str:
    first, second = things
    if scene["axis"] == "h":
        caption = draw.choice([
            f"{first} to the left of {second}", f"{second} to the right of {first}", f"{first} next to {second}",
            f"{first} and {second}", f"{first} on the left and {second} on the right",
            f"{second} on the right of {first}"])
    else:
        caption = draw.choice([
            f"{first} above {second}", f"{second} below {first}", f"{first} over {second}", f"{second} under {first}",
            f"{first} at the top and {second} at the bottom"])
    return caption + (background if draw.random() < 0.5 else "")


def _three(_scene: dict, things: list[str], background: str, draw: random.Random) -> str:
    first, second, third = things
    caption = draw.choice([f"{first}, {second} and {third}", f"from left to right, {first}, {second} and {third}",
                           f"{first}, {second} and {third} in a row"])
    return caption + (background if draw.random() < 0.3 else "")


def _without_first_word(text: str) -> str:
    return text.split(" ", 1)[1]
