#!/usr/bin/env python3
"""The command as a person uses it: results on standard output, one sentence on standard error when
something is wrong, an exit status of its own for each kind of failure.

    cli_test.py BLIP [unittest arguments]"""

import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

from samples import AUTHORS_MODEL, CRABS, CRABS_BY_BEAMS, CRABS_CAPTION, EXPECTED, MODEL, ROOT, SAMPLES

BLIP = ""


def run(*arguments, stdin=b"", env=None, **kwargs):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BLIP_")} | (env or {})
    return subprocess.run([BLIP, *map(str, arguments)], input=stdin, capture_output=True, timeout=120, env=environment, **kwargs)


class CommandTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def succeed(self, *arguments, **kwargs):
        done = run(*arguments, **kwargs)
        self.assertEqual((done.returncode, done.stderr), (0, b""), done)
        return done.stdout.decode()

    def fail_with(self, status, *arguments, says="", **kwargs):
        """One sentence on standard error, nothing on standard output."""
        done = run(*arguments, **kwargs)
        message = done.stderr.decode()
        self.assertEqual(done.returncode, status, done)
        self.assertTrue(message.startswith("blip: ") and message.count("\n") == 1, message)
        self.assertEqual(done.stdout, b"")
        self.assertIn(says, message)
        return message

    def model_copy(self):
        copy = self.folder / "model"
        shutil.copytree(MODEL, copy, ignore=shutil.ignore_patterns("samples"))
        return copy


