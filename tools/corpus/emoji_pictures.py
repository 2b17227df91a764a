"""The clean pairs: single emoji on white, with the names that people gave them."""

import pathlib
import re

from PIL import Image

from emoji import Emoji, EmojiTable
from files import write_lines
from icons import on_white
from splits import TRAINED_STYLES, UNSEEN_STYLES, percentile

_SIZE = 96
_MOST_NAMES = 5
_GROUPS = {"smileys & emotion", "people & body", "animals & nature", "food & drink", "travel & places", "activities",
           "objects", "symbols"}
_LEFT_OUT = ("keycap", "alphanum")   # subgroups
_NAMERS = ("github", "iamcal", "joypixels", "emojibase")


def _words(name: str) -> list[str]:
    return sorted(re.findall(r"\w+", name))


def names(emoji: Emoji) -> list[tuple[str, str]]:
    """(name, who gave it), CLDR's first, at most five; without leftovers of short codes ("tone3", "rabbit2") and
    without the same words in another order."""
    given = [("cldr", emoji.label)]
    if emoji.unicode_name:
        given.append(("unicode", emoji.unicode_name))
    given += [(namer, name) for namer in _NAMERS for name in emoji.shortcodes.get(namer, [])]
    found: list[tuple[str, str]] = []
    for namer, name in given:
        name = re.sub(r"\s+", " ", name.replace("_", " ").replace("’", "'").lower()).strip(": ")
        if namer != "cldr":
            name = name.replace("-", " ")
        name = name.replace(": ", ", ")
        if namer != "cldr":
            leftover = re.search(r"tone ?\d|\d$", name)
            if leftover or len(name) <= 2 or any(_words(name) == _words(other) for other, _ in found):
                continue
        found.append((name, namer))
    return found[:_MOST_NAMES]


def is_new_concept(emoji: Emoji) -> bool:
    """Never trained on, in no style and no skin tone."""
    return percentile("concept", emoji.base) < 8


def _split(emoji: Emoji, style: str) -> str:
    if style in UNSEEN_STYLES:
        return "test_style"
    if is_new_concept(emoji):
        return "test_novel"
    if emoji.tone is not None and percentile("tone", emoji.code) < 15:
        return "test_comp"   # a known role in a skin tone that it never had
    return "val" if percentile("val", emoji.code, style) < 3 else "train"


def _is_used(emoji: Emoji, style: str) -> bool:
    if emoji.group not in _GROUPS or emoji.subgroup in _LEFT_OUT:
        return False
    # Couples of two tones are left out; "fluent" draws slowly what "fluentflat" has in the same outlines.
    return emoji.tone is None or (isinstance(emoji.tone, int) and style != "fluent")


def build_emoji_pictures(table: EmojiTable, out: pathlib.Path) -> None:
    """Writes clean/img/*.png and clean/SPLIT.jsonl."""
    (out / "clean/img").mkdir(parents=True)
    rows: dict[str, list[dict]] = {}
    for style in TRAINED_STYLES + UNSEEN_STYLES:
        drawings, icons = table.drawings(style), table.icon_set(style)
        for code, emoji in table.emoji.items():
            if code not in drawings or not _is_used(emoji, style):
                continue
            path = f"clean/img/{style}-{code.lower()}.png"
            on_white(icons.render(drawings[code], _SIZE), _SIZE, Image.BICUBIC).save(out / path)
            named = names(emoji)
            rows.setdefault(_split(emoji, style), []).append({
                "image": path, "vendor": style, "code": code, "captions": [name for name, _ in named],
                "sources": [namer for _, namer in named], "tags": emoji.tags, "group": emoji.group,
                "subgroup": emoji.subgroup, "tone": emoji.tone, "seen_concept": not is_new_concept(emoji)})
    for split, of_split in rows.items():
        write_lines(out / f"clean/{split}.jsonl", of_split)
