"""Checkpoints with random weights of real shape, made once."""

import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHAPES = {
    "base": dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12),
    "large": dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16),
    "tiny": dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4),  # to try a script
}


def make(folder: pathlib.Path, shape: str) -> None:
    """In the Hugging Face layout."""
    import torch
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor

    torch.manual_seed(0)
    text = dict(SHAPES["tiny" if shape == "tiny" else "base"], vocab_size=30524)
    vision = dict(SHAPES[shape], image_size=384, patch_size=16)
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.02)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    BlipImageProcessor(size={"height": 384, "width": 384}).save_pretrained(partial)
    shutil.copy(ROOT / "tests/golden/data/tokenizer_hf/vocab.txt", partial)
    partial.rename(folder)


def ensure(folder: pathlib.Path, shape: str) -> pathlib.Path:
    checkpoint = folder / shape
    if not checkpoint.exists():
        folder.mkdir(parents=True, exist_ok=True)
        make(checkpoint, shape)
    return checkpoint


def converted(blip: str, checkpoint: pathlib.Path, precision: str) -> pathlib.Path:
    """The checkpoint as `blip convert` writes it."""
    folder = checkpoint.with_name(f"{checkpoint.name}-{precision}")
    if not folder.exists():
        subprocess.run([blip, "convert", checkpoint, folder, "--precision", precision], check=True)
    return folder
