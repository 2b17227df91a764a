"""The noisy web: openclipart's drawings with the titles that their authors gave, and icon packs with file names."""

import collections
import hashlib
import html
import io
import pathlib
import re
import warnings

import numpy as np
from PIL import Image

from files import write_json, write_lines
from icons import IconSet, on_white

_SIZE = 96
_MOST_PIXELS = 40_000_000
_BLANK = 3              # standard deviation of the pixels under which a picture shows nothing
_GENERIC = 5            # pictures that share a title
_STARS = 60             # of 1,375 stars made by one program
_USELESS_KEYWORDS = ("unsorted", "theme")
_ICON_PACKS = {"flat-color-icons": "MIT", "fluent-color": "MIT", "meteocons": "MIT",
               "streamline-ultimate-color": "CC-BY-4.0", "streamline-freehand-color": "CC-BY-4.0"}
_LICENCE = re.compile(r"https?://[^\"' ]*licen[sc]es?/[^\"' ]*|https?://web.resource.org/cc/PublicDomain"
                      r"|https?://creativecommons.org/[^\"' ]+")


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _elements(markup: str, tag: str) -> list[str]:
    """The texts of all elements of that name that are not empty."""
    found = re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", markup, re.S)
    texts = [html.unescape(re.sub(r"<[^>]+>", " ", inner)).strip() for inner in found]
    return [text for text in texts if text]


def read_metadata(svg_folder: pathlib.Path, png_folder: pathlib.Path) -> list[dict]:
    """What each drawing of openclipart says of itself in RDF. (Not an XML parser: many of them are not quite XML.)"""
    rows = []
    for path in sorted(svg_folder.rglob("*.svg")):
        text = path.read_bytes().decode("utf-8", "replace")
        found = re.search(r"<(?:rdf:RDF|metadata)\b.*?</(?:rdf:RDF|metadata)>", text, re.S)
        metadata = found.group(0) if found else ""
        titles, descriptions = _elements(metadata, "dc:title"), _elements(metadata, "dc:description")
        keywords = [keyword for subject in re.findall(r"<dc:subject>(.*?)</dc:subject>", metadata, re.S)
                    for keyword in _elements(subject, "rdf:li")]
        relative = path.relative_to(svg_folder)
        rows.append({
            "path": str(relative), "title": _one_line(titles[0]) if titles else "",
            "desc": _one_line(descriptions[0]) if descriptions else "", "kw": [_one_line(word) for word in keywords],
            "png": (png_folder / relative.with_suffix(".png")).exists(),
            "lic": sorted(set(_LICENCE.findall(metadata))),
            "author": _one_line(" ".join(_elements(metadata, "dc:creator"))), "svgbytes": len(text)})
    return rows


def _is_blank(image: Image.Image) -> bool:
    return np.asarray(image).std() < _BLANK


class _Chooser:
    """Says which drawings of openclipart are taken, and counts why the others are not."""

    def __init__(self, png_folder: pathlib.Path):
        self._png_folder = png_folder
        self._digests: set[bytes] = set()
        self._stars = 0
        self.left_out: collections.Counter[str] = collections.Counter()

    def picture(self, drawing: dict) -> Image.Image | None:
        found = self._picture_or_reason(drawing)
        if isinstance(found, str):
            self.left_out[found] += 1
            return None
        return found

    def _picture_or_reason(self, drawing: dict) -> Image.Image | str:
        path = pathlib.Path(drawing["path"])
        if any("GPL" in licence for licence in drawing["lic"]):
            return "GPL"
        if drawing["path"].startswith("shapes/stars/star_"):
            self._stars += 1
            if self._stars > _STARS:
                return "star"
        if ".svg" in path.stem:   # three, which the splits have never had
            return "name"
        data = (self._png_folder / path.with_suffix(".png")).read_bytes()
        digest = hashlib.md5(data).digest()
        if digest in self._digests:
            return "duplicate"
        self._digests.add(digest)
        return _decoded(data)


def _decoded(data: bytes) -> Image.Image | str:
    """The picture on white, or why it cannot be had."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)   # the size is judged here
            image = Image.open(io.BytesIO(data))
        if image.width * image.height > _MOST_PIXELS:
            return "huge"
        square = on_white(image, _SIZE, Image.LANCZOS)
    except Image.DecompressionBombError:
        return "huge"
    except (OSError, SyntaxError, ValueError):
        return "bad"
    return "blank" if _is_blank(square) else square


def _clipart(chooser: _Chooser, metadata: list[dict], out: pathlib.Path) -> list[dict]:
    rows = []
    for drawing in metadata:
        image = chooser.picture(drawing)
        if image is None:
            continue
        path = pathlib.Path(drawing["path"])
        name = "noisy/img/oca-" + re.sub(r"[^a-z0-9]+", "_", drawing["path"].lower())[:90] + ".png"
        image.save(out / name)
        keywords = [word for word in drawing["kw"] if not word.startswith("hash") and word not in _USELESS_KEYWORDS]
        rows.append({"image": name, "text": drawing["title"] or path.stem.replace("_", " "), "source": "openclipart",
                     "keywords": keywords, "file": path.name, "license": "PD", "dir": str(path.parent)})
    shared = collections.Counter(row["text"].lower() for row in rows)
    for row in rows:
        row["generic_title"] = shared[row["text"].lower()] >= _GENERIC
    return rows


def _icons(pack: str, icons: IconSet, out: pathlib.Path) -> list[dict]:
    """One of each icon's sizes, with its name for a text."""
    rows, done = [], set()
    for drawing in icons.names():
        stem = re.sub(r"-(16|20|24|28|32|48)$", "", drawing)
        if stem in done:
            continue
        done.add(stem)
        image = on_white(icons.render(drawing, _SIZE), _SIZE, Image.LANCZOS)
        if _is_blank(image):
            continue
        name = f"noisy/img/{pack}-{stem}.png"
        image.save(out / name)
        rows.append({"image": name, "text": re.sub(r"[-_]\d+$", "", stem).replace("-", " "), "source": pack,
                     "keywords": [], "file": stem + ".svg", "license": _ICON_PACKS[pack], "generic_title": False})
    return rows


def build_web(node_modules: pathlib.Path, openclipart: pathlib.Path, out: pathlib.Path) -> dict[str, int]:
    """Writes noisy/img/*.png, noisy/web.jsonl and noisy/openclipart.json; returns how many drawings of openclipart
    were left out for which reason."""
    (out / "noisy/img").mkdir(parents=True)
    metadata = read_metadata(openclipart / "svg", openclipart / "png")
    write_json(out / "noisy/openclipart.json", metadata)
    chooser = _Chooser(openclipart / "png")
    rows = _clipart(chooser, metadata, out)
    for pack in _ICON_PACKS:
        rows += _icons(pack, IconSet(node_modules / "@iconify-json" / pack), out)
    write_lines(out / "noisy/web.jsonl", rows)
    return dict(chooser.left_out)
