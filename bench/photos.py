"""Photos to time programs on."""

import pathlib

PICTURE = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/data/B_image/jpg_photo_astronaut/input.jpg"


def ensure(folder: pathlib.Path, size: tuple[int, int], count: int) -> pathlib.Path:
    """A folder of JPEG files of that size, which differ in their part of one photo. Made once, below `folder`."""
    from PIL import Image

    made = folder / f"photos-{size[0]}x{size[1]}-{count}"
    if made.exists():
        return made
    photo = Image.open(PICTURE).convert("RGB")
    partial = made.with_name(made.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        inset = i * min(photo.size) // (4 * count)
        box = (inset, inset, photo.width - inset, photo.height - inset // 2)
        photo.resize(size, Image.Resampling.BICUBIC, box).save(partial / f"{i:04d}.jpg", quality=90)
    partial.rename(made)
    return made
