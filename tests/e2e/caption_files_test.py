#!/usr/bin/env python3
"""`blip caption` that writes files: sidecars, metadata.jsonl, CSV; stopped, killed, gone on with; and folders as people have them.

    caption_files_test.py BLIP [unittest arguments]"""

import csv
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import unittest

import cli_test
import tasks_test
from cli_test import CommandTest, run
from samples import AUTHORS_CAPTIONER, CRABS, CRABS_BY_BEAMS, CRABS_CAPTION, EXPECTED, MODEL, ROOT, SAMPLES

PRETRAINED = ROOT / "tests/golden/data/E_original/pretrain/model_pretrain.pth"
CAPTIONS = {name: row["greedy"] for name, row in EXPECTED.items()}


class FolderTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.photos = self.folder / "photos"
        self.photos.mkdir()

    def copy(self, *names, picture=CRABS):
        for name in names:
            (self.photos / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, self.photos / name)

    def samples(self):
        for name in CAPTIONS:
            shutil.copy(SAMPLES / name, self.photos)

    def caption(self, *arguments, **kwargs):
        """What it says of the run."""
        return json.loads(self.succeed("caption", self.photos, "--format", "json", *arguments, **kwargs))

    def counts(self, *arguments):
        said = self.caption(*arguments)
        return said["captioned"], said["skipped"], said["failed"]

    def text(self, name):
        return (self.photos / name).read_text()

    def files(self, ending):
        return {str(p.relative_to(self.photos)): p.read_bytes() for p in self.photos.rglob("*" + ending)}


class Sidecars(FolderTest):
    def test_one_beside_each_picture(self):
        self.samples()
        self.copy("deep/er/x.PNG")
        self.assertEqual(self.counts("-r", "--sidecar", ".txt"), (len(CAPTIONS) + 1, 0, 0))
        for name, caption in CAPTIONS.items():
            self.assertEqual(self.text(pathlib.Path(name).stem + ".txt"), caption + "\n")
        self.assertEqual(self.text("deep/er/x.txt"), CRABS_CAPTION + "\n")
        self.assertFalse([p for p in self.photos.rglob("*") if ".tmp" in p.name])

    def test_nothing_is_replaced_without_being_told(self):
        self.copy("a.png", "b.png")
        (self.photos / "a.caption").write_text("mine")
        self.assertEqual(self.counts("--sidecar", "caption"), (1, 1, 0))
        self.assertEqual((self.text("a.caption"), self.text("b.caption")), ("mine", CRABS_CAPTION + "\n"))
        # Nothing is left to do: no model is needed.
        self.assertEqual(self.counts("--sidecar", ".caption", "--model", self.folder / "none"), (0, 2, 0))
        self.assertEqual(self.counts("--sidecar", ".caption", "--overwrite"), (2, 0, 0))
        self.assertEqual(self.text("a.caption"), CRABS_CAPTION + "\n")

    def test_added_once(self):
        self.copy("a.png", "b.png")
        (self.photos / "a.txt").write_text("1crab, beach\n")
        for _ in range(2):
            self.succeed("caption", self.photos, "--sidecar", ".txt", "--append", "--suffix", " ")
            self.assertEqual((self.text("a.txt"), self.text("b.txt")), (f"1crab, beach, {CRABS_CAPTION}\n", CRABS_CAPTION + " \n"))
        for _ in range(2):
            self.succeed("caption", self.photos, "--sidecar", ".txt", "--prepend", "--separator", r"\n", "--prefix", "see: ")
            self.assertEqual(self.text("b.txt"), f"see: {CRABS_CAPTION}\n{CRABS_CAPTION}\n")

    def test_templates(self):
        self.copy("10_crab/a.png", "b.png")
        (self.photos / "10_crab/a.tags").write_text("red, shiny\n")
        self.succeed("caption", "-r", self.photos, "--sidecar", ".txt", "--tags", "tags", "--prefix", "{p} ", "--suffix", "!",
                     "--template", "{directory}/{name}: {{{tags}, {caption}}}")  # fmt: skip
        self.assertEqual(self.text("10_crab/a.txt"), "{p} 10_crab/a: {red, shiny, " + CRABS_CAPTION + "}!\n")
        self.assertEqual(self.text("b.txt"), "{p} photos/b: {" + CRABS_CAPTION + "}!\n")
        # The sidecar itself, and again.
        (self.photos / "b.txt").write_text("old")
        for _ in range(2):
            self.succeed("caption", self.photos, "--sidecar", ".txt", "--overwrite", "--template", "{caption}. Tags: {tags}.")
            self.assertEqual(self.text("b.txt"), CRABS_CAPTION + ". Tags: old.\n")

    def test_several_captions_are_lines(self):
        self.copy("a.png")
        self.succeed("caption", self.photos, "--sidecar", ".txt", "--num-beams", "3", "--num-return-sequences", "2", "--prefix", "- ")
        lines = self.text("a.txt").splitlines()
        self.assertEqual(len(lines), 2)
        self.assertEqual(lines[0], "- " + CRABS_BY_BEAMS)

    def test_kohyas_names(self):
        self.copy("a.png")
        done = run("caption", "--batch_size=2", "--beam_search", "--num_beams", "3", "--top_p", "0.9", "--max_length", "75", "--min_length", "5", "--recursive",
                   "--max_data_loader_n_workers", "2", "--seed", "7", "--caption_extention", ".txt", "--caption_weights", MODEL, "--debug", self.photos)  # fmt: skip
        self.assertEqual(done.returncode, 2, done)  # the default model has 64 positions
        self.assertIn(b"64 positions", done.stderr)
        done = run("caption", self.photos, "--batch_size", "2", "--beam_search", "--num_beams", "3", "--top_p", "0.9", "--max_length", "20",
                   "--max_data_loader_n_workers", "2", "--caption_extention", ".txt", "--debug")  # fmt: skip
        self.assertEqual((done.returncode, done.stderr.count(b"\n")), (0, 2), done)
        self.assertEqual(self.text("a.txt"), CRABS_BY_BEAMS + "\n")
        self.succeed("caption", self.photos, "--caption_extension=.caption", "--top_p", "0.5", "--seed", "3")
        self.assertEqual(self.text("a.caption"), self.succeed("caption", CRABS, "--do-sample", "--top-p", "0.5", "--seed", "3"))


