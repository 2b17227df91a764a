#!/usr/bin/env python3
"""ONNX Runtime's vision encoder, f32: onnxruntime_peer.py CHECKPOINT PICTURE"""

import pathlib
import sys
import tempfile

import onnxruntime
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
    folder, picture = sys.argv[1:]
    model = BlipForConditionalGeneration.from_pretrained(folder, attn_implementation="eager").eval()
    processor = BlipImageProcessor.from_pretrained(folder)
    image = Image.open(picture)
    image.load()

    def pixels():
        return processor(images=image, return_tensors="np").pixel_values

    with tempfile.TemporaryDirectory() as exported:
        file = pathlib.Path(exported) / "vision.onnx"
        with torch.inference_mode():
            torch.onnx.export(Vision(model), (torch.from_numpy(pixels()),), file, input_names=["pixel_values"], dynamo=True)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    protocol.serve(vision=lambda: session.run(None, {"pixel_values": pixels()}))


if __name__ == "__main__":
    main()