class Captions(CommandTest):
    def test_one_picture_gives_the_caption_alone(self):
        self.assertEqual(self.succeed("caption", CRABS), CRABS_CAPTION + "\n")

    def test_standard_input(self):
        self.assertEqual(self.succeed("caption", "-", stdin=CRABS.read_bytes()), CRABS_CAPTION + "\n")

    def test_a_folder_gives_a_line_for_each_picture(self):
        lines = self.succeed("caption", SAMPLES).splitlines()
        expected = {name: row["greedy"] for name, row in EXPECTED.items()}
        self.assertEqual({pathlib.Path(p).name: c for p, c in (line.split("\t") for line in lines)}, expected)

    def test_folders_below_are_read_on_request(self):
        (self.folder / "a" / "b").mkdir(parents=True)
        shutil.copy(CRABS, self.folder / "a" / "b" / "x.PNG")
        self.fail_with(3, "caption", self.folder, says="--recursive")
        self.assertIn(CRABS_CAPTION, self.succeed("caption", "-r", self.folder))

    def test_json_and_jsonl_carry_tokens_and_scores(self):
        arguments = ("caption", CRABS, CRABS, "--num-beams", "3", "--num-return-sequences", "2", "--precision", "f32", "--format")
        rows = json.loads(self.succeed(*arguments, "json"))
        lines = self.succeed(*arguments, "jsonl").splitlines()
        self.assertEqual([json.loads(line) for line in lines], rows)
        self.assertEqual([len(row["captions"]) for row in rows], [2, 2])
        best = rows[0]["captions"][0]
        expected = EXPECTED[CRABS.name]
        self.assertEqual(best["text"], expected["beam3"])
        self.assertAlmostEqual(best["score"], expected["beam3_score"], places=4)
        self.assertEqual(len(best["tokens"]), len(expected["beam3_ids"]) - 1)  # they begin with [DEC]
        self.assertTrue(all(t["logprob"] <= 0 for t in best["tokens"]))

    def test_prompt_kept_and_stripped(self):
        kept = self.succeed("caption", CRABS, "--prompt", "two blue crabs")
        self.assertTrue(kept.startswith("two blue crabs "), kept)
        self.assertEqual("two blue crabs " + self.succeed("caption", CRABS, "--prompt", "two blue crabs", "--strip-prompt"), kept)

    def test_forced_and_bad_words(self):
        self.assertTrue(self.succeed("caption", CRABS, "--forced-prefix", "three").startswith("three "))
        without = self.succeed("caption", "--bad-words", "crabs", "--bad-words", "two blue", CRABS)
        self.assertNotIn("crabs", without)
        self.assertNotIn("two blue", without)

    def test_batches_and_threads_do_not_change_the_text(self):
        base = self.succeed("caption", SAMPLES, "--num-beams", "4")
        for arguments in (["--batch-size", "1"], ["--batch-size", "500"], ["--num-threads", "1"]):
            self.assertEqual(self.succeed("caption", SAMPLES, "--num-beams", "4", *arguments), base)

    def test_a_length_limit_replaces_the_checkpoints(self):
        row = json.loads(self.succeed("caption", CRABS, "--max-length", "4", "--format", "jsonl"))
        self.assertEqual(len(row["captions"][0]["tokens"]), 3)
        self.assertFalse(row["captions"][0]["finished"])

    def test_generation_defaults_of_the_checkpoints_files(self):
        copy = self.model_copy()
        (copy / "generation_config.json").write_text('{"max_new_tokens": 2}')
        self.assertEqual(len(self.succeed("caption", CRABS, "--model", copy).split()), 2)
        (copy / "generation_config.json").unlink()
        config = json.loads((copy / "config.json").read_text())
        config["text_config"]["num_beams"] = 3
        (copy / "config.json").write_text(json.dumps(config))
        self.assertEqual(self.succeed("caption", CRABS, "--model", copy), CRABS_BY_BEAMS + "\n")

    def test_pytorch_bin_and_shards(self):
        copy = self.model_copy()
        weights = (copy / "model.safetensors").read_bytes()
        length = struct.unpack("<Q", weights[:8])[0]
        header = json.loads(weights[8 : 8 + length])
        header.pop("__metadata__", None)
        parts, weight_map = {"model-1.safetensors": {}, "model-2.safetensors": {}}, {}
        for i, (name, info) in enumerate(sorted(header.items())):
            shard = sorted(parts)[i % 2]
            weight_map[name] = shard
            parts[shard][name] = info
        for shard, tensors in parts.items():
            body, entries = b"", {}
            for name, info in tensors.items():
                begin, end = info["data_offsets"]
                data = weights[8 + length + begin : 8 + length + end]
                entries[name] = dict(info, data_offsets=[len(body), len(body) + len(data)])
                body += data
            text = json.dumps(entries).encode()
            (copy / shard).write_bytes(struct.pack("<Q", len(text)) + text + body)
        (copy / "model.safetensors").unlink()
        (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        self.assertEqual(self.succeed("caption", CRABS, "--model", copy), CRABS_CAPTION + "\n")
        (copy / "model-2.safetensors").unlink()
        self.fail_with(3, "caption", CRABS, "--model", copy, says="model-2.safetensors")

    def test_alpha_and_orientation_reach_the_model(self):
        for folder, name, option in (("png_la", "input.png", ["--alpha", "drop"]), ("jpg_exif3", "input.jpg", ["--exif-orientation"])):
            picture = ROOT / "tests/golden/data/B_image" / folder / name
            pixels = []
            for arguments in ([], option):
                self.succeed("preprocess", picture, "-o", self.folder / "p.safetensors", *arguments)
                pixels.append((self.folder / "p.safetensors").read_bytes())
            self.assertNotEqual(*pixels)

    def test_seed_makes_sampling_repeatable(self):
        arguments = ["caption", CRABS, "--do-sample", "--temperature", "1.5", "--num-return-sequences", "4"]
        first, again, other = (self.succeed(*arguments, "--seed", seed) for seed in (1, 1, 2))
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_authors_checkpoint_with_the_papers_settings(self):
        generate = json.loads((AUTHORS_MODEL.parent / "generate.json").read_text())
        self.assertEqual(generate["cases"][0]["params"], {"num_beams": 3, "max_length": 20, "min_length": 5})
        picture = ROOT / "tests/golden/data/B_image/png_rgb_384/input.png"
        out = self.succeed("caption", picture, "--model", AUTHORS_MODEL, "--vision-heads", "4", "--preset", "paper")
        self.assertTrue(out.strip())
        self.assertFalse(out.startswith("a picture of"))
        self.fail_with(2, "caption", picture, "--model", AUTHORS_MODEL, says="heads")

    def test_the_model_of_the_environment(self):
        message = self.fail_with(3, "caption", CRABS, env={"BLIP_MODEL": "/no/such/model"})
        self.assertIn("/no/such/model", message)

    def test_every_instruction_set_gives_the_same_caption(self):
        kernels = json.loads(self.succeed("inspect", "--format", "json"))["cpu"]["kernels"]
        self.assertIn("reference", kernels)
        for isa in kernels:
            self.assertEqual(self.succeed("caption", CRABS, env={"BLIP_ISA": isa}), CRABS_CAPTION + "\n")
        self.fail_with(2, "caption", CRABS, env={"BLIP_ISA": "mmx"}, says="BLIP_ISA")

    def test_two_at_once(self):
        both = [subprocess.Popen([BLIP, "caption", SAMPLES], stdout=subprocess.PIPE) for _ in range(2)]
        outputs = [p.communicate(timeout=120)[0] for p in both]
        self.assertEqual(outputs[0], outputs[1])


class BadInput(CommandTest):
    def test_one_bad_picture_among_many(self):
        (self.folder / "a.png").write_bytes(b"not a picture")
        shutil.copy(CRABS, self.folder / "b.png")
        (self.folder / "c.jpg").write_bytes(b"")
        done = run("caption", self.folder, "--format", "jsonl")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(done.returncode, 1)
        self.assertEqual([("captions" in r, "error" in r) for r in rows], [(False, True), (True, False), (False, True)])
        self.assertEqual(rows[1]["captions"][0]["text"], CRABS_CAPTION)
        self.assertIn("a.png", rows[0]["error"]["message"])
        self.assertEqual(done.stderr.count(b"\n"), 2)

    def test_pictures(self):
        data = CRABS.read_bytes()
        (self.folder / "cut.png").write_bytes(data[: len(data) // 2])
        (self.folder / "empty.png").write_bytes(b"")
        (self.folder / "text.png").write_text("hello")
        huge = data[:16] + struct.pack(">II", 1 << 20, 1 << 20) + data[24:]
        (self.folder / "huge.png").write_bytes(huge)
        for name, status in (("cut.png", 7), ("empty.png", 7)):
            self.fail_with(status, "caption", self.folder / name, says=name)
        self.fail_with(7, "caption", self.folder / "text.png", says="text.png")
        self.fail_with(8, "caption", self.folder / "huge.png", says="huge.png")
        self.fail_with(8, "caption", CRABS, "--max-pixels", "100")
        self.fail_with(3, "caption", self.folder / "missing.png", says="missing.png")
        self.fail_with(4, "caption", "x" * 5000, says="xxx")
        self.fail_with(7, "caption", "-", stdin=b"")

    def test_usage(self):
        (self.folder / "none").mkdir()
        self.fail_with(3, "caption", self.folder / "none", says="no picture")
        self.fail_with(2, "caption", "https://example.org/a.jpg", says="not fetched")
        self.fail_with(2, "caption", CRABS, "--no-such-option", says="--no-such-option")
        self.fail_with(2, "caption")
        self.fail_with(2)
        self.fail_with(2, "caption", CRABS, "--top-k", "5", says="--do-sample")
        self.fail_with(2, "caption", CRABS, "--num-return-sequences", "3", says="num_return_sequences")
        self.fail_with(2, "caption", CRABS, "--length-penalty", "2", says="--num-beams")
        self.fail_with(2, "caption", CRABS, "--max-length", "9", "--max-new-tokens", "9", says="together")
        self.fail_with(2, "caption", CRABS, "--max-length", "1", "--format", "json", says="max_length")
        self.fail_with(2, "caption", CRABS, "--max-length", "100", says="64 positions")
        self.fail_with(2, "caption", CRABS, "--bad-words", "日本", says="vocabulary")
        self.fail_with(2, "caption", CRABS, "--num-beams", "0")
        self.fail_with(2, "caption", CRABS, "--num-beams", "two")
        self.fail_with(2, "caption", CRABS, "--early-stopping", "maybe")
        self.fail_with(2, "caption", CRABS, "--prompt", "a " * 80)
        self.fail_with(2, "caption", "-", "-")
        self.fail_with(2, "caption", CRABS, "--image-size", "99", says="patch")

    def test_models(self):
        copy = self.model_copy()
        weights = (copy / "model.safetensors").read_bytes()
        (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
        self.fail_with(5, "caption", CRABS, "--model", copy, says="model.safetensors")

        length = struct.unpack("<Q", weights[:8])[0]
        header = json.loads(weights[8 : 8 + length])
        renamed = dict(header)
        renamed["other"] = renamed.pop("vision_model.post_layernorm.weight")
        text = json.dumps(renamed).encode()
        (copy / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + weights[8 + length :])
        self.fail_with(5, "caption", CRABS, "--model", copy, says="vision_model.post_layernorm.weight")

        header["vision_model.post_layernorm.weight"]["data_offsets"] = [0, 1 << 40]
        text = json.dumps(header).encode()
        (copy / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + weights[8 + length :])
        self.fail_with(5, "caption", CRABS, "--model", copy)

        (copy / "config.json").write_text('{"model_type": "llama"}')
        self.fail_with(6, "caption", CRABS, "--model", copy, says="llama")
        (copy / "config.json").write_text("{")
        self.fail_with(5, "caption", CRABS, "--model", copy, says="config.json")
        (copy / "config.json").unlink()
        self.fail_with(3, "caption", CRABS, "--model", copy, says="config.json")
        self.fail_with(3, "caption", CRABS, "--model", self.folder / "nowhere", says="nowhere")

    def test_a_pickle_that_wants_to_run_something(self):
        (self.folder / "evil.pth").write_bytes(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.")
        self.fail_with(6, "caption", CRABS, "--model", self.folder / "evil.pth", says="os.system")

    def test_full_disk(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([BLIP, "caption", CRABS], stdout=full, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(done.returncode, 4, done)

    def test_interrupted_results_are_whole(self):
        for output, parse in (("json", lambda out: json.loads(out)), ("jsonl", lambda out: [json.loads(line) for line in out.splitlines()])):
            process = subprocess.Popen([BLIP, "caption", *[str(CRABS)] * 20000, "--format", output, "--batch-size", "2"],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
            first = process.stdout.read(200)
            process.send_signal(signal.SIGINT)
            rest, message = process.communicate(timeout=60)
            rows = parse(first + rest)
            self.assertEqual(process.returncode, 130, message)
            self.assertTrue(0 < len(rows) < 20000)
            self.assertTrue(all(row["captions"][0]["text"] == CRABS_CAPTION for row in rows))


class OtherCommands(CommandTest):
    def test_help_says_what_matters(self):
        text = self.succeed("caption", "--help")
        for words in ("EXIF", "not fetched", "--num-beams", "--preset", "transparency"):
            self.assertIn(words, text)
        self.assertIn("caption", self.succeed("--help"))
        self.assertRegex(self.succeed("--version"), r"^blip \d+\.\d+\.\d+$")

    def test_tokenize_both_ways(self):
        ids = self.succeed("tokenize", "Two blue crabs").split()
        words = (MODEL / "vocab.txt").read_text().splitlines()
        self.assertEqual([words[int(i)] for i in ids], ["[CLS]", "two", "blue", "crabs", "[SEP]"])
        self.assertEqual(self.succeed("tokenize", "--decode", " ".join(ids)), "two blue crabs\n")
        self.fail_with(3, "tokenize", "--model", self.folder / "nowhere", "a cat", says="nowhere")
        row = json.loads(self.succeed("tokenize", "--format", "jsonl", stdin=b"a cat\n"))
        self.assertEqual(row["tokens"], ["[CLS]", "a", "cat", "[SEP]"])
        self.assertEqual(self.succeed("tokenize", "--model", AUTHORS_MODEL, "a picture of").split(), ["101", "1037", "3861", "1997", "102"])

    def test_preprocess_writes_whole_or_nothing(self):
        out = self.folder / "pixels.safetensors"
        self.succeed("preprocess", CRABS, CRABS, "-o", out)
        data = out.read_bytes()
        length = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8 : 8 + length])
        self.assertEqual(header["pixel_values"]["shape"], [2, 3, 64, 64])
        self.assertEqual(len(data), 8 + length + 2 * 3 * 64 * 64 * 4)
        (self.folder / "bad.png").write_bytes(b"x")
        run("preprocess", CRABS, self.folder / "bad.png", "-o", out)
        self.assertEqual(out.read_bytes(), data)
        self.fail_with(4, "preprocess", CRABS, "-o", self.folder / "no" / "folder" / "x")
        self.fail_with(4, "preprocess", CRABS, "-o", "/dev/null", says="not a regular file")
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["bad.png", "pixels.safetensors"])

    def test_inspect(self):
        info = json.loads(self.succeed("inspect", "--format", "json"))
        self.assertEqual(info["architecture"], "pretrain")
        self.assertEqual(info["parts"]["vision_model"]["types"], {"F32": info["parts"]["vision_model"]["parameters"]})
        self.assertEqual(info["vision"]["image_size"], 64)
        self.assertIn("parameters", self.succeed("inspect", MODEL))
        self.assertIn("authors", self.succeed("inspect", AUTHORS_MODEL, "--vision-heads", "4"))


if __name__ == "__main__":
    BLIP = sys.argv.pop(1)
    unittest.main()
