"""Compares a corpus with the committed checksums; tools/corpus/verify runs it.

checksums.txt has lines of `SHA-256  KIND NAME`. KIND is core or all, the nouns of the scenes, and the width of their
pictures where it matters: "core", "core/64". NAME is a file, whose bytes are counted, or a folder, whose pictures are:
names, sizes and RGB values, in the order of their names; so it does not matter how a picture was compressed."""

import argparse
import concurrent.futures
import hashlib
import json
import pathlib
import sys

from PIL import Image

_CHECKSUMS = pathlib.Path(__file__).with_name("checksums.txt")
_OPTIONAL = ("annotations/scenes_train_x", "annotations/scenes_dev_train_x", "annotations/easy_vqa", "annotations/scenes_extra", "annotations/scenes_dev_extra", "scenes/extra", "nlvr/extra", "annotations/nlvr_extra", "easy_vqa/")


def _of_file(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _of_pictures(folder: pathlib.Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.png")):
        image = Image.open(path).convert("RGB")
        digest.update(f"{path.name} {image.width}x{image.height}\n".encode())
        digest.update(image.tobytes())
    return digest.hexdigest()


def measure(corpus: pathlib.Path) -> dict[str, str]:
    """"KIND NAME" -> SHA-256 of everything that a corpus has."""
    options = json.loads((corpus / "corpus.json").read_text(encoding="utf-8"))
    nouns, drawn = options["nouns"], f"{options['nouns']}/{options['pixels']}"
    found = {}
    for path in sorted(corpus.rglob("*")):
        name = path.relative_to(corpus).as_posix()
        if path.suffix in (".json", ".jsonl", ".txt") and name != "corpus.json":
            found[f"{nouns} {name}"] = _of_file(path)
    folders = sorted({path.parent for path in corpus.rglob("*.png")})
    with concurrent.futures.ProcessPoolExecutor() as pool:
        for folder, checksum in zip(folders, pool.map(_of_pictures, folders)):
            name = folder.relative_to(corpus).as_posix()
            kind = drawn if name.startswith("scenes/") or name == "noisy/scenes" else nouns
            found[f"{kind} {name}"] = checksum
    return found


def read_checksums() -> dict[str, str]:
    lines = _CHECKSUMS.read_text(encoding="utf-8").splitlines() if _CHECKSUMS.exists() else []
    return {name: checksum for checksum, name in (line.split("  ", 1) for line in lines)}


def compare(corpus: pathlib.Path) -> int:
    found, wanted = measure(corpus), read_checksums()
    kinds = {key.split()[0] for key in found}
    wrong = 0
    for key in sorted(found.keys() | {key for key in wanted if key.split()[0] in kinds}):
        kind, name = key.split(" ", 1)
        if key not in found and name.startswith(_OPTIONAL):
            print(f"{name} was not built")
        elif key not in found:
            print(f"{name} is MISSING")
            wrong += 1
        elif key not in wanted:
            print(f"{name} is not checked: no checksum for \"{kind}\"")
        elif found[key] != wanted[key]:
            print(f"{name} DIFFERS")
            wrong += 1
    checked = sum(key in wanted for key in found)
    print(f"{checked - wrong} lists and folders of pictures are as they should be, {wrong} are not")
    return 1 if wrong or not checked else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/corpus/verify")
    parser.add_argument("corpus", type=pathlib.Path)
    parser.add_argument("--write", action="store_true", help="take what is there as what should be")
    options = parser.parse_args()
    if not (options.corpus / "corpus.json").exists():
        print(f"{options.corpus} is no corpus: it has no corpus.json, which tools/corpus/build writes last",
              file=sys.stderr)
        return 2
    if not options.write:
        return compare(options.corpus)
    checksums = read_checksums() | measure(options.corpus)
    partial = _CHECKSUMS.with_suffix(".partial")
    partial.write_text("".join(f"{checksums[name]}  {name}\n" for name in sorted(checksums)), encoding="utf-8")
    partial.rename(_CHECKSUMS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
