#!/usr/bin/env python3
"""A folder of photos, 20 new tokens for each, greedy: `blip caption DIR` beside transformers in batches, in one run, in turn.

blip.cpp is timed as a whole process that starts, maps the checkpoint, decodes and captions. transformers has its model loaded
before the clock starts; it decodes, prepares and captions batch after batch."""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

import photos

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "peers"))
import checkpoint as checkpoints  # noqa: E402

NEW_TOKENS = 20


class Transformers:
    def __init__(self, folder: pathlib.Path, dtype: str):
        import torch
        from transformers import BlipForConditionalGeneration, BlipImageProcessor

        self.torch = torch
        self.model = BlipForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        self.processor = BlipImageProcessor.from_pretrained(folder)

    def run(self, pictures: list[pathlib.Path], batch: int) -> list[list[int]]:
        from PIL import Image

        ids = []
        for start in range(0, len(pictures), batch):
            images = [Image.open(picture).convert("RGB") for picture in pictures[start : start + batch]]
            pixels = self.processor(images=images, return_tensors="pt").pixel_values.to(self.model.dtype)
            with self.torch.inference_mode():
                ids += self.model.generate(pixels, do_sample=False, num_beams=1, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS).tolist()
        return ids


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="base", choices=list(checkpoints.SHAPES))
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8, help="of both")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--ours", default="int8,bf16,f32", help="precisions of blip.cpp")
    parser.add_argument("--dtypes", default="bfloat16,float32", help="of transformers")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path.home() / ".cache/blip-bench")
    parser.add_argument("--build", type=pathlib.Path, default=checkpoints.ROOT / "build/release")
    options = parser.parse_args()

    model = checkpoints.ensure(options.folder, options.shape)
    folder = photos.ensure(options.folder, (640, 480), options.pictures)
    pictures = sorted(folder.iterdir())
    blip = options.build / "bin/blip"

    def caption(precision: str) -> list[list[int]]:
        command = [blip, "caption", folder, "-m", checkpoints.converted(blip, model, precision), "--precision", precision, "--batch-size", str(options.batch), "--num-beams", "1",
                   "--max-new-tokens", str(NEW_TOKENS), "--min-new-tokens", str(NEW_TOKENS), "--format", "jsonl"]  # fmt: skip
        rows = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        return [json.loads(row)["captions"][0]["tokens"] for row in rows]

    runs = {f"blip.cpp {precision}": lambda precision=precision: caption(precision) for precision in options.ours.split(",")}
    for precision in options.ours.split(","):
        checkpoints.converted(blip, model, precision)
    for dtype in options.dtypes.split(","):
        peer = Transformers(model, dtype)
        runs[f"transformers {dtype}"] = lambda peer=peer: peer.run(pictures, options.batch)

    seconds = {name: [] for name in runs}
    for _ in range(options.runs):
        for name, run in runs.items():
            start = time.perf_counter()
            if len(run()) != len(pictures):
                raise SystemExit(f"{name} left pictures out")
            seconds[name].append((time.perf_counter() - start) / len(pictures))
    print(f"{len(pictures)} pictures, {options.shape}, {NEW_TOKENS} tokens, batches of {options.batch}; medians of {options.runs}")
    ours = [name for name in runs if name.startswith("blip.cpp")]
    print(f"{'':24} {'s a picture':>12} {'pictures/s':>11}  ratio to " + ", ".join(name.removeprefix("blip.cpp ") for name in ours))
    median = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in median.items():
        print(f"{name:24} {value:12.3f} {1 / value:11.2f}  " + ", ".join(f"{value / median[other]:.2f}" for other in ours))
    return 0


if __name__ == "__main__":
    sys.exit(main())
