#!/usr/bin/env python3
"""convert, quantize, compare and bench as a person uses them.

    precision_test.py BLIP [unittest arguments]"""

import json
import pathlib
import sys
import unittest

import cli_test
from cli_test import CommandTest
from samples import CRABS, CRABS_CAPTION, EXPECTED, MODEL, SAMPLES


class Precision(CommandTest):
    def bf16_copy(self):
        """The model as others store it in bf16."""
        copy = self.model_copy()
        file = copy / "model.safetensors"
        stored = file.read_bytes()
        start = 8 + int.from_bytes(stored[:8], "little")
        header, data = json.loads(stored[8:start]), bytearray()
        for tensor in header.values():
            if "dtype" not in tensor:
                continue
            begin, end = (start + offset for offset in tensor["data_offsets"])
            values = stored[begin:end]
            if tensor["dtype"] == "F32":
                tensor["dtype"] = "BF16"
                values = bytes(byte for i in range(0, len(values), 4) for byte in values[i + 2 : i + 4])
            tensor["data_offsets"] = [len(data), len(data) + len(values)]
            data += values
        text = json.dumps(header).encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + data)
        return copy

    def test_a_converted_model_captions_as_before_and_is_smaller(self):
        for precision, share in (("f32", 1.01), ("bf16", 0.55), ("int8", 0.32)):
            out = self.folder / precision
            self.succeed("convert", MODEL, out, "--precision", precision)
            self.assertEqual(self.succeed("caption", CRABS, "-m", out), CRABS_CAPTION + "\n")
            size = (out / "model.safetensors").stat().st_size
            self.assertLess(size, share * (MODEL / "model.safetensors").stat().st_size)

    def test_an_authors_file_can_be_converted(self):
        out = self.folder / "authors"
        self.succeed("convert", cli_test.AUTHORS_MODEL, out, "--precision", "f32", "--vision-heads", 4)
        before = self.succeed("caption", CRABS, "-m", cli_test.AUTHORS_MODEL, "--vision-heads", 4, "--preset", "paper")
        self.assertEqual(self.succeed("caption", CRABS, "-m", out, "--preset", "paper"), before)

    def test_nothing_that_exists_is_overwritten(self):
        self.fail_with(2, "convert", MODEL, SAMPLES, says="exists already")
        self.fail_with(2, "quantize", MODEL, SAMPLES, "--calibrate", SAMPLES, says="exists already")

    def test_quantize_calibrates_judges_and_keeps_its_figures(self):
        out = self.folder / "int8"
        text = self.succeed("quantize", MODEL, out, "--calibrate", SAMPLES)
        self.assertIn("accuracy gate               passed", text)
        report = json.loads((out / "config.json").read_text())["blip_precision"]
        self.assertTrue(report["passes"])
        self.assertEqual(report["measured"], "vision, captions, matching")
        self.assertGreater(report["cosine"], 0.999)
        self.assertIn(report["activation_levels"], (127, 255))
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["int8"])
        self.assertEqual(self.succeed("caption", CRABS, "-m", out), CRABS_CAPTION + "\n")
        self.fail_with(2, "caption", CRABS, "-m", out, "--precision", "f32", says="int8")

    def test_a_model_that_did_not_pass_says_so_where_it_is_used(self):
        broken = self.model_copy()
        config = json.loads((broken / "config.json").read_text())
        config["blip_precision"] = {"passes": False}
        (broken / "config.json").write_text(json.dumps(config))
        for command in (["caption", CRABS], ["match", CRABS, "--text", "two blue crabs"], ["embed", CRABS, "-o", self.folder / "f.npy"]):
            done = cli_test.run(*command, "-m", broken)
            self.assertEqual(done.returncode, 0, done)
            self.assertEqual(done.stderr.decode().count("did not pass its accuracy gate"), 1, done.stderr)
            self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)

    def test_quantize_squashes_pictures_as_the_preprocessor_says(self):
        wide = self.model_copy()
        config = json.loads((wide / "preprocessor_config.json").read_text())
        config["size"] = {"height": 64, "width": 256}
        (wide / "preprocessor_config.json").write_text(json.dumps(config))
        self.succeed("quantize", wide, self.folder / "int8", "--calibrate", SAMPLES, "--force")

    def test_what_is_converted_is_not_converted_again(self):
        stored = self.folder / "bf16"
        self.succeed("convert", MODEL, stored, "--precision", "bf16")
        self.fail_with(2, "convert", stored, self.folder / "again", "--precision", "int8", says="converted already")
        self.fail_with(2, "quantize", stored, self.folder / "again", "--calibrate", SAMPLES, says="converted already")

    def test_quantize_judges_by_f32_whatever_the_checkpoint_is_stored_in(self):
        stored, out = self.bf16_copy(), self.folder / "int8"
        first, second = list(EXPECTED)[:2]
        self.succeed("quantize", stored, out, "--calibrate", SAMPLES / first, SAMPLES / second)
        report = json.loads((out / "config.json").read_text())["blip_precision"]
        told = json.loads(self.succeed("compare", SAMPLES / second, "-m", out, "--against-model", stored, "--against", "f32", "--format", "json"))
        self.assertEqual(report["cosine"], told["summary"]["cosine"])

    def test_quantize_takes_a_name_with_a_slash_and_touches_nothing_beside_it(self):
        beside = self.folder / "int8.trial"
        beside.mkdir()
        self.succeed("quantize", MODEL, f"{self.folder}/int8/", "--calibrate", SAMPLES, "--max-pictures", 2)
        self.assertEqual(sorted(self.folder.iterdir()), [self.folder / "int8", beside])

    def test_quantize_needs_two_pictures(self):
        self.fail_with(2, "quantize", MODEL, self.folder / "out", "--calibrate", CRABS, says="two pictures")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_compare_tells_how_far_precisions_are_apart(self):
        same = json.loads(self.succeed("compare", CRABS, "--precision", "f32", "--format", "json"))
        self.assertAlmostEqual(same["summary"]["cosine"], 1.0, places=12)
        self.assertEqual(same["summary"]["divergence"], 0.0)
        other = json.loads(self.succeed("compare", CRABS, "--precision", "bf16", "--format", "json"))
        self.assertLess(other["summary"]["cosine"], 1.0 - 1e-9)
        self.assertGreater(other["summary"]["cosine"], 0.9999)
        self.assertEqual(other["pictures"][0]["wanted"], CRABS_CAPTION)

    def test_compare_takes_the_model_before_the_pictures(self):
        vqa = MODEL.parent / "vqa"
        named = self.succeed("compare", vqa, "--precision", "bf16", "--against", "f32", CRABS)
        self.assertEqual(named, self.succeed("compare", CRABS, "-m", vqa, "--precision", "bf16"))
        self.fail_with(2, "compare", vqa, CRABS, "-m", MODEL, says="named twice")
        self.fail_with(2, "compare", vqa, says="no pictures are named")
        self.fail_with(3, "compare", self.folder / "gone.pth", CRABS, says="no checkpoint at")

    def test_compare_tells_how_much_cider_changes(self):
        samples = EXPECTED.values()
        said = self.folder / "said.json"
        said.write_text(json.dumps([{"image": f"somewhere/{s['file_name']}", "caption": s["references"]} for s in samples]))
        words = self.folder / "words.json"
        words.write_text(json.dumps([{"image_id": i, "caption": s["greedy"]} for i, s in enumerate(samples)]))
        numbered = self.folder / "numbered.json"
        numbered.write_text(json.dumps([{"image": s["file_name"], "image_id": i, "caption": c} for i, s in enumerate(samples) for c in s["references"]]))
        report = json.loads(self.succeed("eval", "caption", "-a", numbered, "--results", words, "--format", "json"))
        told = json.loads(self.succeed("compare", SAMPLES, "--precision", "int8", "--references", said, "--format", "json"))["summary"]["cider"]
        self.assertEqual(told["pictures"], len(samples))
        self.assertAlmostEqual(told["wanted"], report["metrics"]["cider"], places=6)
        self.assertAlmostEqual(told["change"], told["got"] - told["wanted"], places=9)
        text = self.succeed("compare", SAMPLES, "--precision", "f32", "--references", said)
        self.assertIn("(+0.00; ", text)
        said.write_text(json.dumps([{"image": "another.png", "caption": ["a crab"]}]))
        self.fail_with(2, "compare", CRABS, "--references", said, says="nothing of any of these pictures")

    def test_compare_says_what_it_measured(self):
        captions = self.succeed("compare", CRABS, "--precision", "bf16")
        self.assertIn("change of ITM probability", captions)
        self.assertIn("passed (vision, captions, matching)\n", captions)
        answers = self.succeed("compare", CRABS, "-m", MODEL.parent / "vqa", "--precision", "bf16")
        self.assertIn("identical answers", answers)
        self.assertIn("passed (vision, answers)\n", answers)
        statements = ("compare", CRABS, "-m", MODEL.parent / "nlvr", "--precision", "bf16")
        self.assertEqual(len(self.succeed(*statements).splitlines()), 3)
        self.assertIn("passed (vision only)\n", self.succeed(*statements))
        summary = json.loads(self.succeed(*statements, "--format", "json"))["summary"]
        self.assertEqual(summary["measured"], "vision only")
        self.assertNotIn("divergence", summary)

    def test_compare_with_another_model_fails_the_gate(self):
        broken = self.model_copy()
        config = json.loads((broken / "config.json").read_text())
        config["vision_config"]["layer_norm_eps"] = 0.9
        (broken / "config.json").write_text(json.dumps(config))
        done = cli_test.run("compare", CRABS, "-m", broken, "--against-model", MODEL)
        self.assertEqual(done.returncode, 1, done)
        self.assertIn(b"NOT passed", done.stdout)

    def test_bench_shows_every_part(self):
        rows = json.loads(self.succeed("bench", CRABS, "--runs", 1, "--tokens", 2, "--format", "json"))
        self.assertEqual(
            [p["part"] for p in rows["parts"]],
            ["decode picture", "preprocess", "vision encoder", "cross keys and values", "per step of 1 sequence"],
        )
        self.assertTrue(all(p["seconds"] > 0 for p in rows["parts"]))
        self.assertGreater(rows["peak_operations_per_second"], 1e8)


if __name__ == "__main__":
    cli_test.BLIP = str(pathlib.Path(sys.argv.pop(1)).resolve())
    unittest.main()
