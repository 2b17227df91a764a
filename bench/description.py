#!/usr/bin/env python3
"""The classic recipe of long descriptions in its worst case, where every text grows to its limit: `blip describe` beside
transformers, in one run, in turn.

transformers is given the very prompts that `blip describe` ran, with the same options, and runs them as a script does that
calls generate() for each: one after the other, the picture prepared and encoded anew every time."""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "peers"))
import checkpoint as checkpoints  # noqa: E402
from matching import PICTURE, timed  # noqa: E402

STAGES = {"prompts": "describe", "extending": "extend", "round": "refine"}  # of a result, of the options


def worst_case(blip: pathlib.Path, share: float) -> dict:
    """The recipe's own options, with no end of a text before its limit."""
    options = json.loads(subprocess.run([blip, "describe", "--show-options"], check=True, capture_output=True).stdout)
    for stage in STAGES.values():
        options[stage]["max_length"] = options[stage]["min_length"] = int(options[stage]["max_length"] * share)
    return options


class Transformers:
    def __init__(self, folder: pathlib.Path, dtype: str, options: dict):
        import torch
        from PIL import Image
        from transformers import BertTokenizer, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

        self.torch = torch
        self.options = options
        self.model = BlipForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        self.processor = BlipProcessor(BlipImageProcessor.from_pretrained(folder), BertTokenizer(str(folder / "vocab.txt")))
        self.picture = Image.open(PICTURE)
        self.picture.load()

    def describe(self, prompts: list[dict]) -> list[int]:
        """Tokens of each text, prompt included."""
        lengths = []
        for prompt in prompts:
            inputs = self.processor(self.picture, prompt["prompt"], return_tensors="pt").to(self.model.dtype)
            settings = {key: value for key, value in self.options[STAGES[prompt["stage"]]].items() if key != "prompts"}
            self.torch.manual_seed(0)
            with self.torch.inference_mode():
                lengths.append(self.model.generate(**inputs, **settings).shape[1])
        return lengths


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=checkpoints.SHAPES, default="large")
    parser.add_argument("--ours", default="f32,bf16,int8", help="precisions of blip.cpp, comma-separated")
    parser.add_argument("--dtypes", default="float32,bfloat16", help="of transformers, comma-separated")
    parser.add_argument("--lengths", type=float, default=1.0, help="share of the recipe's lengths, to try it")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path.home() / ".cache/blip-bench")
    parser.add_argument("--build", type=pathlib.Path, default=checkpoints.ROOT / "build/release")
    options = parser.parse_args()

    blip = options.build / "bin/blip"
    model = checkpoints.ensure(options.folder, options.shape)
    recipe = worst_case(blip, options.lengths)
    recipe_file = options.folder / "describe.json"
    recipe_file.write_text(json.dumps(recipe))
    folders = {precision: checkpoints.converted(blip, model, precision) for precision in options.ours.split(",")}
    peers = {dtype: Transformers(model, dtype, recipe) for dtype in options.dtypes.split(",")}

    def ours(precision: str) -> list[dict]:
        """A whole process: it starts, maps the checkpoint, decodes the picture."""
        command = [blip, "describe", PICTURE, "-m", folders[precision], "--precision", precision, "--options", recipe_file, "--format", "jsonl"]
        row = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return [prompt for prompt in row["prompts"] if not prompt["skipped"]]

    seconds = {name: [] for name in [*folders, *peers]}
    prompts, lengths = [], {}
    for _ in range(options.runs):
        for precision in folders:
            took, ran = timed(lambda: ours(precision))
            seconds[precision].append(took)
            prompts = prompts or ran
        for dtype, peer in peers.items():
            took, lengths[dtype] = timed(lambda: peer.describe(prompts))
            seconds[dtype].append(took)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"BLIP-{options.shape}, one picture, {len(prompts)} prompts to their limits; medians of {options.runs}")
    print(f"{'':24} {'seconds':>9}  " + " ".join(f"{'/ ' + precision:>8}" for precision in folders))
    for name, median in medians.items():
        of = f"transformers {name}" if name in peers else f"blip describe {name}"
        print(f"{of:24} {median:9.2f}  " + " ".join(f"{median / medians[precision]:7.2f}x" for precision in folders))
    for dtype, tokens in lengths.items():
        print(f"tokens of each text, transformers {dtype}: {tokens}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
