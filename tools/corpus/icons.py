"""Packages of icons in Iconify's form, and pictures made of them."""

import io
import json
import pathlib

from PIL import Image
import resvg_py


class IconSet:
    """The drawings of one npm package in Iconify's form."""

    def __init__(self, folder: pathlib.Path):
        self._file = json.loads((folder / "icons.json").read_text(encoding="utf-8"))
        codes = folder / "chars.json"
        # Code points -> name; empty for many packages.
        self.codes: dict[str, str] = json.loads(codes.read_text(encoding="utf-8")) if codes.exists() else {}
        self._aliases = self._file.get("aliases", {})

    def names(self) -> list[str]:
        """Of the drawings, without aliases."""
        return list(self._file["icons"])

    def names_and_aliases(self) -> list[str]:
        return self.names() + list(self._aliases)

    def drawing(self, name: str) -> str | None:
        """The drawing that an alias leads to."""
        while name not in self._file["icons"] and name in self._aliases:
            name = self._aliases[name]["parent"]
        return name if name in self._file["icons"] else None

    def render(self, name: str, width: int) -> Image.Image:
        """RGBA, `width` pixels wide."""
        icon = self._file["icons"][name]
        own_width = icon.get("width", self._file.get("width", 16))
        own_height = icon.get("height", self._file.get("height", 16))
        svg = (f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
               f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {own_width} {own_height}" '
               f'width="{own_width}" height="{own_height}">{icon["body"]}</svg>')
        return Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=width)))).convert("RGBA")


def on_white(image: Image.Image, size: int, resampling: Image.Resampling) -> Image.Image:
    """RGB, a square of `size` pixels with the picture, if need be smaller than it is, in its middle."""
    image = image.convert("RGBA")
    image.thumbnail((size, size), resampling)
    square = Image.new("RGBA", (size, size), (255, 255, 255, 255))
    square.alpha_composite(image, ((size - image.width) // 2, (size - image.height) // 2))
    return square.convert("RGB")
