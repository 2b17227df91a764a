#!/usr/bin/env python3
"""blip index, search and classify as a person uses them, and what helps to use the command: shell
completion and blip help.

    index_test.py BLIP [unittest arguments]"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from samples import AUTHORS_CAPTIONER

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests/golden/data"
PICTURES = ("png_rgb_384", "png_rgb_photo", "jpg_photo_astronaut", "jpg_photo_rocket_422", "bmp_rgb", "png_palette4")
TEXTS = ("a woman and a cup of coffee", "a cat", "a rocket launch at night over the sea.", "an astronaut in front of the flag")
BLIP = ""


def run(*arguments, **kwargs):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BLIP_")}
    return subprocess.run([BLIP, *map(str, arguments)], capture_output=True, timeout=300, env=environment, **kwargs)


class IndexTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.model = self.folder / "model"
        shutil.copytree(GOLDEN / "C_hf/retrieval", self.model)
        shutil.copy(GOLDEN / "tokenizer_hf/vocab.txt", self.model)
        self.photos = self.folder / "photos"
        self.photos.mkdir()
        for name in PICTURES:
            (picture,) = (GOLDEN / "B_image" / name).glob("input.*")
            shutil.copy(picture, self.photos / (name + picture.suffix))
        self.index = self.folder / "photos.index"

    def succeed(self, *arguments, **kwargs):
        done = run(*arguments, **kwargs)
        self.assertEqual((done.returncode, done.stderr), (0, b""), done)
        return done.stdout.decode()

    def fail_with(self, status, *arguments, says=""):
        done = run(*arguments)
        message = done.stderr.decode()
        self.assertEqual(done.returncode, status, done)
        self.assertTrue(message.startswith("blip: ") and message.count("\n") == 1, message)
        self.assertEqual(done.stdout, b"")
        self.assertIn(says, message)

    def build(self, *arguments):
        return self.succeed("index", "build", self.photos, "-o", self.index, "--model", self.model, *arguments)

    def search(self, *arguments, index=None):
        out = self.succeed("search", index or self.index, *arguments, "--format", "jsonl")
        return [json.loads(line)["results"] for line in out.splitlines()]

    def info(self):
        return json.loads(self.succeed("index", "info", self.index, "--format", "json"))

    def match(self, picture, *texts):
        texts = [argument for text in texts for argument in ("--text", text)]
        return json.loads(self.succeed("match", picture, *texts, "--model", self.model, "--format", "jsonl"))["matches"]


class Search(IndexTest):
    def test_every_kind_finds_what_match_finds(self):
        expected = {str(p): self.match(p, *TEXTS) for p in self.photos.iterdir()}
        for kind in ("flat", "hnsw", "ivf"):
            self.assertIn("6 added, 0 unchanged, 0 failed", self.build("--kind", kind))
            self.assertEqual(self.info()["kind"], kind)
            for i, results in enumerate(self.search(*TEXTS)):
                wanted = sorted(expected, key=lambda p: -expected[p][i]["itc_similarity"])
                self.assertEqual([r["path"] for r in results], wanted)
                for r in results:
                    self.assertAlmostEqual(r["score"], expected[r["path"]][i]["itc_similarity"], places=4)
            for i, results in enumerate(self.search(*TEXTS, "--rerank", "6")):
                paper = {p: m[i]["itm_logits"][1] + m[i]["itc_similarity"] for p, m in expected.items()}
                self.assertEqual([r["path"] for r in results], sorted(paper, key=lambda p: -paper[p]))
                for r in results:
                    self.assertAlmostEqual(r["score"], paper[r["path"]], places=4)
            shutil.rmtree(self.index)

    def test_pictures_find_pictures_and_texts(self):
        self.build()
        photo = self.photos / "png_rgb_photo.png"
        (results,) = self.search("--image", photo, "-k", "2")
        self.assertEqual((len(results), results[0]["path"]), (2, str(photo)))
        self.assertAlmostEqual(results[0]["score"], 1, places=4)
        with open(photo, "rb") as picture:
            piped = self.succeed("search", self.index, "--image", "-", "-k", "1", stdin=picture)
        self.assertEqual(piped, f"{results[0]['score']:.4f}\t{photo}\n")

        lines = self.folder / "texts.txt"
        lines.write_text("\n".join(TEXTS) + "\n\n" + TEXTS[0] + "\n")
        captions = self.folder / "captions.index"
        out = self.succeed("index", "build", "--texts", lines, "-o", captions, "--model", self.model)
        self.assertIn("4 added, 1 unchanged", out)
        matches = {m["text"]: m["itm_logits"][1] + m["itc_similarity"] for m in self.match(photo, *TEXTS)}
        (results,) = self.search("--image", photo, "--rerank", "4", index=captions)
        self.assertEqual([r["text"] for r in results], sorted(matches, key=lambda t: -matches[t]))
        self.fail_with(2, "search", captions, TEXTS[0], "--rerank", "4", says="holds texts")
        self.assertEqual(self.search(TEXTS[1], index=captions)[0][0]["text"], TEXTS[1])

    def test_several_queries_are_told_apart(self):
        self.build()
        lines = self.succeed("search", self.index, *TEXTS[:2], "-k", "1").splitlines()
        self.assertEqual([line.split("\t")[0] for line in lines], list(TEXTS[:2]))
        done = run("search", self.index, TEXTS[0], "--image", self.photos / "missing.png", "--format", "json")
        self.assertEqual(done.returncode, 1)
        rows = json.loads(done.stdout)
        self.assertEqual([sorted(row) for row in rows], [["results", "text", "truncated"], ["error", "path"]])

    def test_a_missing_picture_is_reported_not_fatal(self):
        self.build()
        (self.photos / "bmp_rgb.bmp").unlink()
        done = run("search", self.index, TEXTS[0], "--rerank", "6", "--format", "jsonl")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count(b"\n"), 1)
        self.assertIn(b"bmp_rgb.bmp", done.stderr)
        results = json.loads(done.stdout)["results"]
        self.assertEqual(["error" in r for r in results], [False] * 5 + [True])
        self.assertEqual(len(self.search(TEXTS[0])[0]), 6)

    def test_usage(self):
        self.build()
        self.fail_with(2, "search", self.index, says="--image")
        self.fail_with(2, "search", self.index, "", says="text")
        self.fail_with(3, "search", self.folder / "nowhere", "x", says="nowhere")
        self.fail_with(3, "search", self.photos, "x", says="no index")
        self.fail_with(2, "search", self.index, "x", "-k", "0")
        self.fail_with(2, "search", self.index, "--image", self.photos / "png_rgb_384.png", "--rerank", "2", says="holds images")


class Growing(IndexTest):
    def test_new_and_changed_pictures(self):
        moved = self.photos / "png_palette4.png"
        moved.rename(self.folder / "later.png")
        self.assertIn("5 added", self.build())
        (self.folder / "later.png").rename(moved)
        self.assertIn("1 added, 5 unchanged, 0 failed", self.succeed("index", "add", self.index, self.photos))
        before = self.search(*TEXTS)
        self.assertIn("0 added, 6 unchanged", self.succeed("index", "add", self.index, self.photos))
        grown = self.info()
        shutil.rmtree(self.index)
        self.build()
        self.assertEqual(before, self.search(*TEXTS), "grown and built at once")
        self.assertEqual({k: grown[k] for k in ("count", "removed")}, {"count": 6, "removed": 0})

        photo = self.photos / "png_rgb_photo.png"
        shutil.copy(self.photos / "png_rgb_384.png", photo)
        self.assertIn("1 added, 5 unchanged", self.succeed("index", "add", self.index, self.photos))
        info = self.info()
        self.assertEqual((info["count"], info["removed"]), (6, 1))
        (results,) = self.search("--image", photo)
        self.assertEqual({r["path"] for r in results[:2]}, {str(photo), str(self.photos / "png_rgb_384.png")})
        self.assertAlmostEqual(results[1]["score"], 1, places=4)
        self.succeed("index", "info", self.index, "--verify")

    def test_broken_pictures_are_reported_and_the_rest_goes_in(self):
        (self.photos / "broken.png").write_bytes(b"not a picture")
        done = run("index", "build", self.photos, "-o", self.index, "--model", self.model, "--format", "jsonl")
        self.assertEqual(done.returncode, 1)
        report = json.loads(done.stdout)
        self.assertEqual((report["added"], report["count"]), (6, 6))
        self.assertEqual([e["path"] for e in report["errors"]], [str(self.photos / "broken.png")])
        self.assertEqual(done.stderr.count(b"\n"), 1)

    def test_another_model_or_preprocessing_is_refused(self):
        self.build()
        other = self.folder / "other"
        shutil.copytree(self.model, other)
        weights = bytearray((other / "model.safetensors").read_bytes())
        weights[-3] ^= 1
        (other / "model.safetensors").write_bytes(weights)
        self.fail_with(2, "search", self.index, "x", "--model", other, says="another model")
        self.fail_with(2, "index", "add", self.index, self.photos, "--model", other, says="another model")
        self.fail_with(2, "search", self.index, "x", "--image-size", "64", says="another preprocessing")
        self.fail_with(6, "search", self.index, "x", *AUTHORS_CAPTIONER)
        self.fail_with(2, "index", "add", self.index, "--text", "a text", says="holds images")
        self.model.rename(self.folder / "away")
        self.fail_with(3, "search", self.index, "x", says="--model")
        self.search("x", "--model", self.folder / "away")

    def test_the_index_remembers_how_pictures_are_decoded(self):
        self.build("--alpha", "drop", "--image-size", "64")
        self.assertEqual(self.info()["preprocessing"]["alpha"], "drop")
        self.assertEqual(self.info()["preprocessing"]["height"], 64)
        self.assertAlmostEqual(self.search("--image", self.photos / "png_rgb_384.png")[0][0]["score"], 1, places=4)

    def test_folders_that_hold_something_else(self):
        self.fail_with(2, "index", "build", self.photos, "-o", self.photos, "--model", self.model, says="not empty")
        self.assertEqual(len(list(self.photos.iterdir())), len(PICTURES), "nothing was put there")
        self.build()
        self.fail_with(2, "index", "build", self.photos, "-o", self.index, "--model", self.model, says="already holds")
        self.fail_with(2, "index", "build", "-o", self.folder / "x", "--model", self.model, says="pictures")
        self.fail_with(2, "index", "build", self.photos, "--text", "a", "-o", self.folder / "x", "--model", self.model)
        self.fail_with(6, "index", "build", self.photos, "-o", self.folder / "x", *AUTHORS_CAPTIONER)


class Interrupted(IndexTest):
    def setUp(self):
        super().setUp()
        self.many = self.folder / "many"
        self.many.mkdir()
        for i in range(1500):
            os.link(self.photos / ("png_rgb_384.png", "png_palette4.png")[i % 2], self.many / f"{i:05}.png")
        self.build_many = ["index", "build", self.many, "-o", self.index, "--model", self.model, "--num-threads", "1"]

    def start_and_stop(self, how):
        process = subprocess.Popen([BLIP, *map(str, self.build_many)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        entries = self.index / "entries.1"
        deadline = time.monotonic() + 120
        while not (entries.exists() and entries.stat().st_size > 0) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(how)
        process.communicate(timeout=60)
        return process.returncode

    def check_resumed(self):
        self.assertFalse(self.info()["finished"])
        self.fail_with(4, "search", self.index, "x", says="unfinished")
        report = json.loads(self.succeed(*self.build_many, "--format", "jsonl"))
        self.assertGreater(report["recovered"], 0)
        self.assertEqual(report["recovered"] + report["added"], 1500)
        self.assertEqual(report["count"], 1500)
        self.succeed("index", "info", self.index, "--verify")
        vectors = (self.index / "vectors.1").read_bytes()
        shutil.rmtree(self.index)
        self.succeed(*self.build_many)
        self.assertEqual((self.index / "vectors.1").read_bytes(), vectors, "as if it had never been stopped")

    def test_killed(self):
        self.assertEqual(self.start_and_stop(signal.SIGKILL), -signal.SIGKILL)
        self.check_resumed()

    def test_stopped_with_ctrl_c(self):
        self.assertEqual(self.start_and_stop(signal.SIGINT), 130)
        self.assertFalse(self.info()["finished"])

    def test_two_at_once(self):
        process = subprocess.Popen([BLIP, *map(str, self.build_many)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while not (self.index / "manifest.json").exists():
            time.sleep(0.02)
        self.fail_with(4, *self.build_many, says="another process")
        process.kill()
        process.communicate()


class Classify(IndexTest):
    def test_the_likeliest_label_first(self):
        photo = self.photos / "png_rgb_photo.png"
        labels = ("cat", "rocket", "woman", "flag")
        arguments = [a for label in labels for a in ("--label", label)]
        row = json.loads(self.succeed("classify", photo, *arguments, "--model", self.model, "--format", "jsonl"))
        self.assertAlmostEqual(sum(l["probability"] for l in row["labels"]), 1, places=6)
        matches = self.match(photo, *(f"a photo of a {label}" for label in labels))
        wanted = sorted(zip(labels, matches), key=lambda pair: -pair[1]["itc_similarity"])
        self.assertEqual([l["label"] for l in row["labels"]], [label for label, _ in wanted])
        for got, (_, match) in zip(row["labels"], wanted):
            self.assertAlmostEqual(got["score"], match["itc_similarity"], places=4)
        (self.folder / "labels.txt").write_text("\n".join(labels))
        text = self.succeed("classify", self.photos, "--labels", self.folder / "labels.txt", "--top", "1", "--itm", "--model", self.model)
        self.assertEqual(len(text.splitlines()), len(PICTURES))
        self.fail_with(2, "classify", photo, "--model", self.model, says="--label")
        self.fail_with(2, "classify", photo, "--label", "cat", "--template", "a photo", "--model", self.model, says="{}")
        self.fail_with(6, "classify", photo, "--label", "cat", *AUTHORS_CAPTIONER)


class Helping(IndexTest):
    def is_elsewhere(self, command):
        """Whether its options are those of another program, which builds with sanitizers are without."""
        return command == ("train",) and not pathlib.Path(BLIP).with_name("blip-train").exists()

    def commands(self):
        """Every command, such as ("index", "build")."""
        def below(path):
            text = "" if self.is_elsewhere(path) else self.succeed(*path, "--help")
            names = re.findall(r"^  ([a-z]+) ", text.split("Subcommands:")[1], re.M) if "Subcommands:" in text else []
            for name in names:
                yield (*path, name)
                yield from below((*path, name))
        return list(below(()))

    def test_every_command_has_an_example_whose_options_it_knows(self):
        commands = self.commands()
        self.assertIn(("index", "build"), commands)
        for path in commands:
            text = self.succeed("help", *path)
            usage, examples = text.rsplit("Examples:", 1)
            self.assertIn(f"Usage: blip {' '.join(path)}", usage)
            lines = re.findall(r"^  blip (.*)$", examples, re.M)
            self.assertTrue(lines, path)
            for line in lines:
                command = next(p for p in sorted(commands, key=len, reverse=True) if line.startswith(" ".join(p)))
                if self.is_elsewhere(command):
                    continue
                known = self.succeed(*command, "--help")
                for option in re.findall(r"(?<= )--?[a-z][a-z-]*", line.split(" > ")[0]):
                    self.assertRegex(known, rf"(^|[ ,]){option}\b", line)
        self.assertIn("search", self.succeed("help"))
        self.fail_with(2, "help", "nothing", says="nothing")

    def complete(self, *words):
        script = 'source <("$0" completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _blip; printf "%s\\n" "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "-c", script, BLIP, *words], capture_output=True, timeout=60, cwd=self.photos)
        self.assertEqual((done.returncode, done.stderr), (0, b""), done)
        return done.stdout.decode().split()

    def test_bash_completes_commands_options_values_and_files(self):
        self.assertEqual(self.complete("blip", "cl"), ["classify"])
        self.assertEqual(self.complete("blip", "index", ""), ["build", "add", "info"])
        self.assertEqual(self.complete("blip", "index", "build", "--ki"), ["--kind"])
        self.assertEqual(self.complete("blip", "index", "build", "--kind", ""), ["flat", "hnsw", "ivf"])
        self.assertEqual(self.complete("blip", "search", "x", "--form"), ["--format"])
        self.assertEqual(self.complete("blip", "completion", "z"), ["zsh"])
        self.assertEqual(self.complete("blip", "classify", "bmp"), ["bmp_rgb.bmp"])
        self.assertIn("--num-beams", self.complete("blip", "caption", "--"))

    def test_every_shell_has_a_script(self):
        for shell in ("bash", "zsh", "fish"):
            script = self.succeed("completion", shell)
            for words in ("index build", "rerank", "hnsw"):
                self.assertIn(words, script)
            if shutil.which(shell):
                check = subprocess.run([shell, "-n"], input=script.encode(), capture_output=True, timeout=60)
                self.assertEqual((check.returncode, check.stderr), (0, b""))
        self.fail_with(2, "completion", "tcsh")


if __name__ == "__main__":
    BLIP = sys.argv.pop(1)
    unittest.main()
