#!/usr/bin/env python3
"""blip bootstrap: every stage killed on its way and gone on with, to the same bytes; what is refused; what is passed over.

    bootstrap_test.py BLIP [unittest arguments]      (blip-train lies beside BLIP)
"""

import fcntl
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from train_test import png

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BLIP = ""
COLOURS = {"red": (200, 30, 30), "green": (20, 180, 40), "blue": (30, 40, 210), "yellow": (220, 210, 30)}
STAGES = ["pretrain", "round1/captioner", "round1/filter", "round1/pairs", "round1/pretrain"]
# What is tested is the way, not what is learnt. The vision encoder has the least size that the engine knows.
TINY = """
model: {tokenizer: "%s", image_size: 32, patch_size: 16, vision_width: 16, vision_layers: 1, vision_heads: 2,
        text_width: 16, text_layers: 1, text_heads: 2, text_positions: 32, projection: 8, dropout: 0.1}
loss: {queue_size: 32, alpha_ramp_epochs: 1}
data: {text_length: 16, threads: 1, prompt: "a picture of "}
optim: {batch_size: 8, epochs: 1000, max_steps: 12, lr: 3e-3, per: step, clip: 1}
save: {every_steps: 3}
log: {every: 1, samples: 0, tensorboard: false}
threads: 1
""" % (ROOT / "models" / "default")


def children(pid):
    path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


class BootstrapTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.config = self.folder / "tiny.yaml"
        self.config.write_text(TINY)
        self.out = self.folder / "out"
        (self.folder / "pictures").mkdir()
        draw = random.Random(1)
        pairs = []
        for i in range(48):
            name = draw.choice(list(COLOURS))
            (self.folder / f"pictures/{i}.png").write_bytes(png([max(0, min(255, c + draw.randrange(-20, 20))) for c in COLOURS[name]]))
            pairs.append({"image": f"{i}.png", "caption": f"a {name} picture"})
        self.noisy = self.folder / "noisy.jsonl"
        self.noisy.write_text("".join(json.dumps(p) + "\n" for p in pairs))
        self.clean = self.folder / "clean.jsonl"
        self.clean.write_text("".join(json.dumps(p) + "\n" for p in pairs[:24]))

    def command(self, *more, output=None):
        words = [BLIP, "bootstrap", "--noisy", self.noisy, "--clean", self.clean, "--noisy-images", self.folder / "pictures",
                 "--clean-images", self.folder / "pictures", "--output", output or self.out, "capfilt.itm_threshold=0",
                 "capfilt.num_threads=1", "capfilt.batch_size=1"]
        for task in ("pretrain", "caption", "retrieval"):
            words += [f"--config-{task}", self.config]
        return [*map(str, words), *map(str, more)]

    def bootstrap(self, *more, status=0, says="", **kwargs):
        done = subprocess.run(self.command(*more, **kwargs), capture_output=True, text=True, timeout=200)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn(says, done.stderr)
        return done.stdout

    def refused(self, *more, status=2, says):
        self.bootstrap(*more, status=status, says=says)

    def is_done(self, stage, output=None):
        stamp = (output or self.out) / f"{stage}.stage.json"
        return stamp.exists() and json.loads(stamp.read_text())["done"]

    def model(self, output, stage="round1/pretrain"):
        return (output / stage / "model/model.safetensors").read_bytes()


