"""One loaded checkpoint and what it can do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, Union

import numpy as np

from blip_cpp import _native, inputs
from blip_cpp._native import EncodedImage
from blip_cpp.errors import BlipError
from blip_cpp.inputs import Column, Picture, is_picture, rows
from blip_cpp.results import Answer, Caption, Description, Match, Token
from blip_cpp.rows import Compute, Errors, Task, map_rows

#: One for all pictures, or a sequence with one for each.
Texts = Union[str, Iterable[str]]


def default_model(task: str = "") -> Path:
    """The checkpoint of a Model without a path: $BLIP_MODEL, else the small one that comes with the package.

    It knows only drawings of 69 things. Those for the tasks "vqa" and "nlvr" come with the package too:
    `Model(default_model("vqa"))`.
    """
    name = f"model-{task}" if task else "model"
    return Path(os.environ.get("BLIP_MODEL") or Path(__file__).parent / name)


class Model:
    """A checkpoint: a folder in the Hugging Face layout or an authors' .pth file.

    Every method takes one picture and returns one result, or many pictures (any iterable) and returns a list in
    their order. A picture is the bytes of a file, a path, pixels [height, width, 3] as uint8, a PIL image, or what
    `encode` returned. The work is done without the GIL, so threads may share a Model; a process that was forked may
    not use its parent's. A Model can be pickled: it is opened anew where it arrives.

    Args:
        path: the checkpoint; None: see `default_model`.
        precision: "auto" (as the checkpoint is stored, but bf16 instead of f32 on CPUs that multiply it), "f32", "bf16" or "int8".
        threads: of one call; None: one for each core that the process may use.
        batch_size: pictures whose texts are computed together; what is held in memory at a time.
        image_size: side in pixels that pictures are squashed to; None: the checkpoint's.
        vision_heads: attention heads of a .pth's vision encoder; None: its width / 64.
        tokenizer: folder of the vocabulary; None: the checkpoint's own.
        alpha: transparency: laid on "white", or "drop"ped.
        exif_orientation: turn pictures as their EXIF orientation says.
        max_pixels: larger pictures are refused before they are decoded.

    Raises:
        BlipError: the checkpoint is not there, damaged, or of a kind that is not known.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        precision: str = "auto",
        threads: int | None = None,
        batch_size: int = 16,
        image_size: int | None = None,
        vision_heads: int | None = None,
        tokenizer: str | os.PathLike[str] | None = None,
        alpha: str = "white",
        exif_orientation: bool = False,
        max_pixels: int = 178_956_970,
    ) -> None:
        for name, value in {"threads": threads, "batch_size": batch_size}.items():
            if value is not None and value < 1:
                raise BlipError(f"{name} is at least 1, not {value}")
        self.path = os.fspath(default_model() if path is None else path)
        self.batch_size = batch_size
        self._settings = {
            "precision": precision,
            "threads": threads or 0,
            "image_size": image_size or 0,
            "vision_heads": vision_heads or 0,
            "tokenizer": os.fspath(tokenizer or ""),
            "alpha": alpha,
            "exif_orientation": exif_orientation,
            "max_pixels": max_pixels,
        }
        self._open()

    def _open(self) -> None:
        self._process = os.getpid()
        self._native = _native.Engine(self.path, self._settings)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "batch_size": self.batch_size, "_settings": self._settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def __repr__(self) -> str:
        return f"Model({self.path!r}, precision={self.precision!r})"

    @property
    def precision(self) -> str:
        """ "f32", "bf16" or "int8": what the linear layers multiply in."""
        return self._native.precision

    @property
    def capfilt_prompt(self) -> str:
        """How CapFilt's captions begin unless one says otherwise."""
        return self._native.capfilt_prompt

    @property
    def _engine(self) -> _native.Engine:
        if self._process != os.getpid():
            # Its threads did not come along: the first product of matrices would wait for them forever.
            raise BlipError("this model was loaded before the process was forked; load it in the new one")
        return self._native

    def encode(self, images: Picture | Iterable[Picture], *, errors: Errors = "raise") -> Any:
        """The picture after the vision encoder: encode once, then use it in the picture's place as often as wanted.

        Each takes memory for as long as it is kept: with ViT-B at 384 pixels 2 MB, and tens of MB
        once texts have looked at it.
        """
        return self._map(images, (), lambda encoded, _: encoded, errors)

    def caption(self, images: Picture | Iterable[Picture], prompt: Texts | None = None, **options: Any) -> Any:
        """The best caption of each picture: Caption. Options are those of `captions`."""
        captions = self.captions(images, prompt, **options)
        return _best(captions) if is_picture(images) else [_best(row) for row in captions]

    def captions(
        self,
        images: Picture | Iterable[Picture],
        prompt: Texts | None = None,
        *,
        preset: Literal["checkpoint", "paper"] = "checkpoint",
        strip_prompt: bool = False,
        seed: int | Sequence[int] = 0,
        errors: Errors = "raise",
        **generation: Any,
    ) -> Any:
        """num_return_sequences captions of each picture, best first: list[Caption].

        Args:
            prompt: how captions begin; None: not said.
            preset: "paper": the authors' settings and, where no prompt is given ("" is one), theirs.
            strip_prompt: leave the prompt out of the text.
            seed: of the sampling. A caption depends on its picture, prompt, options and seed, not on its neighbours.
            generation: transformers' options: num_beams, do_sample, top_p, max_new_tokens, ...
        """
        if prompt is None:
            prompt = _native.PAPER_PROMPT if preset == "paper" else ""
        options = {"preset": preset, "strip_prompt": strip_prompt, "generation": generation}

        def write(encoded: list[EncodedImage], values: list[tuple[str, int]]) -> list[list[Caption]]:
            found = self._engine.caption(encoded, [v[0] for v in values], [v[1] for v in values], options)
            return [[_caption(*caption) for caption in row] for row in found]

        columns = [Column("prompt", prompt, str, inputs.text), Column("seed", seed, Integral, inputs.seed)]
        return self._map(images, columns, write, errors)

    def describe(
        self,
        images: Picture | Iterable[Picture],
        *,
        recipe: Literal["classic", "faithful"] = "classic",
        detail: Literal["off", "low", "medium", "high"] = "high",
        multi_round: bool = True,
        seed: int | Sequence[int] = 0,
        options: dict[str, Any] | None = None,
        errors: Errors = "raise",
    ) -> Any:
        """A long description of each picture: Description. `options` are a recipe's (docs/description.md)."""
        changes = json.dumps(options or {})
        common = {"recipe": recipe, "detail": detail, "multi_round": multi_round, "options": changes}

        def write(encoded: list[EncodedImage], values: list[tuple[int]]) -> list[Description]:
            found = self._engine.describe(encoded, [seed for (seed,) in values], common)
            return [Description(details["text"], details) for details in map(json.loads, found)]

        return self._map(images, [Column("seed", seed, Integral, inputs.seed)], write, errors)

    def vqa(
        self,
        images: Picture | Iterable[Picture],
        question: Texts,
        *,
        answers: Sequence[str] | None = None,
        top_k: int = 128,
        errors: Errors = "raise",
        **generation: Any,
    ) -> Any:
        """Answers to a question about each picture, best first: list[Answer].

        Written by the checkpoint's options (see `captions` for others); with `answers` the likeliest `top_k` of these.
        """
        if answers is not None and generation:
            raise BlipError("answers of a list are not generated: " + ", ".join(generation) + " has no effect")
        candidates = None if answers is None else list(answers)

        def find(encoded: list[EncodedImage], values: list[tuple[str]]) -> list[list[Answer]]:
            questions = [question for (question,) in values]
            if candidates is None:
                found = self._engine.answer(encoded, questions, generation)
            else:
                found = self._engine.rank(encoded, questions, candidates, top_k)
            return [[Answer(*answer) for answer in row] for row in found]

        return self._map(images, [Column("question", question, str, inputs.text)], find, errors)

    def match(
        self,
        images: Picture | Iterable[Picture],
        text: str | Sequence[str] | Sequence[Sequence[str]],
        *,
        only: Literal["itm", "itc"] | None = None,
        max_length: int = 35,
        errors: Errors = "raise",
    ) -> Any:
        """How well texts fit: a Match for each text.

        `text` is a str for all pictures, or has an entry for each picture, a str or a list of them; of one picture,
        a str or a list. Where there is a list of texts there is a list of matches.

        Args:
            only: compute one score, "itm" (the exact one) or "itc" (much faster with many texts).
            max_length: tokens that longer texts are cut to; 0: as many as the model can read.
        """
        options = {"itm": only != "itc", "itc": only != "itm", "max_length": max_length}
        if only not in (None, "itm", "itc"):
            raise BlipError(f"only is itm or itc, not {only!r}")
        if is_picture(images) and not isinstance(text, str):
            text = [list(text)]  # type: ignore[arg-type]

        def compare(encoded: list[EncodedImage], values: list[tuple[Any]]) -> list[Any]:
            self._engine.check_match(options)
            found = []
            for picture, (texts,) in zip(encoded, values):
                one = isinstance(texts, str)
                matches = [Match(*m) for m in self._engine.match(picture, [texts] if one else list(texts), options)]
                found.append(matches[0] if one else matches)
            return found

        return self._map(images, [Column("text", text, str, inputs.text_or_texts)], compare, errors)

    def embed(
        self,
        images: Picture | Iterable[Picture],
        *,
        kind: Literal["raw", "projected", "normalised"] = "normalised",
        errors: Errors = "raise",
    ) -> Any:
        """Vectors of pictures: float32 [width] of one, [pictures, width] of many (errors="return": a list of rows).

        Args:
            kind: "normalised": dot products with vectors of texts are ITC's similarities; "projected": before they
                are scaled to length 1; "raw": the encoder's first token.
        """

        def compute(encoded: list[EncodedImage], _: Any) -> list[np.ndarray]:
            return list(self._engine.image_features(encoded, kind))

        return _stacked(self._map(images, (), compute, errors), errors)

    def embed_texts(
        self, texts: Texts, *, kind: Literal["raw", "projected", "normalised"] = "normalised", max_length: int = 0
    ) -> np.ndarray:
        """Vectors of texts: float32 [width] of a str, [texts, width] of many; see `embed`."""
        many = [texts] if isinstance(texts, str) else list(texts)
        vectors = self._engine.text_features(many, kind, max_length)
        return vectors[0] if isinstance(texts, str) else vectors

    def has_words(self, text: str) -> bool:
        """Whether the model reads anything in a text: a text without words is an error elsewhere."""
        return self._engine.has_words(inputs.text("text", text))

    def _map(self, images: Any, columns: Sequence[Column], compute: Compute, errors: Errors) -> Any:
        if is_picture(images):
            return self._map([images], columns, compute, errors)[0]
        return map_rows(rows(images, columns), Task(self._engine, columns, compute, errors), self.batch_size)


def _best(captions: list[Caption] | BlipError) -> Caption | BlipError:
    return captions[0] if isinstance(captions, list) else captions


def _caption(text: str, score: float, finished: bool, tokens: Iterable[tuple[int, str, float]]) -> Caption:
    return Caption(text, score, finished, tuple(Token(*token) for token in tokens))


def _stacked(rows: Any, errors: Errors) -> Any:
    return np.stack(rows) if isinstance(rows, list) and rows and errors == "raise" else rows
