#!/usr/bin/env python3
"""OpenVINO's vision encoder:

    openvino_peer.py convert CHECKPOINT PICTURE f32|bf16|int8 MODEL.xml
    openvino_peer.py serve CHECKPOINT PICTURE f32|bf16|int8 MODEL.xml

int8 is NNCF's post-training quantisation with SmoothQuant, as OpenVINO's own BLIP notebook does it. Serving
loads nothing that converting alone needs, so that its memory is the model's."""

import json
import pathlib
import sys

import numpy as np
import openvino as ov
from PIL import Image

import protocol


def pixels(folder: str, image: Image.Image) -> np.ndarray:
    config = json.loads(pathlib.Path(folder, "preprocessor_config.json").read_text())
    resized = image.convert("RGB").resize((config["size"]["width"], config["size"]["height"]), Image.Resampling.BICUBIC)
    values = np.asarray(resized, dtype=np.float32) / 255
    values = (values - np.float32(config["image_mean"])) / np.float32(config["image_std"])
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def convert(folder: str, image: Image.Image, precision: str, out: str) -> None:
    import torch

    import exported_vision

    example = pixels(folder, image)
    with torch.inference_mode():
        converted = ov.convert_model(exported_vision.load(folder), example_input=torch.from_numpy(example))
    converted.reshape([1, *example.shape[1:]])
    if precision == "int8":
        import nncf

        noise = np.random.default_rng(0)
        samples = [example] + [noise.normal(size=example.shape).astype(np.float32) for _ in range(3)]
        converted = nncf.quantize(converted, nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples))
    ov.save_model(converted, out, compress_to_fp16=False)


def serve(folder: str, image: Image.Image, precision: str, model: str) -> None:
    hint = {"f32": "f32", "bf16": "bf16", "int8": "bf16"}[precision]
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"})
    protocol.serve(vision=lambda: compiled(pixels(folder, image)))


def main() -> None:
    what, folder, picture, precision, model = sys.argv[1:]
    image = Image.open(picture)
    image.load()
    {"convert": convert, "serve": serve}[what](folder, image, precision, model)


if __name__ == "__main__":
    main()
