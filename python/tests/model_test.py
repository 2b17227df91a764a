"""Model: what goes in, what comes out, what goes wrong."""

from __future__ import annotations

import copy
import os
import pickle
import threading

import numpy as np
import pytest
from conftest import GOLDEN

import blip_cpp
from blip_cpp import BlipError, Model


def text_of(results):
    return [result.text for result in results]


def test_captions_are_the_references(model, pictures, expected):
    assert text_of(model.caption(pictures)) == [expected[path.name]["greedy"] for path in pictures]
    first = model.caption(pictures[0])
    assert first.text == expected[pictures[0].name]["greedy"] and first.finished
    assert first.score == pytest.approx(sum(token.logprob for token in first.tokens))
    beams = model.caption(pictures, num_beams=3)
    assert text_of(beams) == [expected[path.name]["beam3"] for path in pictures]


def test_every_form_of_a_picture(model, pictures):
    content = pictures[0].read_bytes()
    encoded = model.encode(content)
    wanted = model.caption(content)
    for form in (bytearray(content), memoryview(content), pictures[0], str(pictures[0]), encoded):
        assert model.caption(form) == wanted
    assert model.caption(iter([content, pictures[0]])) == [wanted, wanted]
    assert encoded.image_embeds.ndim == 2 and not encoded.image_embeds.flags.writeable


def test_pixels_and_pil(model, pictures):
    Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    picture = Image.open(pictures[0])
    pixels = np.asarray(picture.convert("RGB"))
    wanted = model.caption(pictures[0])
    assert model.caption(picture) == model.caption(pixels) == model.caption(np.asfortranarray(pixels)) == wanted
    assert model.caption(np.stack([pixels, pixels[:, ::-1]]))[0] == wanted  # four dimensions: a batch
    with pytest.raises(BlipError, match="uint8"):
        model.caption(pixels / 255)
    with pytest.raises(BlipError):
        model.caption(np.zeros((0, 4, 3), np.uint8))


