"""Questions about scenes, with their answers."""

import random

from captions import with_article
from scenes import contents

_KEPT = 3  # of the questions that a scene allows


def questions(scene: dict, nouns: list[str], draw: random.Random) -> list[tuple[str, str]]:
    """(question, answer), drawn from all that the scene allows. `nouns`: what may be asked for and be absent."""
    possible = _about_a_thing(scene, nouns, draw)
    if scene["type"] == "rel" and scene["groups"][0]["noun"] != scene["groups"][1]["noun"]:
        possible += _about_two(scene, draw)
    if scene["type"] in ("one", "many"):
        group = scene["groups"][0]
        possible += [("what is in the picture?", group["noun"]), ("what kind of thing is shown?", group["cat"])]
    possible.append(("what color is the background?", scene["bg"]))
    return draw.sample(possible, min(_KEPT, len(possible)))


def _about_a_thing(scene: dict, nouns: list[str], draw: random.Random) -> list[tuple[str, str]]:
    groups, counts = scene["groups"], contents(scene)
    group = draw.choice(groups)
    found = []
    if group["real"] and sum(other["noun"] == group["noun"] for other in groups) == 1:
        found.append((f"what color {_be(group)} the {_name(group)}?", group["real"]))
    absent = draw.choice([noun for noun in nouns if noun not in counts])
    return found + [(f"how many {group['plural']} are there?", str(counts[group["noun"]])),
                    (f"is there {with_article(group['noun'])} in the picture?", "yes"),
                    (f"is there {with_article(absent)} in the picture?", "no")]


def _about_two(scene: dict, draw: random.Random) -> list[tuple[str, str]]:
    first, second = scene["groups"]
    before, after = ("to the left of", "to the right of") if scene["axis"] == "h" else ("above", "below")
    true = draw.random() < 0.5
    found = [(f"what is {before} the {_name(second)}?", first["noun"]),
             (f"what is {after} the {_name(first)}?", second["noun"]),
             (f"{_be(first)} the {_name(first)} {before if true else after} the {_name(second)}?", _yes(true))]
    if first["n"] != second["n"]:
        found.append((f"are there more {first['plural']} than {second['plural']}?", _yes(first["n"] > second["n"])))
    return found


def _name(group: dict) -> str:
    return group["noun"] if group["n"] == 1 else group["plural"]


def _be(group: dict) -> str:
    return "is" if group["n"] == 1 else "are"


def _yes(true: bool) -> str:
    return "yes" if true else "no"
