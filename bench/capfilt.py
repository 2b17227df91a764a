#!/usr/bin/env python3
"""CapFilt of a folder of photographs: `blip capfilt` beside transformers with the same two models (captioner and filter of base
shape, random weights), in one run, in turn. transformers gets decoded batches and does as its documentation says: `generate` with
nucleus sampling, then the matching head, which encodes the pictures anew, for the web texts and for the synthetic ones."""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "peers"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import checkpoint as checkpoints  # noqa: E402
import matching  # noqa: E402

TEXT = "a photo of an astronaut in front of a flag"
TOKENS = 20  # random weights do not end by themselves: as many new tokens on both sides


def photographs(folder: pathlib.Path, count: int) -> None:
    """The same picture, each a little another, as JPEG of 640 pixels."""
    from PIL import Image

    image = Image.open(matching.PICTURE).convert("RGB").resize((640, 640))
    for i in range(count):
        image.rotate(i).save(folder / f"{i:04}.jpg", quality=90)
        (folder / f"{i:04}.txt").write_text(TEXT + "\n")


class Transformers:
    def __init__(self, captioner: pathlib.Path, matcher: pathlib.Path, dtype: str, shared: bool):
        import torch
        from transformers import BertTokenizer, BlipForConditionalGeneration, BlipForImageTextRetrieval, BlipImageProcessor

        self.torch, self.shared = torch, shared
        kind = getattr(torch, dtype)
        self.captioner = BlipForConditionalGeneration.from_pretrained(captioner, dtype=kind).eval()
        self.matcher = BlipForImageTextRetrieval.from_pretrained(matcher, dtype=kind).eval()
        self.tokenizer = BertTokenizer(str(captioner / "vocab.txt"))
        self.processor = BlipImageProcessor.from_pretrained(captioner)

    def judge(self, pixels, texts: list[str], hidden=None):
        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=35, return_tensors="pt")
        if hidden is None:
            out = self.matcher(pixel_values=pixels, input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
            return out.itm_score.float().softmax(1)[:, 1].tolist()
        encoded = self.matcher.text_encoder(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, encoder_hidden_states=hidden, return_dict=True)
        return self.matcher.itm_head(encoded.last_hidden_state[:, 0]).float().softmax(1)[:, 1].tolist()

    def run(self, files: list[pathlib.Path], batch: int) -> int:
        from PIL import Image

        kept = 0
        for begin in range(0, len(files), batch):
            images = [Image.open(f).convert("RGB") for f in files[begin : begin + batch]]
            pixels = self.processor(images=images, return_tensors="pt").pixel_values.to(self.captioner.dtype)
            with self.torch.inference_mode():
                ids = self.captioner.generate(pixel_values=pixels, do_sample=True, top_p=0.9, repetition_penalty=1.1, min_new_tokens=TOKENS, max_new_tokens=TOKENS)
                written = [t or "a" for t in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]
                hidden = self.matcher.vision_model(pixels)[0] if self.shared else None
                scores = [s for texts in ([TEXT] * len(images), written) for s in self.judge(pixels, texts, hidden)]
            kept += sum(s >= 0.5 for s in scores)
        return kept


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--precision", default="auto", choices=["auto", "f32", "bf16", "int8"], help="of blip.cpp; auto: bf16 files, which take bf16 where the CPU has it")
    parser.add_argument("--dtype", default="bfloat16", help="of transformers")
    parser.add_argument("--vision-once", action="store_true", help="transformers by hand: the filter encodes each picture once for both texts")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path.home() / ".cache/blip-bench")
    parser.add_argument("--build", type=pathlib.Path, default=checkpoints.ROOT / "build/release")
    options = parser.parse_args()

    blip = options.build / "bin/blip"
    captioner = checkpoints.ensure(options.folder, "base")
    matcher = options.folder / "itm-base"
    if not matcher.exists():
        matching.make(matcher)
    stored = "bf16" if options.precision == "auto" else options.precision
    models = [checkpoints.converted(blip, m, stored) for m in (captioner, matcher)]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        photos = scratch / "photos"
        photos.mkdir()
        photographs(photos, options.pictures)
        files = sorted(photos.glob("*.jpg"))

        def ours():
            """A whole process: it starts, maps two checkpoints, reads, decodes, writes and sums up."""
            shutil.rmtree(scratch / "out", ignore_errors=True)
            subprocess.run([blip, "capfilt", photos, scratch / "out", "--captioner", models[0], "--filter", models[1], "--batch-size", str(options.batch),
                            "--precision", stored, "--min-new-tokens", str(TOKENS), "--max-new-tokens", str(TOKENS)], check=True, capture_output=True)  # fmt: skip

        peer = Transformers(captioner, matcher, options.dtype, options.vision_once)
        peer.run(files[:1], 1)
        rows = [(timed(ours), timed(lambda: peer.run(files, options.batch))) for _ in range(options.runs)]
        books = json.loads((scratch / "out/_stats.json").read_text())["records"]
    mine, theirs = (options.pictures / statistics.median(row[i] for row in rows) for i in range(2))
    print(f"{options.pictures} pictures, a web text and one of {TOKENS} tokens each, base shape; medians of {options.runs}; in the books: {books}")
    print(f"blip capfilt, {options.precision}, a whole process   {mine:6.2f} pictures/s")
    print(f"transformers, {options.dtype}, batches of {options.batch}    {theirs:6.2f} pictures/s   {mine / theirs:4.1f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
