"""Colour words, measured from pixels: a label must be true of what is seen, not of the idea of the thing."""

import numpy as np
from PIL import Image

from words import COLOURS

# Hues (degrees) that a recoloured drawing aims at, and the colours that can be recoloured at all.
TARGET_HUES = {"red": 0, "orange": 27, "yellow": 50, "green": 120, "blue": 215, "purple": 275, "pink": 325}

_HUE_ENDS = (("red", 0, 14), ("orange", 14, 40), ("yellow", 40, 68), ("green", 68, 168), ("blue", 168, 255),
             ("purple", 255, 292), ("pink", 292, 345), ("red", 345, 361))
_NAMED_SHARE = 0.55   # of the opaque pixels must agree, or the drawing has no colour word
_FEWEST_PIXELS = 30


def _hue_saturation_value(rgb: np.ndarray):
    """[..., 3] in 0..1 -> hue in degrees, saturation and value in 0..1."""
    high, low = rgb.max(-1), rgb.min(-1)
    spread = high - low + 1e-9
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    hue = 60 * np.where(high == red, ((green - blue) / spread) % 6,
                        np.where(high == green, (blue - red) / spread + 2, (red - green) / spread + 4))
    return hue % 360, np.where(high > 0, spread / (high + 1e-9), 0), high


def _named(hue, saturation, value) -> np.ndarray:
    """Index into COLOURS for each pixel, -1 for pale ones that people would not agree on."""
    named = np.full(hue.shape, -1)
    for name, low, high in _HUE_ENDS:
        named[(hue >= low) & (hue < high)] = COLOURS.index(name)
    red, orange, pink = (COLOURS.index(name) for name in ("red", "orange", "pink"))
    dark_warm = ((named == orange) | (named == red)) & (value < 0.62) & (saturation > 0.25)
    named[dark_warm & ~((named == red) & (saturation > 0.7))] = COLOURS.index("brown")
    named[(named == red) & (saturation < 0.5) & (saturation >= 0.2) & (value > 0.7)] = pink
    grey = saturation < 0.2
    named[(saturation >= 0.2) & (saturation < 0.38) & (value > 0.72) & (named != pink)] = -1
    named[grey & (value >= 0.85)] = COLOURS.index("white")
    named[grey & (value < 0.85) & (value >= 0.3)] = COLOURS.index("gray")
    named[(value < 0.22) | (grey & (value < 0.3))] = COLOURS.index("black")
    return named


def _opaque_pixels(image: Image.Image):
    pixels = np.asarray(image).astype(float) / 255
    return _hue_saturation_value(pixels[..., :3][pixels[..., 3] > 0.5])


def colour_of(image: Image.Image) -> tuple[str | None, float]:
    """The colour word of an RGBA drawing, or None, and the share of its opaque pixels that have the commonest colour."""
    hue, saturation, value = _opaque_pixels(image)
    if len(hue) < _FEWEST_PIXELS:
        return None, 0
    named = _named(hue, saturation, value)
    shares = np.bincount(named[named >= 0], minlength=len(COLOURS)) / len(hue)
    commonest = int(shares.argmax())
    share = float(shares[commonest])
    return (COLOURS[commonest] if share >= _NAMED_SHARE else None), share


def mean_hue(image: Image.Image, colour: str) -> float:
    """Of the opaque pixels of that colour, in degrees."""
    hue, saturation, value = _opaque_pixels(image)
    chosen = hue[_named(hue, saturation, value) == COLOURS.index(colour)]
    return np.degrees(np.angle(np.exp(1j * np.radians(chosen)).mean())) % 360


def turn_hue(image: Image.Image, degrees: float) -> Image.Image:
    """An RGBA drawing with all hues turned on the colour circle."""
    pixels = np.asarray(image).astype(float) / 255
    hue, saturation, value = _hue_saturation_value(pixels[..., :3])
    hue = (hue + degrees) % 360
    sixth = (hue // 60).astype(int) % 6
    within = hue / 60 - np.floor(hue / 60)
    low, falling, rising = value * (1 - saturation), value * (1 - saturation * within), value * (1 - saturation * (1 - within))
    red = np.choose(sixth, [value, falling, low, low, rising, value])
    green = np.choose(sixth, [rising, value, value, falling, low, low])
    blue = np.choose(sixth, [low, low, rising, value, value, falling])
    turned = np.stack([red, green, blue, pixels[..., 3]], -1) * 255 + 0.5
    return Image.fromarray(turned.clip(0, 255).astype(np.uint8), "RGBA")
