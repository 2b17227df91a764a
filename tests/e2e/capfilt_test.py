#!/usr/bin/env python3
"""blip capfilt: what is kept and why, the same bytes whatever happens on the way, books that balance.

    capfilt_test.py BLIP [unittest arguments]"""

import hashlib
import io
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

from samples import AUTHORS_MODEL

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SAMPLES = sorted((ROOT / "models/default/samples").glob("*.png"))
CAPTIONER = ROOT / "models/default"
BOTH = ROOT / "tests/golden/data/E_original/pretrain/model_pretrain.pth"
MODELS = ["--captioner", CAPTIONER, "--filter", BOTH, "--vision-heads", "4"]
BLIP = ""


def command(*arguments):
    return [BLIP, "capfilt", *map(str, arguments)]


def run(*arguments, **kwargs):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BLIP_")}
    return subprocess.run(command(*arguments), capture_output=True, timeout=300, env=environment, **kwargs)


def tree(folder):
    """Every file below a folder, and its content's checksum."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_tar(path, members):
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


class CapFiltTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.out = self.folder / "out"
        self.out.mkdir()

    def succeed(self, *arguments, models=MODELS, **kwargs):
        done = run(*arguments, *models, **kwargs)
        self.assertEqual((done.returncode, done.stderr), (0, b""), done)
        return done.stdout.decode()

    def fail_with(self, status, *arguments, says, models=MODELS, **kwargs):
        done = run(*arguments, *models, **kwargs)
        message = done.stderr.decode()
        self.assertEqual(done.returncode, status, done)
        self.assertTrue(message.startswith("blip: ") and message.count("\n") == 1, message)
        self.assertIn(says, message)

    def lines(self, count, name="in.jsonl"):
        """Pictures with a text each; pictures are taken in turn, names are not."""
        pictures = self.folder / "pictures"
        pictures.mkdir(exist_ok=True)
        path = self.folder / name
        with path.open("w") as file:
            for i in range(count):
                picture = pictures / f"{i:05}.png"
                if not picture.exists():
                    os.link(SAMPLES[i % len(SAMPLES)], picture) if SAMPLES[0].stat().st_dev == pictures.stat().st_dev else shutil.copy(SAMPLES[i % len(SAMPLES)], picture)
                file.write(json.dumps({"image": f"pictures/{i:05}.png", "caption": f"text {i} of a web page"}) + "\n")
        return path

    def shards(self, count, records):
        folder = self.folder / "shards"
        folder.mkdir()
        for s in range(count):
            members = []
            for i in range(records):
                members += [(f"{s:03}{i:04}.png", SAMPLES[(s + i) % len(SAMPLES)].read_bytes()), (f"{s:03}{i:04}.txt", b"a text"), (f"{s:03}{i:04}.cls", b"7")]
            write_tar(folder / f"{s:05}.tar", members)
        return folder

    def books(self, stats):
        counts = json.loads(stats.read_text())["records"]
        self.assertEqual(counts["in"], counts["kept"] + counts["dropped"] + counts["failed"])
        return counts


class Recipe(CapFiltTest):
    def test_lines_with_their_provenance(self):
        self.succeed(self.lines(20), self.out / "clean.jsonl", "--captions", "2", "--itm-threshold", "0.5")
        records = rows(self.out / "clean_records.jsonl")
        self.assertEqual([r["key"] for r in records], [f"pictures/{i:05}.png" for i in range(20)])
        kept = {}
        for record in records:
            self.assertEqual([t["origin"] for t in record["texts"]], ["web", "synthetic", "synthetic"])
            for text in record["texts"]:
                if text.get("reason") == "repeated":
                    continue
                self.assertEqual(text["kept"], text["itm"] >= 0.5)
                self.assertEqual(text.get("reason"), None if text["kept"] else "itm")
                self.assertTrue(-1 <= text["itc"] <= 1)
            texts = [t["text"] for t in record["texts"] if t["kept"]]
            self.assertEqual(record["status"], "kept" if texts else "dropped")
            if texts:
                kept["../" + record["key"]] = texts
        self.assertEqual({r["image"]: r["caption"] for r in rows(self.out / "clean.jsonl")}, kept)
        counts = self.books(self.out / "clean_stats.json")
        self.assertEqual((counts["in"], counts["kept"]), (20, len(kept)))
        self.assertEqual(sorted(p.name for p in self.out.iterdir()), ["clean.jsonl", "clean_records.jsonl", "clean_report.html", "clean_stats.json"])

    def test_names_in_the_working_folder(self):
        self.lines(2)
        self.succeed("in.jsonl", "clean.jsonl", "--itm-threshold", "0", cwd=self.folder)
        self.assertEqual([r["image"] for r in rows(self.folder / "clean.jsonl")], ["pictures/00000.png", "pictures/00001.png"])
        self.succeed("pictures", "clean", cwd=self.folder)
        self.assertTrue((self.folder / "clean/_stats.json").exists())

    def test_the_threshold_decides(self):
        data = self.lines(6)
        self.succeed(data, self.out / "all.jsonl", "--itm-threshold", "0")
        self.assertEqual(self.books(self.out / "all_stats.json")["kept"], 6)
        self.succeed(data, self.out / "none.jsonl", "--itm-threshold", "1")
        self.assertEqual(self.books(self.out / "none_stats.json")["dropped"], 6)
        self.succeed(data, self.out / "itc.jsonl", "--itm-threshold", "0", "--itc-threshold", "1")
        self.assertEqual(json.loads((self.out / "itc_stats.json").read_text())["texts"]["web"]["reasons"], {"itc": 6})

    def test_filter_only_and_captioner_only(self):
        data = self.lines(4)
        self.succeed(data, self.out / "f.jsonl", models=["--no-captioner", *MODELS[2:]])
        self.assertTrue(all(len(r["texts"]) == 1 for r in rows(self.out / "f_records.jsonl")))
        self.succeed(data, self.out / "c.jsonl", models=["--no-filter", *MODELS[:2]])
        for record in rows(self.out / "c_records.jsonl"):
            self.assertEqual([t["kept"] for t in record["texts"]], [True, True])
            self.assertNotIn("itm", record["texts"][0])

    def test_beams_do_not_depend_on_the_seed(self):
        data = self.lines(4)
        for seed in (1, 2):
            for method in ("beam", "nucleus"):
                self.succeed(data, self.out / f"{method}{seed}.jsonl", "--method", method, *(["--seed", seed] if method == "nucleus" else []))
        texts = lambda name: [r["texts"][1]["text"] for r in rows(self.out / f"{name}_records.jsonl")]  # noqa: E731
        self.assertEqual(texts("beam1"), texts("beam2"))
        self.assertNotEqual(texts("nucleus1"), texts("nucleus2"))

    def test_one_checkpoint_as_both(self):
        self.succeed(self.lines(3), self.out / "one.jsonl", models=["--captioner", BOTH, "--filter", BOTH, "--vision-heads", "4"])
        self.assertEqual(json.loads((self.out / "one_stats.json").read_text())["run"]["prompt"], "a picture of ")

    def test_human_sets_are_pooled_unfiltered(self):
        coco = self.folder / "human.json"
        coco.write_text(json.dumps({"images": [{"id": 9, "file_name": "pictures/00001.png"}], "annotations": [{"image_id": 9, "caption": "by a person"}]}))
        self.succeed(self.lines(3), self.out / "clean.jsonl", "--human", coco, "--itm-threshold", "1")
        self.assertEqual(rows(self.out / "clean.jsonl"), [{"image": "../pictures/00001.png", "caption": ["by a person"]}])
        counts = self.books(self.out / "clean_stats.json")
        self.assertEqual((counts["in"], counts["kept"], counts["dropped"], counts["human"]), (4, 1, 3, 1))

    def test_a_folder_with_sidecars(self):
        source = self.folder / "photos"
        (source / "sub").mkdir(parents=True)
        shutil.copy(SAMPLES[0], source / "a.png")
        (source / "a.txt").write_text("one\ntwo\n")
        shutil.copy(SAMPLES[1], source / "sub/b.png")
        shutil.copy(SAMPLES[1], source / "a.jpg")  # a wrong ending, and a.txt is a.jpg's as well
        self.succeed(source, self.out, "--itm-threshold", "0")
        self.assertEqual((self.out / "a.jpg").read_bytes(), SAMPLES[1].read_bytes())
        self.assertEqual((self.out / "a.txt").read_text().splitlines()[:2], ["one", "two"])
        self.assertEqual(len((self.out / "sub/b.txt").read_text().splitlines()), 1)
        self.assertEqual([(r["key"], r["status"]) for r in rows(self.out / "_records.jsonl")], [("a.jpg", "kept"), ("a.png", "failed"), ("sub/b.png", "kept")])
        self.assertFalse((self.out / ".capfilt").exists())
        self.fail_with(2, source, source / "clean", says="lies in")

    def test_coco_keeps_its_ids(self):
        self.lines(2)
        coco = self.folder / "in.json"
        coco.write_text(json.dumps({"images": [{"id": 70 + i, "file_name": f"0000{i}.png"} for i in range(2)], "annotations": [{"image_id": 71, "caption": "c"}]}))
        self.succeed(coco, self.out / "clean.json", "--images", self.folder / "pictures", "--itm-threshold", "0")
        clean = json.loads((self.out / "clean.json").read_text())
        self.assertEqual(clean["images"], [{"id": 70, "file_name": "00000.png"}, {"id": 71, "file_name": "00001.png"}])
        self.assertEqual([a["image_id"] for a in clean["annotations"]], [70, 71, 71])
        self.succeed(self.out / "clean.json", self.out / "again.json", "--images", self.folder / "pictures")

    def test_tars_with_everything_wrong(self):
        shards = self.folder / "shards"
        shards.mkdir()
        good = SAMPLES[0].read_bytes()
        write_tar(shards / "00000.tar", [
            ("good.png", good), ("good.txt", b"a text"), ("good.json", b'{"url": "x"}'),
            ("wrong.jpg", good), ("wrong.txt", b"its ending is wrong"),
            ("empty.png", b""), ("empty.txt", b"no bytes"),
            ("good.png", good), ("good.txt", b"again"),
            ("twice.png", good), ("twice.png", good),
            ("noise.png", bytes(range(256)) * 4), ("noise.txt", b"noise"),
            ("alone.txt", b"no picture"),
            ("latin.png", good), ("latin.txt", "\xe9t\xe9".encode("latin-1")),
            ("long.png", good), ("long.txt", b"word " * 20000),
            ("../out.png", good), ("../out.txt", b"outside"),
        ])  # fmt: skip
        cut = write_tar(shards / "00001.tar", [("first.png", good), ("first.txt", b"a text"), ("second.png", good * 3)])
        os.truncate(cut, 512 * (2 + (len(good) + 511) // 512 + 1) + 512 + 100)
        self.succeed(shards, self.out, "--itm-threshold", "0")
        records = {(r["key"], r["status"]): r for r in rows(self.out / "00000_records.jsonl")}
        self.assertEqual({k for k, s in records if s == "kept"}, {"good", "wrong", "twice", "latin", "long", "../out"})
        self.assertEqual({k: records[k, "failed"]["error"]["code"] for k, s in records if s == "failed"},
                         {"empty": "bad_image", "good": "usage", "twice": "usage", "noise": "bad_image", "alone": "not_found"})  # fmt: skip
        self.assertEqual(records["latin", "kept"]["texts"][0]["text"], "\ufffdt\ufffd")
        long = records["long", "kept"]["texts"][0]
        self.assertEqual((len(long["text"]), long["truncated"]), (99999, True))
        with tarfile.open(self.out / "00000.tar") as tar:
            names = [m.name for m in tar]
            self.assertEqual(names[:4], ["good.json", "good.png", "good.txt", "good.capfilt.json"])
            self.assertEqual(tar.extractfile("good.png").read(), good)
        self.assertEqual([(r["key"], r["status"]) for r in rows(self.out / "00001_records.jsonl")], [("first", "kept"), ("second", "failed")])
        total = json.loads((self.out / "_stats.json").read_text())
        self.assertEqual(total["damaged"][0]["part"], "00001")
        self.assertEqual(self.books(self.out / "_stats.json")["in"], 13)
        folder = self.folder / "folder"
        self.succeed(shards, folder, "--to", "folder", "--itm-threshold", "0")
        self.assertTrue((folder / "00000/good.png").exists())
        self.assertFalse((folder / "out.png").exists() or (self.folder / "out.png").exists())

    def test_a_file_in_a_tar_that_is_too_large(self):
        good = SAMPLES[0].read_bytes()
        shards = self.folder / "shards"
        shards.mkdir()
        large = tarfile.TarInfo("b.png")
        large.size = (256 << 20) + 512
        rest = write_tar(self.folder / "rest.tar", [("b.txt", b"a text"), ("c.png", good), ("c.txt", b"a text")])
        with (shards / "00000.tar").open("wb") as file:
            file.write(large.tobuf(tarfile.USTAR_FORMAT))
            file.seek(large.size, os.SEEK_CUR)
            file.write(rest.read_bytes())
        self.succeed(shards, self.out, "--itm-threshold", "0")
        self.assertEqual([(r["key"], r.get("error", {}).get("code")) for r in rows(self.out / "00000_records.jsonl")], [("b", "too_large"), ("c", None)])
        self.assertNotIn("damaged", json.loads((self.out / "_stats.json").read_text()))

    def test_human_pictures_that_cannot_be_copied(self):
        data = self.lines(2)
        human = self.folder / "human.jsonl"
        human.write_text("".join(json.dumps({"image": f"pictures/{name}", "caption": "by a person"}) + "\n" for name in ("huge.png", "00000.png")))
        with (self.folder / "pictures/huge.png").open("wb") as file:
            file.truncate((1 << 30) + 1)
        self.succeed(data, self.out, "--to", "tar", "--human", human, "--itm-threshold", "0")
        records = rows(self.out / "human_000000_records.jsonl")
        self.assertEqual([(r["status"], r.get("error", {}).get("code")) for r in records], [("failed", "too_large"), ("kept", None)])
        self.assertEqual(self.books(self.out / "_stats.json")["kept"], 3)
        self.succeed(data, self.out / "named.jsonl", "--human", human, "--itm-threshold", "0")
        self.assertEqual(self.books(self.out / "named_stats.json")["kept"], 4)

    def test_the_page_shows_texts_as_texts(self):
        data = self.lines(2)
        data.write_text(json.dumps({"image": "pictures/00000.png", "caption": "<script>alert('x')</script>"}) + "\n")
        self.succeed(data, self.out / "clean.jsonl")
        page = (self.out / "clean_report.html").read_text()
        self.assertNotIn("<script", page)
        self.assertIn("&lt;script&gt;alert(&#39;x&#39;)", page)
        self.assertIn('src="data:image/png;base64,iVBOR', page)

    def test_lines_that_are_bad_are_in_the_books(self):
        data = self.lines(2)
        with data.open("ab") as file:
            file.write(b'nonsense\n{"image": 3}\n{"image": "missing.png", "caption": "x"}\n\n{"image": "pictures/00001.png", "caption": "\xff\xfe"}\n')
        self.succeed(data, self.out / "clean.jsonl", "--itm-threshold", "0")
        counts = self.books(self.out / "clean_stats.json")
        self.assertEqual((counts["in"], counts["failed"]), (6, 4))

    def test_wrong_usage(self):
        data = self.lines(1)
        self.fail_with(2, data, self.out / "x.jsonl", models=MODELS[:2], says="--no-filter")
        self.fail_with(2, data, self.out / "x.jsonl", models=["--no-captioner", "--no-filter"], says="nothing to do")
        self.fail_with(6, data, self.out / "x.jsonl", models=["--no-captioner", "--filter", AUTHORS_MODEL, "--vision-heads", "4"], says="ITM")
        self.fail_with(2, data, self.out / "x.jsonl", "--shard", "4/4", says="--shard")
        self.fail_with(2, data, data, says="input")
        self.fail_with(2, data, self.out / "x", "--to", "folder", says="twice")
        self.fail_with(2, data, self.out, says="is a folder")
        self.fail_with(2, data, self.out / "x.jsonl", "--human-images", "x", says="--human")
        self.fail_with(2, data, self.out / "x.jsonl", models=["--no-filter", "--itm-threshold", "0.4", *MODELS[:2]], says="--itm-threshold")
        other = self.folder / "other"
        other.mkdir()
        (other / "a.txt").write_text("mine")
        self.fail_with(2, data, other, "--to", "tar", says="holds something else")
        self.fail_with(2, data, other / "a.txt", says="holds something else")
        self.assertEqual((other / "a.txt").read_text(), "mine")
        self.fail_with(3, self.folder / "no.jsonl", self.out / "x.jsonl", says="no.jsonl")
        self.assertEqual(list(self.out.iterdir()), [])


class Jobs(CapFiltTest):
    def test_batches_and_shards_give_the_same_records(self):
        data = self.lines(40)
        options = ["--part-size", "7"]
        self.succeed(data, self.out / "one.jsonl", *options)
        self.succeed(data, self.out / "other.jsonl", *options, "--batch-size", "3")
        names = lambda name: {p.name.replace(name, ""): p.read_bytes() for p in self.out.glob(f"{name}*")}  # noqa: E731
        self.assertEqual(names("one"), names("other"))
        for shard in (2, 0, 3, 1):
            told = self.succeed(data, self.out / "four.jsonl", *options, "--shard", f"{shard}/4")
            self.assertEqual("for other workers" in told, shard != 1, told)
        self.assertEqual(names("one"), names("four"))
        self.assertIn("done already", self.succeed(data, self.out / "four.jsonl", *options))
        self.fail_with(2, data, self.out / "four.jsonl", *options, "--seed", "5", says='"generation"')
        self.succeed(data, self.out / "parts.jsonl", "--part-size", "1000")
        self.assertEqual((self.out / "one.jsonl").read_bytes(), (self.out / "parts.jsonl").read_bytes())

    def test_workers_at_the_same_time(self):
        data = self.lines(60)
        options = [data, "OUT", "--part-size", "5", "--num-threads", "1", *MODELS]
        at = lambda name: [self.out / name if o == "OUT" else o for o in options]  # noqa: E731
        workers = [subprocess.Popen(command(*at("many.jsonl")), stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
        for worker in workers:
            _, message = worker.communicate(timeout=200)
            self.assertEqual((worker.returncode, message), (0, b""))
        run(*at("many.jsonl"))  # whoever came last to a part that was busy may have left it
        run(*at("one.jsonl"))
        self.assertEqual((self.out / "one.jsonl").read_bytes(), (self.out / "many.jsonl").read_bytes())
        self.assertFalse((self.out / "many.jsonl.parts").exists())

    def killed(self, source, name, *options):
        """Jobs called b... that are killed at random moments and gone on with, until ten kills have landed; each has the bytes of a..., which none stopped."""
        start = time.monotonic()
        self.succeed(source, self.out / name.format("a"), *options)
        seconds = time.monotonic() - start
        whole = tree(self.out)
        draw = random.Random(7)
        kills = 0
        end = time.monotonic() + 240
        while kills < 10:
            status = -signal.SIGKILL
            while status != 0 and kills < 10:
                self.assertLess(time.monotonic(), end, f"{kills} kills")
                worker = subprocess.Popen(command(source, self.out / name.format("b"), *options, *MODELS), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                try:
                    worker.wait(timeout=draw.random() * seconds)
                except subprocess.TimeoutExpired:
                    worker.send_signal(signal.SIGKILL)
                _, message = worker.communicate()
                status = worker.returncode
                self.assertIn(status, (0, -signal.SIGKILL), message)
                kills += status != 0
            if status != 0:
                self.succeed(source, self.out / name.format("b"), *options)
            self.assertEqual({k: v for k, v in tree(self.out).items() if k[0] == "a"}, whole)
            self.assertEqual({"a" + k[1:]: v for k, v in tree(self.out).items() if k[0] == "b"}, whole)
            for made in self.out.glob("b*"):
                shutil.rmtree(made) if made.is_dir() else made.unlink()

    def test_killed_jobs_give_the_same_bytes(self):
        self.killed(self.lines(150), "{}.jsonl", "--part-size", "40")

    def test_killed_tars_give_the_same_bytes(self):
        self.killed(self.shards(3, 40), "{}")
        with tarfile.open(self.out / "a/00001.tar") as tar:
            kept = [m.name for m in tar if m.name.endswith(".cls")]
        self.assertEqual([k + ".cls" for k in [r["key"] for r in rows(self.out / "a/00001_records.jsonl") if r["status"] == "kept"]], kept)

    def test_killed_folders_give_the_same_bytes(self):
        self.lines(60)
        self.killed(self.folder / "pictures", "{}", "--part-size", "20")

    def test_pictures_that_are_gone_when_their_part_goes_on(self):
        self.lines(6)
        pictures = self.folder / "pictures"
        (pictures / "metadata.jsonl").write_text("".join(json.dumps({"file_name": f"{i:05}.png", "text": "a text"}) + "\n" for i in range(6)))
        for kind in ("tar", "folder"):
            options = ["--to", kind, "--part-size", "3", "--itm-threshold", "0"]
            out = self.out / kind
            self.succeed(pictures, out, *options, "--shard", "0/2")
            next(out.rglob("000000_stats.json")).unlink()  # as if a kill had come before it
            for name in ("00001.png", "00002.png"):
                (pictures / name).rename(self.folder / name)
            self.succeed(pictures, out, *options)
            self.assertEqual(self.books(out / "_stats.json"), {"in": 6, "kept": 4, "dropped": 0, "failed": 2, "human": 0})
            self.succeed(pictures, self.out / "anew", *options)
            self.assertEqual(tree(out), tree(self.out / "anew"))
            shutil.rmtree(self.out / "anew")
            for name in ("00001.png", "00002.png"):
                (self.folder / name).rename(pictures / name)

    def test_stopping_says_how_to_go_on(self):
        data = self.lines(400)
        worker = subprocess.Popen(command(data, self.out / "a.jsonl", *MODELS), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        records = self.out / "a.jsonl.parts/000000_records.jsonl.part"
        for _ in range(500):
            if records.exists() and records.stat().st_size > 0:
                break
            time.sleep(0.01)
        worker.send_signal(signal.SIGINT)
        _, message = worker.communicate(timeout=60)
        self.assertEqual(worker.returncode, 130, message)
        self.assertIn(b"the same command goes on", message)
        self.assertFalse((self.out / "a.jsonl").exists())

    def test_a_shard_that_is_missing_does_not_stop_the_others(self):
        shards = self.shards(2, 4)
        (shards / "00000.tar").rename(self.folder / "later.tar")
        done = run(shards / "{00000..00001}.tar", self.out, *MODELS)
        self.assertEqual(done.returncode, 1, done)
        self.assertIn(b"00000.tar", done.stderr)
        self.assertTrue((self.out / "00001_stats.json").exists())
        self.assertFalse((self.out / "_stats.json").exists())
        (self.folder / "later.tar").rename(shards / "00000.tar")
        self.succeed(shards / "{00000..00001}.tar", self.out)
        self.assertEqual(self.books(self.out / "_stats.json")["in"], 8)

    @unittest.skipIf("BLIP_SANITIZED" in os.environ, "libarchive keeps its buffer when it cannot write, which is told as a leak")
    def test_a_full_disk(self):
        shards = self.shards(2, 30)
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))  # noqa: E731
        self.fail_with(4, shards, self.out / "a", says="cannot write", preexec_fn=limit, restore_signals=False)
        self.assertFalse((self.out / "a/00000.tar").exists() or (self.out / "a/00000_stats.json").exists())
        self.succeed(shards, self.out / "a")  # there is room again
        self.succeed(shards, self.out / "b")
        self.assertEqual(tree(self.out / "a"), tree(self.out / "b"))

    def test_an_input_that_changes_is_refused(self):
        data = self.lines(30)
        parts = self.out / "a.jsonl.parts"
        self.succeed(data, self.out / "a.jsonl", "--part-size", "10", "--shard", "0/3")
        (parts / "000000_stats.json").unlink()
        lines = data.read_text().splitlines()
        data.write_text("\n".join(lines[1:] + lines[:1]) + "\n")
        self.fail_with(2, data, self.out / "a.jsonl", "--part-size", "10", says="has changed")

    @unittest.skipIf("BLIP_SANITIZED" in os.environ, "AddressSanitizer keeps what was freed")
    def test_memory_does_not_grow_with_the_records(self):
        def peak(count):
            data = self.lines(count, f"{count}.jsonl")
            script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
            arguments = command(data, self.out / f"{count}.jsonl", "--part-size", "200", *MODELS)
            return int(subprocess.run([sys.executable, "-c", script, *arguments], check=True, capture_output=True).stdout)

        few, many = peak(100), peak(1000)
        self.assertLess(many, few + 6000, "KiB")


if __name__ == "__main__":
    BLIP = os.path.abspath(sys.argv.pop(1))
    unittest.main()