class Lists(FolderTest):
    def rows(self, name="metadata.jsonl"):
        return [json.loads(line) for line in (self.photos / name).read_text().splitlines()]

    def test_rows_are_relative_and_in_order(self):
        self.samples()
        self.copy("b/x.png")
        self.caption("-r", "--metadata", self.photos / "metadata.jsonl")
        expected = [{"file_name": n, "text": CAPTIONS.get(n, CRABS_CAPTION)} for n in sorted([*CAPTIONS, "b/x.png"])]
        self.assertEqual(self.rows(), expected)
        self.assertEqual(self.counts("-r", "--metadata", self.photos / "metadata.jsonl"), (0, len(expected), 0))
        self.caption("-r", "--csv", self.folder / "out.csv")
        with open(self.folder / "out.csv", newline="") as file:
            self.assertEqual([r for r in csv.DictReader(file)], [dict(e, file_name="photos/" + e["file_name"]) for e in expected])

    def test_overwriting_keeps_the_old_until_the_new_is_whole(self):
        self.copy("a.png", "b.png")
        old = '{"file_name": "z.png", "text": "mine"}\n'
        metadata = self.photos / "metadata.jsonl"
        metadata.write_text(old)
        (self.photos / "metadata.jsonl.partial").write_text('{"file_name": "a.png", "text": "from before"}\n{"file_na')
        done = run("caption", self.photos, "--metadata", metadata, "--overwrite", "--model", self.folder / "none")
        self.assertEqual((done.returncode, metadata.read_text()), (3, old))
        done = run("caption", self.photos, "--metadata", metadata, "--overwrite")
        self.assertEqual(done.returncode, 0, done)
        self.assertIn(b"goes on", done.stderr)
        self.assertEqual([r["text"] for r in self.rows()], ["from before", CRABS_CAPTION])
        self.assertEqual(sorted(p.name for p in self.photos.iterdir()), ["a.png", "b.png", "metadata.jsonl"])

    def test_overwriting_keeps_the_rows_of_what_failed(self):
        self.copy("a.png", "b.png")
        (self.photos / "b.png").write_bytes(CRABS.read_bytes()[:200])
        mine = '{"text": "mine", "file_name": "b.png", "score": 1}\n'
        metadata = self.photos / "metadata.jsonl"
        metadata.write_text('{"file_name": "a.png", "text": "old"}\n' + mine + '{"file_name": "z.png", "text": "other"}\n')
        self.assertEqual(run("caption", self.photos, "--metadata", metadata, "--overwrite").returncode, 1)
        self.assertEqual((self.rows()[0]["text"], metadata.read_text().splitlines(keepends=True)[1:]), (CRABS_CAPTION, [mine]))
        table = self.photos / "c.csv"
        table.write_text('file_name,text\nb.png,mine\na.png,old\n')
        self.assertEqual(run("caption", self.photos, "--csv", table, "--overwrite").returncode, 1)
        self.assertEqual(table.read_text(), f'file_name,text\n"a.png","{CRABS_CAPTION}"\nb.png,mine\n')

    def test_captions_join_the_rows_that_are_there(self):
        self.copy("a.png", "b.png", "c.png")
        metadata = self.photos / "metadata.jsonl"
        old = '{"text": "other", "file_name": "z.png"}\n{"file_name": "b.png", "tag": 1, "text": "1crab"}\n'
        joined = '{"text": "other", "file_name": "z.png"}\n' + json.dumps({"file_name": "b.png", "tag": 1, "text": f"1crab, {CRABS_CAPTION}"}, separators=(",", ":"))
        rows = "".join(json.dumps({"file_name": n, "text": CRABS_CAPTION}, separators=(",", ":")) + "\n" for n in ("a.png", "c.png"))
        metadata.write_text(old)
        (self.photos / "metadata.jsonl.append.partial").write_text(rows.splitlines(keepends=True)[0] + '{"file_na')  # as a power cut leaves it
        done = run("caption", self.photos, "--metadata", metadata, "--append", "--model", self.folder / "none")
        self.assertEqual((done.returncode, metadata.read_text()), (3, old))
        done = run("caption", self.photos, "--metadata", metadata, "--append")
        self.assertIn(b"goes on", done.stderr)
        self.assertEqual((done.returncode, metadata.read_text()), (0, joined + "\n" + rows))
        self.assertEqual(self.counts("--metadata", metadata, "--append"), (3, 0, 0))
        self.assertEqual(metadata.read_text(), joined + "\n" + rows)
        self.assertEqual(sorted(p.name for p in self.photos.iterdir()), ["a.png", "b.png", "c.png", "metadata.jsonl"])
        table = self.photos / "c.csv"
        table.write_text("file_name,text\nb.png,1crab\n")
        self.assertEqual(self.counts("--csv", table, "--prepend", "--separator", "; "), (3, 0, 0))
        self.assertEqual(table.read_text().splitlines()[1], f'"b.png","{CRABS_CAPTION}; 1crab"')
        metadata.write_text('{"file_name": "a.png", "text": 7}\n')
        self.assertIn(b"a.png", run("caption", self.photos, "--metadata", metadata, "--append", "--model", self.folder / "none").stderr)

    def test_several_captions_are_a_list(self):
        self.copy("a.png")
        self.caption("--metadata", self.photos / "m.jsonl", "--num-beams", "3", "--num-return-sequences", "2")
        self.assertEqual(len(self.rows("m.jsonl")[0]["text"]), 2)

    def test_killed_at_any_moment_and_gone_on_with(self):
        self.copy(*(f"{i:03}.png" for i in range(150)))
        self.caption("--metadata", self.folder / "whole.jsonl", "--batch-size", "4")
        whole = (self.folder / "whole.jsonl").read_bytes()
        cut = self.folder / "cut.jsonl"
        moments = random.Random(5)
        command = [cli_test.BLIP, "caption", str(self.photos), "--metadata", str(cut), "--batch-size", "4"]
        for i in range(10):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(moments.uniform(0.02, 0.2))
            process.send_signal(signal.SIGKILL if i % 2 else signal.SIGINT)
            process.wait(60)
            if i == 5 and cut.exists() and cut.stat().st_size > 20:
                os.truncate(cut, cut.stat().st_size - 7)  # as a power cut leaves it
        run(*command[1:])
        self.assertEqual(cut.read_bytes(), whole)

    def test_stopped_sidecars_go_on(self):
        self.copy(*(f"{i:05}.png" for i in range(2000)))
        process = subprocess.Popen([cli_test.BLIP, "caption", self.photos, "--sidecar", ".txt", "--batch-size", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while len(list(self.photos.glob("*.txt"))) < 4:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said, message = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, message)
        written = self.files(".txt")
        self.assertTrue(4 <= len(written) < 2000)
        self.assertEqual(set(written.values()), {CRABS_CAPTION.encode() + b"\n"})
        self.assertEqual(int(said.split()[0]), len(written))
        self.assertEqual(self.counts("--sidecar", ".txt"), (2000 - len(written), len(written), 0))


class FoldersAsPeopleHaveThem(FolderTest):
    def fails(self, count, *arguments, says=(), **kwargs):
        done = run("caption", self.photos, "-r", "--format", "json", *arguments, **kwargs)
        said = json.loads(done.stdout)
        self.assertEqual((done.returncode, said["failed"], done.stderr.count(b"\n")), (1, count, count), done)
        for words in says:
            self.assertIn(words, done.stderr.decode(errors="replace"))
        return said

    def test_broken_pictures_and_odd_names(self):
        self.copy("good.png", "line\nend.png", "comma,\"quote.png", "x" * 250 + ".png")
        (self.photos / "zero.jpg").write_bytes(b"")
        (self.photos / "cut.png").write_bytes(CRABS.read_bytes()[:200])
        (self.photos / "text.webp").write_text("not a picture")
        (self.photos / "loop").symlink_to(self.photos)
        (self.photos / "self.png").symlink_to(self.photos / "self.png")
        latin = os.fsencode(self.photos) + b"/caf\xe9.png"
        shutil.copy(CRABS, latin)
        said = self.fails(3, "--sidecar", ".txt", says=("zero.jpg", "cut.png", "text.webp"))
        self.assertEqual(said["captioned"], 5)
        self.assertTrue(os.path.exists(latin[:-3] + b"txt"))
        self.assertEqual(self.text("line\nend.txt"), CRABS_CAPTION + "\n")
        self.assertEqual(self.text("x" * 250 + ".txt"), CRABS_CAPTION + "\n")
        # A list can name all but what is not UTF-8.
        said = self.fails(4, "--csv", self.folder / "c.csv", says=("not UTF-8",))
        self.assertEqual(said["captioned"], 4)
        with open(self.folder / "c.csv", newline="") as file:
            self.assertIn("photos/line\nend.png", [r["file_name"] for r in csv.DictReader(file)])
        self.assertEqual(self.fails(4, "--csv", self.folder / "c.csv")["skipped"], 4)

    def test_two_pictures_of_one_sidecar(self):
        self.copy("a.jpg", "a.png", "b.png")
        self.fails(1, "--sidecar", ".txt", says=("a.png", "a.jpg", "a.txt", "--metadata"))
        self.assertEqual(self.text("a.txt"), CRABS_CAPTION + "\n")
        # The same picture, named twice, is one.
        done = run("caption", self.photos / "b.png", self.photos / "../photos/b.png", "--sidecar", ".txt", "--overwrite", "--format", "json")
        self.assertEqual((done.returncode, json.loads(done.stdout)["captioned"]), (0, 1), done)

    def test_sidecars_that_are_none(self):
        self.copy("a.png", "b.png", "c.png")
        (self.photos / "a.txt").mkdir()
        (self.photos / "b.txt").symlink_to("/no/where")
        (self.photos / "c.txt").write_bytes(b"x" * (2 << 20))
        self.fails(3, "--sidecar", ".txt", "--append", says=("not a regular file", "2097152 bytes"))
        self.assertEqual((self.photos / "c.txt").stat().st_size, 2 << 20)

    def test_a_folder_that_takes_no_files(self):
        self.copy("locked/a.png", "b.png")
        (self.photos / "locked").chmod(0o555)
        self.addCleanup((self.photos / "locked").chmod, 0o755)
        nobody = {}
        if os.geteuid() == 0:  # who may write anywhere
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, 65534, 65534)
            nobody = dict(user=65534, group=65534, extra_groups=())
        self.fails(1, "--sidecar", ".txt", says=("Permission denied",), **nobody)
        self.assertEqual(self.text("b.txt"), CRABS_CAPTION + "\n")

    @unittest.skipIf("BLIP_SANITIZED" in os.environ, "clang's OpenMP writes a file of its own, which falls under the limit")
    def test_a_full_disk(self):
        """A limit on the size of files fails as a full disk does, after the same calls."""
        self.copy(*(f"{i:02}.png" for i in range(40)))

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))

        done = run("caption", self.photos, "--sidecar", ".txt", "--batch-size", "4", preexec_fn=limit)
        self.assertEqual(done.returncode, 4, done)
        self.assertEqual(sorted(p.suffix for p in self.photos.iterdir()), [".png"] * 40)  # no part of a file
        done = run("caption", self.photos, "--metadata", self.photos / "m.jsonl", preexec_fn=limit)
        self.assertEqual((done.returncode, (self.photos / "m.jsonl").exists()), (4, False), done)
        self.assertEqual(self.counts("--metadata", self.photos / "m.jsonl"), (40, 0, 0))

    def test_usage(self):
        self.copy("a.png")
        for arguments, says in (
            (["--append"], "--sidecar"), (["--prefix", "x"], "--sidecar"), (["--sidecar", ".png"], "pictures"), (["--sidecar", "a/b"], "file's name"),
            (["--metadata", self.photos / "a.png"], "picture"),
            (["--sidecar", ".txt", "--csv", "x"], "--csv"), (["--sidecar", ".txt", "--overwrite", "--append"], "--append"),
            (["--sidecar", ".txt", "--template", "x"], "{caption}"), (["--sidecar", ".txt", "--template", "{caption} {"], "brace"),
            (["--sidecar", ".txt", "--template", "{caption} {date}"], "{date}"), (["--sidecar", ".txt", "--template", "{caption} {tags}"], "--tags"),
            (["--rank", "itm", *AUTHORS_CAPTIONER], "--rank-model"), (["--rank-model", "x"], "--rank"), (["--captions", "2", "--num-return-sequences", "2"], "--captions"),
        ):  # fmt: skip
            status = 6 if says == "--rank-model" else 2
            self.fail_with(status, "caption", self.photos, *arguments, says=says)
        self.assertEqual(run("caption", "-", "--sidecar", ".txt", stdin=CRABS.read_bytes()).returncode, 2)
        (self.folder / "m.jsonl").write_text("hello\nyou\n")
        self.fail_with(4, "caption", self.photos, "--metadata", self.folder / "m.jsonl", says="row 1")
        self.assertEqual((self.folder / "m.jsonl").read_text(), "hello\nyou\n")


