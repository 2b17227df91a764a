"""The pictures that come with the default model, and what it says of them."""

import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MODEL = ROOT / "models/default"
SAMPLES = MODEL / "samples"
AUTHORS_MODEL = ROOT / "tests/golden/data/E_original/caption/model_caption.pth"
AUTHORS_CAPTIONER = ("--model", AUTHORS_MODEL, "--vision-heads", "4")
EXPECTED = {row["file_name"]: row for row in json.loads((SAMPLES / "expected.json").read_text())}
CRABS = SAMPLES / "test_pair-00065.png"
CRABS_CAPTION = EXPECTED[CRABS.name]["greedy"]
CRABS_TOKENS = len(EXPECTED[CRABS.name]["greedy_ids"]) - 1  # they begin with [DEC]
CRABS_BY_BEAMS = EXPECTED[CRABS.name]["beam3"]
