"""What the methods of a Model return: plain, immutable values that can be pickled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Token(NamedTuple):
    """One generated token."""

    id: int
    text: str  #: the vocabulary's entry, such as "##ing"
    logprob: float  #: natural logarithm of the model's probability for it at this place


@dataclass(frozen=True)
class Caption:
    """A generated description."""

    text: str
    score: float  #: beam search: length-penalised log-probability; else the sum of the tokens' logprobs
    finished: bool  #: ended by itself, not at the length limit
    tokens: tuple[Token, ...] = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """An answer to a question."""

    text: str
    probability: float  #: of this answer among all texts, its end included
    score: float  #: what answers are ordered by; written: as Caption.score; of a list: minus the loss


@dataclass(frozen=True)
class Match:
    """How well a picture and a text fit."""

    itm: float | None  #: probability of "match", by the image-grounded text encoder; None: not asked for
    itc: float | None  #: cosine of the picture's and the text's features, from -1 to 1; None: not asked for
    truncated: bool  #: the text was cut


@dataclass(frozen=True)
class Description:
    """A long description."""

    text: str
    details: dict[str, Any] = field(repr=False)  #: everything that is known of it, as `blip describe` prints it
