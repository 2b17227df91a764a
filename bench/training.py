#!/usr/bin/env python3
"""A pre-training step: `blip-train` beside the same model in PyTorch, written as the authors' loop (peers/pretrain_peer.py),
in one run, in turn, data loading included. Prints seconds a step (medians, without the first of each process) and the
peak memory of each process."""

import argparse
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "peers"))
import checkpoint as checkpoints  # noqa: E402
from matching import PICTURE, WORDS  # noqa: E402

VOCABULARY = checkpoints.ROOT / "tests/golden/data/tokenizer_hf/vocab.txt"
SHAPES = {
    "base": dict(image_size=224, patch_size=16, vision_width=768, vision_layers=12, vision_heads=12, text_width=768, text_layers=12,
                 text_heads=12, projection=256, dropout=0.1, queue_size=57600, batch_size=4),
    "small": dict(image_size=64, patch_size=8, vision_width=160, vision_layers=5, vision_heads=5, text_width=160, text_layers=3,
                  text_heads=5, projection=64, dropout=0.1, queue_size=1024, batch_size=32),
}


def make_data(folder: pathlib.Path, count: int) -> pathlib.Path:
    """Photos of 400 x 300 pixels (crops of one) with captions of 6 to 16 words, as COCO-like rows."""
    from PIL import Image

    rng = random.Random(0)
    photo = Image.open(PICTURE).convert("RGB").resize((800, 600))
    rows = []
    for i in range(count):
        left, top = rng.randrange(400), rng.randrange(300)
        photo.crop((left, top, left + 400, top + 300)).save(folder / f"{i}.jpg", quality=90)
        rows.append({"image": f"{i}.jpg", "caption": " ".join(rng.choices(WORDS, k=rng.randint(6, 16)))})
    annotations = folder / "captions.json"
    annotations.write_text(json.dumps(rows))
    return annotations


def peak(command: list, **options) -> tuple[subprocess.CompletedProcess, float]:
    """Runs it; MiB of its largest process, as GNU time tells."""
    done = subprocess.run(["/usr/bin/time", "-f", "peak %M", *map(str, command)], check=True, capture_output=True, text=True, **options)
    line = next(line for line in reversed(done.stderr.splitlines()) if line.startswith("peak "))
    return done, int(line.split()[1]) / 1024


def ours(options, shape: dict, annotations: pathlib.Path, output: pathlib.Path) -> tuple[list, float]:
    model = [f"model.{key}={shape[key]}" for key in shape if key not in ("queue_size", "batch_size")]
    config = output / "bench.yaml"
    output.mkdir(parents=True)
    config.write_text("{}\n")
    _, memory = peak([options.build / "bin/blip-train", "pretrain", "--config", config, f"output={output}/run", f"data.train=[{annotations}]",
                      f"model.tokenizer={VOCABULARY.parent}", *model, f"loss.queue_size={shape['queue_size']}", f"optim.batch_size={shape['batch_size']}",
                      f"optim.max_steps={options.steps}", "optim.epochs=1000", "optim.lr=1e-4", "optim.schedule=constant", "augment.crop_scale_min=0.2",
                      "augment.operations=0", "log.every=1", "log.tensorboard=false", "log.samples=0", "save.every_steps=1000000"])
    rows = [json.loads(line) for line in (output / "run/metrics.jsonl").read_text().splitlines()]
    return [shape["batch_size"] / row["pictures_per_second"] for row in rows if "pictures_per_second" in row], memory


def theirs(options, shape: dict, annotations: pathlib.Path) -> tuple[list, float]:
    command = [sys.executable, checkpoints.ROOT / "bench/peers/pretrain_peer.py", json.dumps(shape | {"vocabulary": str(VOCABULARY)}), annotations, options.steps]
    done, memory = peak(command)
    return json.loads(done.stdout.splitlines()[-1])["seconds"], memory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="base")
    parser.add_argument("--steps", type=int, default=6, help="of each process")
    parser.add_argument("--runs", type=int, default=2, help="processes of each, in turn")
    parser.add_argument("--build", type=pathlib.Path, default=checkpoints.ROOT / "build/release")
    options = parser.parse_args()
    shape = SHAPES[options.shape]
    seconds, memory = {"blip-train": [], "PyTorch": []}, {"blip-train": 0.0, "PyTorch": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        annotations = make_data(folder, max(64, 4 * shape["batch_size"]))
        for run in range(options.runs):
            for name, (steps, most) in (("blip-train", ours(options, shape, annotations, folder / f"ours{run}")),
                                        ("PyTorch", theirs(options, shape, annotations))):
                seconds[name] += steps[1:]
                memory[name] = max(memory[name], most)
    print(f"pre-training, {options.shape}: {shape['image_size']} px, batch {shape['batch_size']}, f32; medians of {len(seconds['PyTorch'])} steps")
    for name in seconds:
        median = statistics.median(seconds[name])
        print(f"{name:12} {median:8.3f} s/step  {memory[name]:7.0f} MiB   {median / statistics.median(seconds['blip-train']):.2f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
