#!/usr/bin/env python3
"""64 texts against one picture by ITM: `blip match` beside transformers, in one run, in turn.

transformers is timed in two ways: as its documentation does it (a pass of the vision encoder for every text, here
for 8 texts, times 8), and by hand with one pass of the vision encoder and all texts in one batch."""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "peers"))
import checkpoint as checkpoints  # noqa: E402

PICTURE = checkpoints.ROOT / "tests/golden/data/B_image/jpg_photo_astronaut/input.jpg"
WORDS = "a man woman dog cat red blue small large on near house street table tree sea".split()


def make(folder: pathlib.Path) -> None:
    import torch
    from transformers import BlipConfig, BlipForImageTextRetrieval, BlipImageProcessor

    torch.manual_seed(0)
    text = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, vocab_size=30524)
    vision = dict(checkpoints.SHAPES["base"], image_size=384, patch_size=16)
    model = BlipForImageTextRetrieval(BlipConfig(text_config=text, vision_config=vision))
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    BlipImageProcessor(size={"height": 384, "width": 384}).save_pretrained(partial)
    shutil.copy(checkpoints.ROOT / "tests/golden/data/tokenizer_hf/vocab.txt", partial)
    partial.rename(folder)


class Transformers:
    def __init__(self, folder: pathlib.Path, dtype: str):
        import torch
        from PIL import Image
        from transformers import BertTokenizer, BlipForImageTextRetrieval, BlipImageProcessor

        self.torch = torch
        self.model = BlipForImageTextRetrieval.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        self.tokenizer = BertTokenizer(str(folder / "vocab.txt"))
        self.pixels = BlipImageProcessor.from_pretrained(folder)(images=Image.open(PICTURE), return_tensors="pt").pixel_values.to(self.model.dtype)

    def documented(self, texts: list[str]) -> list[float]:
        tokens = self.tokenizer(texts, padding=True, return_tensors="pt")
        with self.torch.inference_mode():
            out = self.model(pixel_values=self.pixels.expand(len(texts), -1, -1, -1), input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        return out.itm_score.softmax(1)[:, 1].tolist()

    def by_hand(self, texts: list[str]) -> list[float]:
        tokens = self.tokenizer(texts, padding=True, return_tensors="pt")
        with self.torch.inference_mode():
            image = self.model.vision_model(self.pixels)[0].expand(len(texts), -1, -1)
            hidden = self.model.text_encoder(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, encoder_hidden_states=image, return_dict=True)
            return self.model.itm_head(hidden.last_hidden_state[:, 0]).softmax(1)[:, 1].tolist()


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--precision", default="f32", choices=["f32", "bf16", "int8"], help="of blip.cpp")
    parser.add_argument("--dtype", default="float32", help="of transformers")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path.home() / ".cache/blip-bench")
    parser.add_argument("--build", type=pathlib.Path, default=checkpoints.ROOT / "build/release")
    options = parser.parse_args()

    model = options.folder / "itm-base"
    if not model.exists():
        options.folder.mkdir(parents=True, exist_ok=True)
        make(model)
    blip = options.build / "bin/blip"
    texts = [" ".join(WORDS[(i * 7 + k * (i + 1)) % len(WORDS)] for k in range(10)) for i in range(64)]  # 12 tokens each
    listed = options.folder / "texts.txt"
    listed.write_text("\n".join(texts) + "\n")
    folder = checkpoints.converted(blip, model, options.precision)
    command = [blip, "match", PICTURE, "-m", folder, "--precision", options.precision, "--texts", listed, "--only", "itm", "--itm-token", "cls", "--format", "jsonl"]

    def ours() -> list[float]:
        """A whole process: it starts, maps the checkpoint, decodes the picture."""
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return [m["itm_probability"] for m in row["matches"]]

    peer = Transformers(model, options.dtype)
    peer.by_hand(texts[:2])
    rows = []
    for _ in range(options.runs):
        rows.append([timed(ours), timed(lambda: peer.by_hand(texts)), timed(lambda: peer.documented(texts[:8]))])
    mine, hand, documented = (statistics.median(row[i][0] for row in rows) for i in range(3))
    difference = max(abs(a - b) for a, b in zip(rows[0][0][1], rows[0][1][1]))
    print(f"64 texts of 12 tokens, one picture, ITM, base shape; blip.cpp {options.precision}, transformers {options.dtype}; medians of {options.runs}")
    print(f"blip match, a whole process       {mine:7.2f} s")
    print(f"transformers, vision once         {hand:7.2f} s   {hand / mine:5.1f}x")
    print(f"transformers, as documented (8x8) {8 * documented:7.2f} s   {8 * documented / mine:5.1f}x")
    print(f"largest difference of a probability: {difference:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