class Interruptions(BootstrapTest):
    def work(self, stage, output):
        """How far a stage has come: rows of its metrics, or of CapFilt's provenance."""
        files = [output / stage / "metrics.jsonl", *(output / stage).glob("pairs.jsonl.parts/*_records.jsonl.part")]
        return sum(file.read_text().count("\n") for file in files if file.exists())

    def stop_in(self, stage, how, output):
        process = subprocess.Popen(self.command("train.optim.max_steps=40", output=output), stderr=subprocess.PIPE, text=True)
        end = time.time() + 120
        while not self.is_done(stage, output) and self.work(stage, output) < 5:
            self.assertIsNone(process.poll(), "ended by itself")
            self.assertLess(time.time(), end, "no progress")
            time.sleep(0.002)
        if how == "kill the program":
            for child in children(process.pid):
                os.kill(child, signal.SIGKILL)
        else:
            process.send_signal(how)
        said = process.communicate(timeout=60)[1]
        if how == "kill the program":
            # One that was quicker has done its stage, and the next was hit.
            self.assertEqual(process.returncode, 4, said)
            self.assertIn("was ended by signal 9; the same command", said)
        elif how == signal.SIGINT:
            self.assertEqual(process.returncode, 130, said)
            self.assertIn("the same command", said)

    def test_each_stage_killed_and_gone_on_with(self):
        whole = self.folder / "whole"
        self.bootstrap("train.optim.max_steps=40", output=whole)
        for how in (signal.SIGKILL, signal.SIGINT, "kill the program"):
            output = self.folder / "stopped"
            for stage in STAGES[2:4] if how == "kill the program" else STAGES:
                self.stop_in(stage, how, output)
            said = self.bootstrap("train.optim.max_steps=40", output=output)
            self.assertIn("round1/pretrain   step 40, loss", said)
            for stage in STAGES:
                if stage != "round1/pairs":
                    self.assertEqual(self.model(output, stage), self.model(whole, stage), (how, stage))
            for name in ("pairs.jsonl", "pairs_records.jsonl"):
                self.assertEqual((output / "round1/pairs" / name).read_bytes().replace(b"stopped", b"whole"),
                                 (whole / "round1/pairs" / name).read_bytes(), (how, name))
            shutil.rmtree(output)


