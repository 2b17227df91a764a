#!/usr/bin/env python3
"""Times blip.cpp against transformers on one picture, interleaved, in one run. See README.md."""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PICTURE = ROOT / "tests/golden/data/B_image/jpg_photo_astronaut/input.jpg"
SHAPES = {
    "base": dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12),
    "large": dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16),
}


def make_checkpoint(folder: pathlib.Path, shape: str) -> None:
    """Random weights of real shape in the Hugging Face layout."""
    import torch
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor

    torch.manual_seed(0)
    text = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, vocab_size=30524)
    vision = dict(SHAPES[shape], image_size=384, patch_size=16)
    config = BlipConfig(text_config=text, vision_config=vision)
    model = BlipForConditionalGeneration(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.02)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    BlipImageProcessor(size={"height": 384, "width": 384}).save_pretrained(partial)
    shutil.copy(ROOT / "tests/golden/data/tokenizer_hf/vocab.txt", partial)
    partial.rename(folder)


def serve_transformers(folder: str, picture: str, new_tokens: int, beams: int, dtype: str) -> None:
    """The same protocol as caption_runner: a line in, a run, a line of JSON out."""
    import torch
    from PIL import Image
    from transformers import BlipForConditionalGeneration, BlipImageProcessor

    model = BlipForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    processor = BlipImageProcessor.from_pretrained(folder)
    image = Image.open(picture)
    image.load()
    for _ in sys.stdin:
        with torch.inference_mode():
            start = time.perf_counter()
            pixels = processor(images=image, return_tensors="pt").pixel_values.to(model.dtype)
            model.vision_model(pixel_values=pixels)
            vision = time.perf_counter() - start
            start = time.perf_counter()
            pixels = processor(images=image, return_tensors="pt").pixel_values.to(model.dtype)
            ids = model.generate(pixels, max_new_tokens=new_tokens, min_new_tokens=new_tokens, num_beams=beams, do_sample=False)
            total = time.perf_counter() - start
        print(json.dumps({"vision": vision, "total": total, "ids": ids[0].tolist()}), flush=True)


class Runner:
    def __init__(self, name: str, command: list[str]):
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.rows = []

    def run(self) -> dict:
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        row = json.loads(self.process.stdout.readline())
        self.rows.append(row)
        return row

    def median(self, key: str) -> float:
        return statistics.median(row[key] for row in self.rows[1:])  # the first run warms up

    def peak_megabytes(self) -> float:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def cold_start(blip: str, folder: pathlib.Path) -> float:
    """Seconds from the start of a process to a caption of one token."""
    start = time.perf_counter()
    subprocess.run([blip, "caption", "--model", folder, "--max-new-tokens", "1", PICTURE], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="large")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path.home() / ".cache/blip-bench")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=20)
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--dtype", default="float32", help="precision of transformers")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve_transformers(*arguments.serve, arguments.new_tokens, arguments.beams, arguments.dtype)
        return 0

    checkpoint = arguments.folder / arguments.shape
    if not checkpoint.exists():
        arguments.folder.mkdir(parents=True, exist_ok=True)
        make_checkpoint(checkpoint, arguments.shape)
    size = (checkpoint / "model.safetensors").stat().st_size / 2**20
    tokens, beams = str(arguments.new_tokens), str(arguments.beams)

    one_token = Runner("blip.cpp, 1 token", [str(arguments.build / "bin/caption_runner"), str(checkpoint), str(PICTURE), "1", "1"])
    for _ in range(3):
        one_token.run()
    one_token.close()
    blip = str(arguments.build / "bin/blip")
    cold = min(cold_start(blip, checkpoint) for _ in range(3))

    ours = Runner("blip.cpp f32", [str(arguments.build / "bin/caption_runner"), str(checkpoint), str(PICTURE), tokens, beams])
    theirs = Runner(f"transformers {arguments.dtype}",
                    [sys.executable, __file__, "--serve", str(checkpoint), str(PICTURE), "--new-tokens", tokens, "--beams", beams, "--dtype", arguments.dtype])
    for _ in range(arguments.runs + 1):
        ours.run()
        theirs.run()

    print(f"BLIP-{arguments.shape}, 384 px, one picture, {beams} beam(s), {tokens} tokens; checkpoint {size:.0f} MiB; medians of {arguments.runs}")
    print(f"{'':24} {'vision s':>9} {'total s':>9} {'peak MiB':>9}")
    for runner in (ours, theirs):
        print(f"{runner.name:24} {runner.median('vision'):9.3f} {runner.median('total'):9.3f} {runner.peak_megabytes():9.0f}")
    print(f"{'ratio':24} {theirs.median('vision') / ours.median('vision'):9.2f} {theirs.median('total') / ours.median('total'):9.2f}")
    print(f"same token ids: {ours.rows[-1]['ids'] == theirs.rows[-1]['ids']}")
    print(f"memory over the checkpoint: {ours.peak_megabytes() - size:.0f} MiB")
    print(f"cold process to its first token: {cold:.3f} s, of which {cold - one_token.median('total'):.3f} s is not computing")
    ours.close()
    theirs.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
