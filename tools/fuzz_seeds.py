#!/usr/bin/env python3
"""Puts well-formed files into a folder, from which a fuzzer starts: fuzz_seeds.py TARGET FOLDER."""

import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
LARGEST = 256 * 1024  # fuzzers learn little from large files

SEEDS = {
    "safetensors": ["golden/data/**/inputs.safetensors", "golden/data/**/expected.safetensors"],
    "pickle": ["data/checkpoint/*"],
    "config": ["golden/data/**/*config.json", "../models/default/*.json"],
    "tokenizer": ["golden/data/E_original/*/generate.json", "../models/default/vocab.txt"],
    "image": ["golden/data/B_image/*/input.*", "../models/default/samples/*.png"],
}


def main() -> int:
    target, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    for pattern in SEEDS[target]:
        base = TESTS
        while pattern.startswith("../"):
            base, pattern = base.parent, pattern[3:]
        for number, file in enumerate(sorted(base.glob(pattern))):
            if file.is_file() and file.stat().st_size <= LARGEST:
                shutil.copy(file, folder / f"{file.parent.name}-{number}-{file.name}")
    return 0 if any(folder.iterdir()) else 1


if __name__ == "__main__":
    sys.exit(main())
