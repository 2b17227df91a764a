#!/usr/bin/env python3
"""OpenVINO's vision encoder: openvino_peer.py CHECKPOINT PICTURE f32|bf16|int8

int8 is NNCF's post-training quantisation with SmoothQuant, as OpenVINO's own BLIP notebook does it."""

import sys

import numpy as np
import openvino as ov
import torch
from PIL import Image
from transformers import BlipForConditionalGeneration, BlipImageProcessor

import protocol


class Vision(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.vision_model = model.vision_model

    def forward(self, pixel_values):
        return self.vision_model(pixel_values=pixel_values).last_hidden_state


def main() -> None:
    folder, picture, precision = sys.argv[1:]
    model = BlipForConditionalGeneration.from_pretrained(folder, attn_implementation="eager").eval()
    processor = BlipImageProcessor.from_pretrained(folder)
    image = Image.open(picture)
    image.load()

    def pixels():
        return processor(images=image, return_tensors="np").pixel_values

    with torch.inference_mode():
        converted = ov.convert_model(Vision(model), example_input=torch.from_numpy(pixels()))
    converted.reshape([1, *pixels().shape[1:]])
    if precision == "int8":
        import nncf

        noise = np.random.default_rng(0)
        samples = [pixels()] + [noise.normal(size=pixels().shape).astype(np.float32) for _ in range(3)]
        converted = nncf.quantize(converted, nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples))
    hint = {"f32": "f32", "bf16": "bf16", "int8": "bf16"}[precision]
    compiled = ov.Core().compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"})
    protocol.serve(vision=lambda: compiled(pixels()))


if __name__ == "__main__":
    main()
