#!/usr/bin/env python3
"""Writes tests/data/augmentation, which train/data's tests read: a picture, and what RandAugment's
operations make of it in OpenCV and numpy.

    python3 tools/make_augmentation_fixtures.py [tests/data/augmentation]

Needs opencv-python-headless 4.5 and numpy 1. (OpenCV 5 rounds warpAffine's coordinates differently.)
expected.png holds the results one below the other, in the order of cases.json.
"""
import json
import pathlib
import sys

import cv2
import numpy as np

GRAY = (128, 128, 128)


def picture(height=31, width=40):
    """Smooth colours, some noise, hard edges; no channel spans all values."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:height, 0:width]
    planes = np.stack([40 + 4 * x, 30 + 3 * y + 2 * x, 200 - 3 * y], axis=2) + rng.integers(-6, 7, (height, width, 3))
    planes[8:20, 12:25] = (230, 60, 90)
    return planes.clip(10, 245).astype(np.uint8)


def through_tables(image, make):
    return np.stack([make(image[..., c])[image[..., c]] for c in range(3)], axis=2)


def contrast_table(channel):
    low, high = int(channel.min()), int(channel.max())
    scale = 255 / (high - low)
    return (np.arange(256) * scale - low * scale).clip(0, 255).astype(np.uint8)


def equalize_table(channel):
    counts = np.bincount(channel.ravel(), minlength=256)
    step = (counts.sum() - counts[counts != 0][-1]) // 255
    before = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return ((step // 2 + before) // step).clip(0, 255).astype(np.uint8) if step else np.arange(256, dtype=np.uint8)


def sharpness(image, factor):
    kernel = np.ones((3, 3), np.float32)
    kernel[1, 1] = 5
    smooth = cv2.filter2D(image, -1, kernel / 13).astype(np.float32)
    mixed = smooth + np.float32(factor) * (image.astype(np.float32) - smooth)
    out = image.copy()
    out[1:-1, 1:-1] = mixed.clip(0, 255).astype(np.uint8)[1:-1, 1:-1]
    return out


def warp(image, matrix):
    size = (image.shape[1], image.shape[0])
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=GRAY)


def apply(name, image, v):
    center = (image.shape[1] / 2, image.shape[0] / 2)
    return {
        "AutoContrast": lambda: through_tables(image, contrast_table),
        "Equalize": lambda: through_tables(image, equalize_table),
        "Brightness": lambda: (np.arange(256, dtype=np.float32) * np.float32(v)).clip(0, 255).astype(np.uint8)[image],
        "Sharpness": lambda: sharpness(image, v),
        "ShearX": lambda: warp(image, np.float32([[1, v, 0], [0, 1, 0]])),
        "ShearY": lambda: warp(image, np.float32([[1, 0, 0], [v, 1, 0]])),
        "TranslateX": lambda: warp(image, np.float32([[1, 0, -v], [0, 1, 0]])),
        "TranslateY": lambda: warp(image, np.float32([[1, 0, 0], [0, 1, -v]])),
        "Rotate": lambda: warp(image, cv2.getRotationMatrix2D(center, v, 1)),
    }[name]()


CASES = [
    ("AutoContrast", 0), ("Equalize", 0), ("Brightness", 0.46), ("Brightness", 1.9), ("Sharpness", 0.1),
    ("Sharpness", 1.54), ("ShearX", 0.15), ("ShearX", -0.3), ("ShearY", 0.15), ("ShearY", -0.27),
    ("TranslateX", 5), ("TranslateX", -2.5), ("TranslateY", 5), ("TranslateY", -7.3), ("Rotate", 15),
    ("Rotate", -15), ("Rotate", 30), ("Rotate", -3),
]


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/data/augmentation")
    folder.mkdir(parents=True, exist_ok=True)
    image = picture()
    results = [apply(name, image, v) for name, v in CASES]
    cv2.imwrite(str(folder / "input.png"), image[..., ::-1])
    cv2.imwrite(str(folder / "expected.png"), np.concatenate(results)[..., ::-1])
    (folder / "cases.json").write_text(json.dumps([{"operation": n, "argument": v} for n, v in CASES]) + "\n")


main()
