"""CapFilt (paper section 4): a synthetic caption for each picture, and of all its texts those that match it.

The rule, the draws and the words are those of `blip capfilt`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from blip_cpp import _native, inputs
from blip_cpp.errors import BlipError
from blip_cpp.inputs import batches
from blip_cpp.model import Model
from blip_cpp.results import Caption, Match

#: How synthetic captions are written: the authors' lengths, by nucleus sampling as the paper chose.
NUCLEUS = {"do_sample": True, "num_beams": 1, "top_p": 0.9, "repetition_penalty": 1.1}


@dataclass(frozen=True)
class Record:
    """A picture with the texts that came with it."""

    key: str  #: names it among all records: its draws depend on this and the seed alone
    image: Any  #: as Model takes it
    texts: Sequence[str] = ()
    human: bool = False  #: people wrote the texts for the picture: they are kept as they are


@dataclass(frozen=True)
class JudgedText:
    """A text, and what became of it."""

    text: str
    origin: Literal["web", "synthetic"]
    itm: float | None = None  #: probability of a match
    itc: float | None = None  #: cosine
    truncated: bool = False  #: only the beginning of the text was read
    kept: bool = False
    reason: str | None = None  #: of dropping it: "itm", "itc", "no words", "repeated"


@dataclass(frozen=True)
class JudgedRecord:
    """What became of a record. It is dropped when none of its texts is kept."""

    key: str
    texts: tuple[JudgedText, ...]
    error: BlipError | None = None  #: why it failed; its texts have no scores then

    @property
    def status(self) -> Literal["kept", "dropped", "failed"]:
        if self.error is not None:
            return "failed"
        return "kept" if self.kept else "dropped"

    @property
    def kept(self) -> list[str]:
        return [text.text for text in self.texts if text.kept]


@dataclass(frozen=True)
class CapFiltOptions:
    """The two checkpoints and the rule. Small and hashable: what travels to workers."""

    captioner: str  #: checkpoint that writes
    filter: str  #: checkpoint that judges; the same one is loaded once
    itm_threshold: float = 0.5  #: a text below this probability of a match is dropped
    itc_threshold: float | None = None  #: and one below this cosine
    itc: bool = True  #: the filter's checkpoint can compare (ITC), and does
    captions: int = 1  #: synthetic texts for each picture
    prompt: str | None = None  #: left out of the text; None: "a picture of " for an authors' captioner, else none
    generation: tuple[tuple[str, Any], ...] = tuple(NUCLEUS.items())  #: over the authors' lengths
    seed: int = 0  #: of all records
    precision: str = "auto"  #: give one where workers' CPUs differ: of f32 checkpoints "auto" makes bf16 on some
    threads: int | None = None  #: of one worker
    batch_size: int = 16  #: pictures whose texts are computed together
    exif_orientation: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.itm_threshold <= 1:
            raise BlipError(f"the threshold of ITM is from 0 to 1, not {self.itm_threshold}")
        if self.itc_threshold is not None and not -1 <= self.itc_threshold <= 1:
            raise BlipError(f"the threshold of ITC is from -1 to 1, not {self.itc_threshold}")

        if self.itc_threshold is not None and not self.itc:
            raise BlipError("a threshold of ITC needs itc=True")

    def model(self, path: str) -> Model:
        return Model(
            path,
            precision=self.precision,
            threads=self.threads,
            batch_size=self.batch_size,
            exif_orientation=self.exif_orientation,
        )


class CapFilter:
    """Captions and filters records. Threads may share it; a forked process may not use its parent's."""

    def __init__(self, options: CapFiltOptions) -> None:
        self.options = options
        self.captioner = options.model(options.captioner)
        same = options.filter == options.captioner
        self.filter = self.captioner if same else options.model(options.filter)
        self.prompt = self.captioner.capfilt_prompt if options.prompt is None else options.prompt

        # Before any record: a checkpoint that cannot do its part would fail each of them.
        self._captions([], [])
        self._matches([], [])

    def __call__(self, records: Iterable[Record]) -> list[JudgedRecord]:
        """One for each record, in order. None depends on its neighbours; one that fails says why."""
        return [judged for batch in batches(records, self.options.batch_size) for judged in self._run(batch)]

    def _run(self, records: list[Record]) -> list[JudgedRecord]:
        asked = [record for record in records if not record.human]
        images = [_mistake(record) or record.image for record in asked]
        pictures = self.captioner.encode(images, errors="return")
        # A picture is encoded once by each model, and once in all when they are one.
        views = pictures if self.filter is self.captioner else self.filter.encode(images, errors="return")
        captions = self._captions(pictures, [record.key for record in asked])
        views = [written if isinstance(written, BlipError) else view for written, view in zip(captions, views)]
        texts = [self._texts(record, written) for record, written in zip(asked, captions)]
        matches = self._matches(views, [[text.text for text in row if text.reason is None] for row in texts])
        judged = iter([self._judged(*row) for row in zip(asked, texts, matches)])
        return [_pooled(record) if record.human else next(judged) for record in records]

    def _captions(self, pictures: list[Any], keys: list[str]) -> list[list[Caption] | BlipError]:
        return self.captioner.captions(
            pictures,
            self.prompt,
            preset="paper",
            strip_prompt=True,
            seed=[_native.record_seed(self.options.seed, key) if isinstance(key, str) else 0 for key in keys],
            errors="return",
            num_return_sequences=self.options.captions,
            **dict(self.options.generation),
        )

    def _matches(self, pictures: list[Any], texts: list[list[str]]) -> list[list[Match] | BlipError]:
        return self.filter.match(pictures, texts, only=None if self.options.itc else "itm", errors="return")

    def _texts(self, record: Record, written: list[Caption] | BlipError) -> list[JudgedText]:
        """The record's texts, those that came first; of those that are not to be judged the reason."""
        synthetic = [] if isinstance(written, BlipError) else [caption.text for caption in written]
        texts: list[JudgedText] = []
        for text, origin in [*((t, "web") for t in record.texts), *((t, "synthetic") for t in synthetic)]:
            reason = None
            if any(before.text == text for before in texts):
                reason = "repeated"
            elif not isinstance(written, BlipError) and not self.filter.has_words(text):
                reason = "no words"
            texts.append(JudgedText(text, origin, reason=reason))
        return texts

    def _judged(self, record: Record, texts: list[JudgedText], matches: list[Match] | BlipError) -> JudgedRecord:
        if isinstance(matches, BlipError):
            return JudgedRecord(record.key, tuple(texts), matches)
        rest = iter(matches)
        return JudgedRecord(
            record.key, tuple(text if text.reason else self._judged_text(text, next(rest)) for text in texts)
        )

    def _judged_text(self, text: JudgedText, match: Match) -> JudgedText:
        reason = None
        # So written that what is no number does not pass.
        if not match.itm >= self.options.itm_threshold:
            reason = "itm"
        elif self.options.itc_threshold is not None and not match.itc >= self.options.itc_threshold:
            reason = "itc"
        return replace(
            text, itm=match.itm, itc=match.itc, truncated=match.truncated, kept=reason is None, reason=reason
        )


@lru_cache(maxsize=2)
def open_capfilter(options: CapFiltOptions) -> CapFilter:
    """The process's own CapFilter: what a worker that is called many times keeps."""
    return CapFilter(options)


def _mistake(record: Record) -> BlipError | None:
    """What makes a record no record."""
    if isinstance(record.image, BlipError):
        return record.image
    if record.image is None:
        return BlipError("the record has no picture")
    try:
        inputs.text("key", record.key)
        for text in record.texts:
            inputs.text("text", text)
    except BlipError as error:
        return error
    return None


def _pooled(record: Record) -> JudgedRecord:
    """A record that people wrote: kept as it is, without a look at the picture."""
    mistake = _mistake(record)
    texts = tuple(JudgedText(text, "web", kept=mistake is None) for text in record.texts)
    return JudgedRecord(record.key, texts, mistake)
