"""Emoji: their names and codes (CLDR, by way of emojibase), and the sets of drawings (Iconify's packages).

A code is the hexadecimal code points joined by dashes, without variation selectors and leading zeros: 1F34E,
1F468-1F3FD-200D-2708."""

import dataclasses
import functools
import json
import pathlib
import re

from icons import IconSet

# The names that the corpus' files use -> npm packages.
SETS = {
    "noto": "noto",
    "noto1": "noto-v1",
    "twemoji": "twemoji",
    "fluent": "fluent-emoji",
    "fluentflat": "fluent-emoji-flat",
    "fxemoji": "fxemoji",
}

# These say which code each drawing has; the others only have names like "red-apple".
_SETS_WITH_CODES = ("fluentflat", "noto", "twemoji")
_SHORTCODES = ("github", "iamcal", "joypixels", "emojibase", "cldr")


@dataclasses.dataclass
class Emoji:
    code: str
    label: str                          # CLDR's short name
    tags: list[str]                     # keywords of the emoji without a skin tone
    group: str | None
    subgroup: str | None
    tone: int | list[int] | None        # skin tone; a list where two people have one each
    base: str                           # code without skin tones
    shortcodes: dict[str, list[str]]    # by who coined them
    unicode_name: str | None


def _normalised_code(code: str) -> str:
    return "-".join(part.lstrip("0") for part in code.upper().split("-") if part != "FE0F")


def _read(path: pathlib.Path):
    return json.loads(path.read_text(encoding="utf-8"))


def _slug(name: str) -> str:
    name = name.lower().replace("’", "").replace("'", "")
    for accented, plain in (("ñ", "n"), ("é", "e"), ("ô", "o"), ("ã", "a")):
        name = name.replace(accented, plain)
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-")


class EmojiTable:
    """All emoji, and which drawing of each set shows which of them."""

    def __init__(self, node_modules: pathlib.Path):
        self._node_modules = node_modules
        self.emoji: dict[str, Emoji] = self._read_emoji()

    def _read_emoji(self) -> dict[str, Emoji]:
        folder = self._node_modules / "emojibase-data/en"
        shortcodes: dict[str, dict[str, list[str]]] = {}
        for source in _SHORTCODES:
            for code, names in _read(folder / f"shortcodes/{source}.json").items():
                names = [names] if isinstance(names, str) else names
                shortcodes.setdefault(_normalised_code(code), {})[source] = names
        unicode_names = {_normalised_code(row["unified"]): row.get("name")
                         for row in _read(self._node_modules / "emoji-datasource-google/emoji.json")}
        messages = _read(folder / "messages.json")
        groups = {row["order"]: row["message"] for row in messages["groups"]}
        subgroups = {row["order"]: row["message"] for row in messages["subgroups"]}
        table = {}
        for row in _read(folder / "data.json"):
            for form in [row] + row.get("skins", []):
                code = _normalised_code(form["hexcode"])
                table[code] = Emoji(
                    code, form["label"], row.get("tags", []), groups.get(row.get("group")),
                    subgroups.get(row.get("subgroup")), form.get("tone") if form is not row else None,
                    _normalised_code(row["hexcode"]), shortcodes.get(code, {}), unicode_names.get(code))
        return table

    def by_label(self) -> dict[str, str]:
        """CLDR name -> code; of several the first."""
        found: dict[str, str] = {}
        for code, emoji in self.emoji.items():
            found.setdefault(emoji.label, code)
        return found

    @functools.cache
    def icon_set(self, style: str) -> IconSet:
        return IconSet(self._node_modules / "@iconify-json" / SETS[style])

    def _coded(self, style: str) -> dict[str, str]:
        """Code -> name, where the set tells."""
        found: dict[str, str] = {}
        icons = self.icon_set(style)
        for code, name in icons.codes.items():
            code = _normalised_code(code)
            if code in self.emoji and icons.drawing(name):
                found.setdefault(code, name)
        return found

    @functools.cache
    def _codes_by_name(self) -> dict[str, str]:
        """For sets without codes: what a drawing's name may mean, the surest source first."""
        codes: dict[str, str] = {}
        for style in _SETS_WITH_CODES:
            for code, name in self._coded(style).items():
                codes.setdefault(name, code)
        sources = (
            lambda emoji: [emoji.label],
            lambda emoji: emoji.shortcodes.get("cldr", []),
            lambda emoji: [emoji.unicode_name] if emoji.unicode_name else [],
            lambda emoji: emoji.shortcodes.get("joypixels", []),
            lambda emoji: emoji.shortcodes.get("iamcal", []),
            lambda emoji: emoji.shortcodes.get("github", []),
        )
        for names_of in sources:
            for code, emoji in self.emoji.items():
                for name in names_of(emoji):
                    codes.setdefault(_slug(name), code)
                    codes.setdefault(_slug(name).replace("-", ""), code)
        return codes

    @functools.cache
    def drawings(self, style: str) -> dict[str, str]:
        """Code -> name of the drawing in `style`."""
        icons = self.icon_set(style)
        known = {code: icons.drawing(name) for code, name in self._coded(style).items()}
        if known:
            return known
        by_name = self._codes_by_name()
        for name in icons.names_and_aliases():
            code = by_name.get(name) or by_name.get(name.replace("-", ""))
            drawing = icons.drawing(name)
            if code and drawing:
                known.setdefault(code, drawing)
        return known