class Ranking(FolderTest):
    def test_by_another_model(self):
        tasks_test.make_models(self.folder)
        judge = self.folder / "retrieval"
        arguments = ["caption", CRABS, "--captions", "6", "--temperature", "1.3", "--rank-model", judge]
        for rank, key in (("itm", "itm_probability"), ("itc", "itc_similarity")):
            row = json.loads(self.succeed(*arguments, "--rank", rank, "--format", "jsonl"))
            scores = [c[key] for c in row["captions"]]
            self.assertEqual(scores, sorted(scores, reverse=True))
            texts = [c["text"] for c in row["captions"]]
            self.assertTrue(1 < len(texts) <= 6 and len(set(texts)) == len(texts), texts)
            match = json.loads(self.succeed("match", CRABS, "--model", judge, *(a for t in texts for a in ("--text", t)), "--format", "jsonl"))
            for score, one in zip(scores, match["matches"]):
                self.assertAlmostEqual(score, one[key], places=4)
            self.assertEqual(self.succeed(*arguments, "--rank", rank), texts[0] + "\n")
            self.copy("a.png")
            self.succeed("caption", self.photos, *arguments[2:], "--rank", rank, "--sidecar", "." + rank)
            self.assertEqual(self.text("a." + rank), texts[0] + "\n")

    def test_by_the_model_itself(self):
        row = json.loads(self.succeed("caption", CRABS, "--model", PRETRAINED, "--vision-heads", "4", "--captions", "4", "--rank", "itm", "--format", "jsonl"))
        scores = [c["itm_probability"] for c in row["captions"]]
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.fail_with(6, "caption", CRABS, "--rank", "itc", "--rank-model", ROOT / "models/vqa", says="no head")


class TwoAtOnce(FolderTest):
    @unittest.skipIf("BLIP_SANITIZED" in os.environ, "clang's OpenMP waits in its own way")
    @unittest.skipUnless(os.path.exists("/proc/thread-self/schedstat"), "the system does not tell how long threads wait")
    def test_take_turns(self):
        """Two programs on the same cores need twice the time; ten and more times if their threads spin while they wait."""
        self.copy(*(f"{i:03}.png" for i in range(200)))
        command = [cli_test.BLIP, "caption", self.photos, "--format", "jsonl"]

        def seconds(programs):
            begin = time.monotonic()
            running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(programs)]
            for program in running:
                self.addCleanup(program.kill)
            self.assertEqual([program.wait(100) for program in running], [0] * programs)
            return time.monotonic() - begin

        seconds(1)
        # The best of some: other programs come and go.
        self.assertLess(min(seconds(2) / seconds(1) for _ in range(3)), 5)


if __name__ == "__main__":
    cli_test.BLIP = sys.argv.pop(1)
    unittest.main()
