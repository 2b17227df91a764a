"""Small checkpoints and pictures for all tests."""

from __future__ import annotations

import json
import pathlib
import shutil
import sys

import pytest

import blip_cpp

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "models/default/samples"
GOLDEN = ROOT / "tests/golden/data"
# Of helpers that workers of Ray and Spark import too.
sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def no_other_default():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BLIP_MODEL", raising=False)
        yield


@pytest.fixture(scope="session")
def expected():
    """{file name: what transformers says}"""
    return {row["file_name"]: row for row in json.loads((SAMPLES / "expected.json").read_text())}


@pytest.fixture(scope="session")
def pictures():
    """The paths of the samples."""
    return sorted(SAMPLES.glob("*.png"))


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Checkpoints of the golden data, whose words mean nothing: vqa and retrieval."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("vqa", "retrieval"):
        shutil.copytree(GOLDEN / "C_hf" / name, folder / name, ignore=shutil.ignore_patterns("*expected*", "*inputs*"))
        shutil.copy(GOLDEN / "tokenizer_hf/vocab.txt", folder / name)
    return folder


@pytest.fixture(scope="session")
def command():
    """The command that was built in the same tree as the package."""
    built = pathlib.Path(blip_cpp._native.__file__).parents[2] / "bin/blip"
    if not built.exists():
        pytest.skip("the command is not built")
    return built


@pytest.fixture(scope="session")
def model():
    return blip_cpp.Model(threads=1)


@pytest.fixture(scope="session")
def retrieval(checkpoints):
    return blip_cpp.Model(checkpoints / "retrieval", threads=1)


@pytest.fixture(scope="session")
def capfilt_options(checkpoints):
    """The default model writes, one whose scores mean nothing judges."""
    captioner = str(blip_cpp.default_model())
    return blip_cpp.CapFiltOptions(captioner, str(checkpoints / "retrieval"), threads=1, batch_size=4)
