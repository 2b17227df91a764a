#!/usr/bin/env python3
"""ONNX Runtime's vision encoder, f32: onnxruntime_peer.py CHECKPOINT PICTURE"""

import pathlib
import sys
import tempfile

import onnxruntime
import torch
from PIL import Image
from transformers import BlipImageProcessor

import exported_vision
import protocol


def main() -> None:
    folder, picture = sys.argv[1:]
    vision = exported_vision.load(folder)
    processor = BlipImageProcessor.from_pretrained(folder)
    image = Image.open(picture)
    image.load()

    def pixels():
        return processor(images=image, return_tensors="np").pixel_values

    with tempfile.TemporaryDirectory() as exported:
        file = pathlib.Path(exported) / "vision.onnx"
        with torch.inference_mode():
            torch.onnx.export(vision, (torch.from_numpy(pixels()),), file, input_names=["pixel_values"], dynamo=True)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    protocol.serve(vision=lambda: session.run(None, {"pixel_values": pixels()}))


if __name__ == "__main__":
    main()
