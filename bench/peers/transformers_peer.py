#!/usr/bin/env python3
"""transformers: transformers_peer.py CHECKPOINT PICTURE DTYPE NEW_TOKENS BEAMS [once]

once: writes one caption and ends."""

import sys

import torch
from PIL import Image
from transformers import BlipForConditionalGeneration, BlipImageProcessor

import protocol


def main() -> None:
    folder, picture, dtype, new_tokens, beams, *once = sys.argv[1:]
    model = BlipForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    processor = BlipImageProcessor.from_pretrained(folder)
    image = Image.open(picture)
    image.load()
    length = dict(max_new_tokens=int(new_tokens), min_new_tokens=int(new_tokens))

    def pixels():
        return processor(images=image, return_tensors="pt").pixel_values.to(model.dtype)

    def caption():
        return model.generate(pixels(), num_beams=int(beams), do_sample=False, **length)[0].tolist()

    with torch.inference_mode():
        if once:
            print(caption(), file=protocol.OUTPUT)
            return
        protocol.serve(vision=lambda: model.vision_model(pixel_values=pixels()), caption=caption)


if __name__ == "__main__":
    main()
