"""The vision encoder of transformers as a module of its own: what other engines convert."""

import torch
from transformers import BlipForConditionalGeneration


class Vision(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.vision_model = model.vision_model

    def forward(self, pixel_values):
        return self.vision_model(pixel_values=pixel_values).last_hidden_state


def load(folder: str) -> Vision:
    return Vision(BlipForConditionalGeneration.from_pretrained(folder, attn_implementation="eager").eval())
