"""A small WordPiece vocabulary: the words of training, and letters for all others."""

import pathlib
import re
import string

from files import read_lines

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LETTERS = string.ascii_lowercase + string.digits


def vocabulary(texts: list[str]) -> list[str]:
    """BERT's special tokens, letters and digits at the beginning of a word and within ("##a"), and the words and marks
    of `texts` as BERT's tokenizer splits them."""
    words = {word for text in texts for word in re.findall(r"[^\W_]+|[^\w\s]|_", text.lower())}
    return [*_SPECIAL, *_LETTERS, *("##" + letter for letter in _LETTERS), *sorted(words - set(_LETTERS))]


def write_vocabulary(out: pathlib.Path) -> None:
    """Writes tokenizer/vocab.txt, of the training splits of scenes, questions and statements."""
    texts = [caption for row in read_lines(out / "scenes/train.jsonl") for caption in row["captions"]]
    texts += [text for row in read_lines(out / "vqa/train.jsonl") for text in (row["question"], row["answer"])]
    texts += [row["sentence"] for row in read_lines(out / "nlvr/train.jsonl")]
    path = out / "tokenizer/vocab.txt"
    path.parent.mkdir()
    path.write_text("".join(token + "\n" for token in vocabulary(texts)), encoding="utf-8")
