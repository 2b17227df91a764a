"""BLIP as a library: captions, descriptions, answers, matches and vectors of pictures, without torch.

    import blip_cpp
    model = blip_cpp.Model("blip-large")
    print(model.caption("photo.jpg").text)
"""

from blip_cpp._native import EncodedImage, __version__
from blip_cpp.capfilt import CapFilter, CapFiltOptions, JudgedRecord, JudgedText, Record
from blip_cpp.errors import BlipError
from blip_cpp.model import Model, default_model
from blip_cpp.results import Answer, Caption, Description, Match, Token

__all__ = [
    "Answer",
    "BlipError",
    "CapFiltOptions",
    "CapFilter",
    "Caption",
    "Description",
    "EncodedImage",
    "JudgedRecord",
    "JudgedText",
    "Match",
    "Model",
    "Record",
    "Token",
    "__version__",
    "default_model",
]