def test_a_name_that_is_no_utf8(model, pictures, tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.png"
    with open(path, "wb") as file:
        file.write(pictures[0].read_bytes())
    assert model.caption(os.fsdecode(path)) == model.caption(pictures[0])
    with pytest.raises(BlipError):
        model.caption(os.fsdecode(path + b"x"))


def test_rows_fail_by_themselves(model, pictures):
    rows = model.caption([pictures[0], b"", None, b"\x89PNG\r\n\x1a\n", "/no/such", 1.5], errors="return")
    assert rows[0] == model.caption(pictures[0])
    assert [row.code for row in rows[1:]] == ["bad_image", "usage", "bad_image", "not_found", "usage"]
    with pytest.raises(BlipError) as raised:
        model.caption([pictures[0], b""])
    assert raised.value.code == "bad_image"
    assert model.caption(b"", errors="return").code == "bad_image"
    assert model.caption([]) == []


def test_what_python_refuses_is_an_error_of_its_row(model, pictures):
    content = pictures[0].read_bytes()
    released = memoryview(content)
    released.release()
    wrong = ["\ud800.png", f"{pictures[0]}\0.png", memoryview(content)[::2], released]
    rows = model.caption([*wrong, pictures[0]], errors="return")
    assert [getattr(row, "code", None) for row in rows] == ["usage"] * 4 + [None]
    assert "surrogate" in str(rows[0]) and "NUL" in str(rows[1])
    for path in ("\ud800", f"{blip_cpp.default_model()}\0"):
        with pytest.raises(BlipError):
            Model(path)


def test_pictures_that_are_read_ahead(pictures):
    """More than are encoded at once, 32: a thread reads the later ones, and errors stay with their rows."""
    together = Model(threads=1, batch_size=128)
    rows = [pictures[number % len(pictures)] for number in range(100)]
    for number, wrong in {3: b"", 31: None, 32: b"", 40: "/no/such", 70: b"\x89PNG\r\n\x1a\n", 99: b""}.items():
        rows[number] = wrong
    rows[50] = together.encode(rows[50])
    found = together.encode(rows, errors="return")
    alone = [together.encode([row], errors="return")[0] for row in rows]
    assert [getattr(row, "code", None) for row in found] == [getattr(row, "code", None) for row in alone]
    assert sum(isinstance(row, BlipError) for row in found) == 6
    for one, other in zip(found, alone):
        assert isinstance(one, BlipError) or np.array_equal(one.image_embeds, other.image_embeds)
    with pytest.raises(BlipError):
        together.encode(rows[32:])
    # A group without any that can be read.
    assert [row.code for row in together.encode([*pictures[:1] * 32, *[b""] * 40], errors="return")[32:]] == ["bad_image"] * 40


def test_texts_fail_by_themselves(retrieval, pictures):
    rows = retrieval.match([pictures[0]] * 4, ["a cat", " ", 7, "a cat"], errors="return")
    assert [getattr(row, "code", None) for row in rows] == [None, "usage", "usage", None]
    assert rows[0] == rows[3]


@pytest.mark.parametrize(
    "options, said",
    [
        ({"top_p": 0.9}, "do_sample"),
        ({"length_penalty": 2.0}, "num_beams"),
        ({"top_q": 0.9}, "top_q"),
        ({"num_beams": "x"}, "num_beams cannot be"),
        ({"num_beams": 0}, "num_beams"),
        ({"max_length": 9, "max_new_tokens": 9}, "together"),
        ({"preset": "x"}, "preset"),
        ({"seed": -1}, "seed"),
        ({"seed": [1, 2]}, "no pairs"),
        ({"errors": "x"}, "errors"),
        ({"prompt": ["a", "b"]}, "no pairs"),
        ({"prompt": iter([])}, "there are more"),
        ({"prompt": "\ud800"}, "surrogate"),
    ],
)
def test_mistakes(model, pictures, options, said):
    with pytest.raises(BlipError, match=said) as raised:
        model.caption([pictures[0]], **options)
    assert raised.value.code == "usage"


def test_mistakes_of_all_rows_are_raised_whatever_is_asked(model, checkpoints, pictures):
    with pytest.raises(BlipError):
        model.caption([pictures[0]], errors="return", top_q=1)
    with pytest.raises(BlipError) as raised:
        Model(checkpoints / "vqa").match([pictures[0]], "a cat", errors="return")
    assert raised.value.code == "unsupported"


def test_samples_depend_on_their_seed_alone(model, pictures):
    options = {"do_sample": True, "top_p": 0.9, "num_return_sequences": 2}
    one = [model.captions(path, seed=seed, **options) for seed, path in enumerate(pictures)]
    assert model.captions(pictures, seed=range(len(pictures)), **options) == one
    other = Model(threads=1, batch_size=3)
    assert other.captions(pictures, seed=range(len(pictures)), **options) == one
    assert model.captions(pictures, seed=7, **options) != one


def test_prompts(model, pictures):
    with_prompt = model.caption(pictures[:2], ["a picture of", "a"])
    assert with_prompt[0].text.startswith("a picture of ")
    assert model.caption(pictures[0], "a picture of", strip_prompt=True).text == with_prompt[0].text[len("a picture of ") :]
    assert not model.caption(pictures[0], preset="paper").text.startswith("a picture of")
    # "" is a prompt that is given: none.
    paper, given, none = (model.caption(pictures[0], p, preset="paper").tokens for p in (None, "a picture of ", ""))
    assert paper == given != none


def test_descriptions(model, pictures):
    rows = model.describe([pictures[0], b""], recipe="faithful", errors="return")
    assert rows[0].details["recipe"] == "faithful" and rows[0].text == rows[0].details["text"]
    assert rows[1].code == "bad_image"
    with pytest.raises(BlipError, match="keep_over"):
        model.describe(pictures[0], options={"keep_over_character": 1})
    short = model.describe(pictures[0], detail="off", options={"describe.num_beams": 2})
    assert short.details["rounds"] == 1


def test_answers(checkpoints, pictures):
    vqa = Model(checkpoints / "vqa", threads=1)
    written = vqa.vqa(pictures[:2], "what is it?")
    assert len(written) == 2 and 0 <= written[0][0].probability <= 1
    assert vqa.vqa(pictures[0], "what is it?") == written[0]
    ranked = vqa.vqa(pictures[:2], ["what is it?", "how many?"], answers=["a cat", "two", "a dog"])
    assert sorted(answer.text for answer in ranked[0]) == ["a cat", "a dog", "two"]
    assert ranked[0][0].score >= ranked[0][1].score
    with pytest.raises(BlipError, match="no effect"):
        vqa.vqa(pictures[0], "what?", answers=["a"], num_beams=2)
    rows = vqa.vqa(pictures[:2], ["", "what?"], errors="return")
    assert rows[0].code == "usage" and rows[1][0].text is not None


def test_matches_have_the_shape_of_texts(retrieval, pictures):
    one = retrieval.match(pictures[0], "a cat")
    assert 0 <= one.itm <= 1 and -1 <= one.itc <= 1 and not one.truncated
    row = retrieval.match(pictures[0], ["a cat", "a dog"])
    assert len(row) == 2 and row[0].itm == pytest.approx(one.itm)
    ragged = retrieval.match(pictures[:2], [["a cat", "a dog"], "a cat"])
    assert ragged[0] == row and ragged[1] == retrieval.match(pictures[1], "a cat")
    assert retrieval.match(pictures[:2], "a cat") == [one, ragged[1]]
    assert retrieval.match(pictures[0], "a cat", only="itc").itm is None
    assert retrieval.match(pictures[0], "a cat " * 50).truncated


def test_vectors_give_similarities(retrieval, model, pictures):
    vectors = retrieval.embed(pictures)
    texts = retrieval.embed_texts(["a cat", "a dog"])
    assert vectors.dtype == np.float32 and vectors.shape == (len(pictures), texts.shape[1])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ texts[0] == pytest.approx(retrieval.match(pictures[0], "a cat").itc, abs=1e-5)
    assert np.array_equal(retrieval.embed(pictures[0]), vectors[0])
    rows = retrieval.embed([b"", pictures[0]], errors="return")
    assert rows[0].code == "bad_image" and np.array_equal(rows[1], vectors[0])
    assert np.array_equal(model.embed(pictures[0], kind="raw"), model.encode(pictures[0]).image_embeds[0])
    with pytest.raises(BlipError, match="kind"):
        retrieval.embed(pictures[0], kind="x")


def test_a_picture_belongs_to_its_model(model, retrieval, pictures):
    with pytest.raises(BlipError, match="another model"):
        retrieval.match(model.encode(pictures[0]), "a cat")


def test_checkpoints_that_are_none(tmp_path):
    for path, code in ((tmp_path / "no", "not_found"), (GOLDEN / "E_original/lr_schedules.json", "unsupported")):
        with pytest.raises(BlipError) as raised:
            Model(path)
        assert raised.value.code in (code, "bad_model", "not_found", "unsupported")
    for options in ({"precision": "x"}, {"threads": 0}, {"threads": 10**9}, {"batch_size": 0}, {"alpha": "x"}):
        with pytest.raises(BlipError) as raised:
            Model(**options)
        assert raised.value.code == "usage", options


def test_pickles(model, pictures):
    again = pickle.loads(pickle.dumps(model))
    assert again.caption(pictures[0]) == model.caption(pictures[0])
    assert copy.deepcopy(model.caption(pictures[0])) == model.caption(pictures[0])
    error = pickle.loads(pickle.dumps(BlipError("no", "io")))
    assert (str(error), error.code) == ("no", "io")


def test_threads_share_a_model(model, pictures, expected):
    found = {}

    def caption(number):
        found[number] = text_of(model.caption(pictures))

    threads = [threading.Thread(target=caption, args=(number,)) for number in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    wanted = [expected[path.name]["greedy"] for path in pictures]
    assert list(found.values()) == [wanted] * 4


def test_other_threads_run_meanwhile(model, pictures):
    """The GIL is let go: a thread that counts gets on while captions are written."""
    stop, counted = threading.Event(), [0]

    def count():
        while not stop.is_set():
            counted[0] += 1
            stop.wait(0.0005)

    counter = threading.Thread(target=count)
    counter.start()
    before = counted[0]
    model.captions([pictures[0]] * 16, do_sample=True, num_return_sequences=8)
    after = counted[0]
    stop.set()
    counter.join()
    assert after - before >= 5  # with the GIL held: those between two calls


def test_a_forked_process_is_told(model, pictures):
    child = os.fork()
    if child == 0:
        try:
            model.caption(pictures[0])
        except BlipError as error:
            os._exit(42 if "forked" in str(error) else 1)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42


def test_the_default_model_can_be_named(checkpoints, monkeypatch):
    monkeypatch.setenv("BLIP_MODEL", str(checkpoints / "vqa"))
    assert blip_cpp.default_model() == checkpoints / "vqa"


def test_each_task_has_its_small_model(pictures):
    crabs = next(path for path in pictures if path.name == "test_pair-00065.png")
    assert Model(blip_cpp.default_model("vqa")).vqa(crabs, "how many crabs are there?")[0].text == "2"
    matches = [Model().match(crabs, text).itm for text in ("a lemon and two blue crabs", "a red tent")]
    assert matches[0] > 0.5 > matches[1]