class Stages(BootstrapTest):
    def test_a_second_run_does_nothing(self):
        self.assertIn("round1/filter      to do\n  ", self.bootstrap("--plan"))
        self.assertFalse(self.out.exists())
        first = self.bootstrap()
        report = json.loads((self.out / "report.json").read_text())
        self.assertEqual([s["stage"] for s in report["stages"]], STAGES)
        self.assertEqual(report["stages"][3]["records"]["in"], 48)
        self.assertEqual(report["stages"][3]["texts"]["synthetic"]["count"], 48)
        self.assertEqual(report["stages"][0]["step"], 12)
        self.assertEqual({"loss_ita", "loss_itm", "loss_lm"} - set(report["stages"][4]["losses"]), set())
        before = {p: p.stat().st_mtime_ns for p in self.out.rglob("*") if p.is_file() and p.name != "report.json"}
        self.assertEqual(self.bootstrap(), first)
        self.assertEqual({p: p.stat().st_mtime_ns for p in before}, before)
        self.assertEqual(self.bootstrap("--plan").split(), [w for s in STAGES for w in (s, "done")])
        # Another round takes up what is there; speed and logs may change.
        self.bootstrap("--rounds", "2", "train.log.every=2", "capfilt.batch_size=4")
        self.assertEqual({p: p.stat().st_mtime_ns for p in before}, before)
        line = self.bootstrap("--plan", "--rounds", "3").splitlines()[-1]
        self.assertIn(f"{self.out}/round3/pairs/pairs.jsonl", line)
        self.assertNotIn("model.init", line)  # from scratch
        self.assertIn(f"model.init={self.out}/round2/pretrain/model", self.bootstrap("--plan", "--rounds", "3"))

    def test_changed_settings(self):
        self.bootstrap("train.optim.max_steps=2")
        model = self.model(self.out, "round1/captioner")
        changed = ("train.optim.max_steps=2", "retrieval.optim.max_steps=3")
        self.refused(*changed, says="round1/filter was made otherwise: optim.max_steps is 3, but was 2; give what it was, or --redo round1/filter")
        plan = self.bootstrap(*changed, "--plan", "--redo", "round1/filter")
        self.assertEqual(plan.count("to do"), 3)
        self.bootstrap(*changed, "--redo", "round1/filter")
        self.assertEqual(self.model(self.out, "round1/captioner"), model)
        self.assertIn("round1/filter     step 3", self.bootstrap(*changed))
        with self.noisy.open("a") as file:
            file.write(json.dumps({"image": "0.png", "caption": "one more"}) + "\n")
        self.refused(*changed, says="pretrain was made otherwise: the noisy pairs have changed")
        self.noisy.write_text("".join(self.noisy.read_text().splitlines(keepends=True)[:-1]))
        self.bootstrap(*changed)
        (self.out / "pretrain.stage.json").unlink()
        self.refused(*changed, says="round1/captioner is there, but not pretrain, which it was made from; --redo pretrain")

    def test_wrong_input(self):
        self.refused("--redo", "filter", says='there is no stage "filter"; there are: pretrain, round1/captioner')
        self.refused("optim.lr=1", says="should be TASK.KEY=VALUE")
        self.refused("pretrain.optim.lrr=1", says='pretrain: key "optim.lrr" is unknown; "optim.lr" is the nearest')
        self.refused("caption.model.init=x", says='"model.init" is set by the stages')
        self.refused("capfilt.itm_threshold=7", says="capfilt: --itm-threshold")
        self.refused("capfilt.thresh=0.5", says="capfilt: ")
        self.refused("capfilt.shard=0/2", says='"shard" is set by the stages')
        self.refused("--no-captioner", "--no-filter", says="nothing to bootstrap")
        self.refused("--noisy", "nowhere.jsonl", status=3, says="nowhere.jsonl does not exist")
        config, self.config = self.config, "nowhere.yaml"
        self.refused(status=3, says="pretrain: cannot open nowhere.yaml")
        self.config = config
        self.assertFalse(self.out.exists())
        (self.folder / "pictures/0.png").unlink()
        self.refused("train.data.max_bad_share=0", status=4, says="pretrain ended with exit status 4; the same command")
        self.assertFalse(self.is_done("pretrain"))

    def test_only_one_at_a_time(self):
        first = subprocess.Popen(self.command("train.optim.max_steps=100000"), stderr=subprocess.PIPE, text=True)
        while not (self.out / "pretrain/metrics.jsonl").exists():
            self.assertIsNone(first.poll())
            time.sleep(0.01)
        second = subprocess.Popen(self.command("train.optim.max_steps=100000"), stderr=subprocess.PIPE, text=True)
        time.sleep(1)
        self.assertIsNone(second.poll())  # it waits for one that is just ending
        second.send_signal(signal.SIGTERM)
        self.assertEqual((second.communicate(timeout=60), second.returncode)[1], 130)
        first.send_signal(signal.SIGTERM)
        self.assertEqual((first.communicate(timeout=60), first.returncode)[1], 130)

    def test_another_worker_at_the_pairs(self):
        parts = self.out / "round1/pairs/pairs.jsonl.parts"
        parts.mkdir(parents=True)
        with (parts / "000000.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.refused("train.optim.max_steps=2", status=4, says="round1/pairs is not whole: other workers of blip capfilt are busy")
        self.assertFalse(self.is_done("round1/pairs") or (self.out / "round1/pretrain").exists())
        self.bootstrap("train.optim.max_steps=2")
        self.assertEqual(json.loads((self.out / "report.json").read_text())["stages"][3]["records"]["in"], 48)

    def test_one_half(self):
        self.bootstrap("--no-captioner", "train.optim.max_steps=2")
        report = json.loads((self.out / "report.json").read_text())
        self.assertEqual([s["stage"] for s in report["stages"]], [s for s in STAGES if not s.endswith("captioner")])
        self.assertEqual(report["stages"][2]["texts"]["synthetic"]["count"], 0)

    def test_folders(self):
        folder = self.folder / "web"
        folder.mkdir()
        for line in self.noisy.read_text().splitlines()[:16]:
            pair = json.loads(line)
            shutil.copy(self.folder / "pictures" / pair["image"], folder)
            (folder / pair["image"]).with_suffix(".txt").write_text(pair["caption"])
        self.noisy = folder
        command = self.command("train.optim.max_steps=2")
        at = command.index("--noisy-images")
        done = subprocess.run(command[:at] + command[at + 2:], capture_output=True, text=True, timeout=100)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("16 of 16 records kept", done.stdout)


if __name__ == "__main__":
    BLIP = sys.argv.pop(1)
    unittest.main()
