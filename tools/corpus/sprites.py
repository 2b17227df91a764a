"""Sprites: the drawings of the nouns in every style, 96 pixels, with their measured colour and the colours they can
be turned to."""

import json
import pathlib

import numpy as np
from PIL import Image

from colours import TARGET_HUES, colour_of, mean_hue, turn_hue
from emoji import EmojiTable
from splits import TRAINED_STYLES, UNSEEN_STYLES
from words import CORE, all_nouns

_SIZE = 96
_RENDERED = 128


def _trimmed(image: Image.Image) -> Image.Image | None:
    """The drawing without its empty border, centred in a square; None when nothing is drawn."""
    box = image.getchannel("A").point(lambda alpha: 255 if alpha > 16 else 0).getbbox()
    if not box:
        return None
    image = image.crop(box)
    image.thumbnail((_SIZE, _SIZE), Image.LANCZOS)
    square = Image.new("RGBA", (_SIZE, _SIZE), (0, 0, 0, 0))
    square.paste(image, ((_SIZE - image.width) // 2, (_SIZE - image.height) // 2))
    return square


def _recolourings(image: Image.Image, natural: str | None) -> dict[str, float]:
    """Colour word -> degrees to turn the hues by, for those where the turned drawing measures as that colour."""
    if natural not in TARGET_HUES:
        return {}
    hue = mean_hue(image, natural)
    return {colour: round(float((target - hue) % 360), 1) for colour, target in TARGET_HUES.items()
            if colour != natural and colour_of(turn_hue(image, target - hue))[0] == colour}


def build_sprites(emoji: EmojiTable, out: pathlib.Path) -> None:
    """Writes sprites.npz ("rgba": [n, 96, 96, 4], u8) and sprites.json, one object for each."""
    codes = emoji.by_label()
    pixels, rows = [], []
    for style in TRAINED_STYLES + UNSEEN_STYLES:
        drawings = emoji.drawings(style)
        for noun in all_nouns():
            if codes[noun.label] not in drawings:
                continue
            image = _trimmed(emoji.icon_set(style).render(drawings[codes[noun.label]], _RENDERED))
            if image is None:
                continue
            natural, share = colour_of(image)
            rows.append({"noun": noun.singular, "plural": noun.plural, "cat": noun.category, "label": noun.label,
                         "vendor": style, "colour": natural, "share": round(share, 2),
                         "variants": _recolourings(image, natural)})
            pixels.append(np.asarray(image))
    np.savez_compressed(out / "sprites.npz", rgba=np.stack(pixels))
    (out / "sprites.json").write_text(json.dumps(rows), encoding="utf-8")


class Sprites:
    """Those of some styles; `core_only` leaves the small list of nouns."""

    def __init__(self, corpus: pathlib.Path, styles: tuple[str, ...], core_only: bool):
        self._pixels = np.load(corpus / "sprites.npz")["rgba"]
        self.rows = json.loads((corpus / "sprites.json").read_text(encoding="utf-8"))
        self.of_noun: dict[str, list[int]] = {}
        for number, row in enumerate(self.rows):
            if row["vendor"] in styles and (not core_only or row["noun"] in CORE):
                self.of_noun.setdefault(row["noun"], []).append(number)
        self.nouns = sorted(self.of_noun)
        self._painted: dict[tuple[int, str | None], Image.Image] = {}

    def painted(self, number: int, colour: str | None) -> Image.Image:
        """A sprite in one of its colours; None for its own."""
        key = (number, colour)
        if key not in self._painted:
            image = Image.fromarray(self._pixels[number])
            row = self.rows[number]
            if colour and colour != row["colour"]:
                image = turn_hue(image, row["variants"][colour])
            self._painted[key] = image
        return self._painted[key]
