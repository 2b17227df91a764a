"""Scenes as pictures."""

from PIL import Image

from scenes import BACKGROUNDS
from sprites import Sprites

_OVERSAMPLING = 2
_SMALLEST = 8


def render(scene: dict, sprites: Sprites, size: int) -> Image.Image:
    """RGB, `size` pixels wide and high; composed at twice the size, so that edges are smooth."""
    side = size * _OVERSAMPLING
    canvas = Image.new("RGB", (side, side), BACKGROUNDS[scene["bg"]])
    for number, x, y, share, mirrored in scene["objs"]:
        group = scene["groups"][number]
        sprite = sprites.painted(group["spr"], group["paint"])
        if mirrored:
            sprite = sprite.transpose(Image.FLIP_LEFT_RIGHT)
        width = max(_SMALLEST, int(share * side))
        sprite = sprite.resize((width, width), Image.LANCZOS)
        canvas.paste(sprite, (int(x * side - width / 2), int(y * side - width / 2)), sprite)
    return canvas.resize((size, size), Image.LANCZOS)
