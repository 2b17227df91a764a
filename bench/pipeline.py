#!/usr/bin/env python3
"""What share of a run over a folder the model works, and what it waits for: `blip caption DIR --metadata FILE`, timed from without, beside the
command's own account. Reading pictures goes on beside the model; where it is fast enough, the model waits for none."""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import photos

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "peers"))
import checkpoint as checkpoints  # noqa: E402

NEW_TOKENS = 20


def run(blip: pathlib.Path, model: pathlib.Path, precision: str, pictures: pathlib.Path, batch: int) -> dict:
    """The command's account of the run, and the seconds of the whole process as "process"."""
    with tempfile.TemporaryDirectory() as out:
        command = [blip, "caption", pictures, "-m", model, "--precision", precision, "--metadata", pathlib.Path(out) / "metadata.jsonl", "--format", "json", "--batch-size",
                   str(batch), "--num-beams", "1", "--max-new-tokens", str(NEW_TOKENS), "--min-new-tokens", str(NEW_TOKENS)]  # fmt: skip
        start = time.perf_counter()
        said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return dict(said["seconds"], process=time.perf_counter() - start, captioned=said["captioned"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="base", choices=list(checkpoints.SHAPES))
    parser.add_argument("--precisions", default="int8,bf16,f32")
    parser.add_argument("--sizes", default="640x480,4000x3000", help="of the photos")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path.home() / ".cache/blip-bench")
    parser.add_argument("--build", type=pathlib.Path, default=checkpoints.ROOT / "build/release")
    options = parser.parse_args()

    blip = options.build / "bin/blip"
    model = checkpoints.ensure(options.folder, options.shape)
    sizes = [tuple(int(side) for side in size.split("x")) for size in options.sizes.split(",")]
    print(f"{options.pictures} photos, {options.shape}, greedy, {NEW_TOKENS} tokens, batches of {options.batch}; medians of {options.runs}")
    print("model, waiting, writing: shares of the whole process's time; decode, preprocess: their time beside it")
    columns = ("model", "waiting", "writing", "decode", "preprocess")
    print(f"{'photos':>10} {'precision':>9} {'pictures/s':>10} " + " ".join(f"{c:>10}" for c in columns))
    for size in sizes:
        pictures = photos.ensure(options.folder, size, options.pictures)
        for precision in options.precisions.split(","):
            converted = checkpoints.converted(blip, model, precision)
            runs = [run(blip, converted, precision, pictures, options.batch) for _ in range(options.runs)]
            shares = [f"{100 * statistics.median(r[c] / r['process'] for r in runs):9.1f}%" for c in columns]
            speed = statistics.median(r["captioned"] / r["process"] for r in runs)
            print(f"{size[0]}x{size[1]:<5} {precision:>9} {speed:10.2f} " + " ".join(shares), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
