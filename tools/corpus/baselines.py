"""What can be had without looking: the numbers that stand beside a model's."""

import collections
import random

_SHIFT = 7   # pictures, between a caption's own and the one it is judged by


def of_other_pictures(captions: list[str]) -> list[str]:
    """The same captions, each given to another picture."""
    return captions[-_SHIFT:] + captions[:-_SHIFT]


def without_pictures(training: list[list[str]], count: int) -> list[str]:
    """What a perfect writer of captions who sees nothing would say: captions of training pictures, at random."""
    draw = random.Random(0)
    return [draw.choice(draw.choice(training)) for _ in range(count)]


class Guesser:
    """Answers by the question alone: the commonest answer that training has for it, else for its first two words,
    else of all."""

    def __init__(self, asked: list[tuple[str, str]]):
        self._answers: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        for question, answer in asked:
            for key in self._keys(question):
                self._answers[key][answer] += 1
        self._best = {key: _commonest(counts) for key, counts in self._answers.items()}

    def guess(self, question: str) -> str:
        return next(self._best[key] for key in self._keys(question) if key in self._best)

    @staticmethod
    def _keys(question: str) -> tuple[str, str, str]:
        return question, " ".join(question.split()[:2]) + " ...", ""


def _commonest(counts: collections.Counter[str]) -> str:
    return max(sorted(counts), key=counts.__getitem__)


def share_of_commonest_by_prefix(asked: list[tuple[str, str]]) -> float:
    """Accuracy of the commonest answer of this very split to each first two words: more than a guesser can know."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for question, answer in asked:
        counts[" ".join(question.split()[:2])][answer] += 1
    return sum(max(answers.values()) for answers in counts.values()) / len(asked)
