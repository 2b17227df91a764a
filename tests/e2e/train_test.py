#!/usr/bin/env python3
"""The trainer as people use it: a configuration, data of their own, interruptions, several processes.

    train_test.py BLIP [unittest arguments]      (blip-train lies beside BLIP)
"""

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
VOCABULARY = ROOT / "models" / "default"
BLIP = ""

# A model of some ten thousand parameters: what is tested is the run, not what it learns.
TINY = """
model: {tokenizer: "%s", image_size: 32, patch_size: 16, vision_width: 16, vision_layers: 1, vision_heads: 2,
        text_width: 16, text_layers: 1, text_heads: 2, text_positions: 32, projection: 8, dropout: 0.1}
loss: {queue_size: 32, alpha_ramp_epochs: 1}
data: {text_length: 16, threads: 2}
optim: {batch_size: 8, epochs: 4, lr: 3e-3, per: step, clip: 1}
save: {every_steps: 3}
log: {every: 1, samples: 2}
threads: 1
""" % VOCABULARY
COLOURS = {"red": (200, 30, 30), "green": (20, 180, 40), "blue": (30, 40, 210), "yellow": (220, 210, 30)}


def png(colour, size=24):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(colour) * size for _ in range(size))
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class TrainTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.config = self.folder / "tiny.yaml"
        self.config.write_text(TINY)
        self.data = self.folder / "data"
        self.data.mkdir()
        draw = random.Random(1)
        for i in range(40):
            name = draw.choice(list(COLOURS))
            (self.data / f"{i}.png").write_bytes(png([max(0, min(255, c + draw.randrange(-20, 20))) for c in COLOURS[name]]))
            (self.data / f"{i}.txt").write_text(f"a {name} picture")

    def command(self, task, output, *more, program=None):
        words = [program or pathlib.Path(BLIP).with_name("blip-train"), task, "--config", self.config, f"output={output}"]
        if not any(str(m).startswith("data.train=") for m in more):
            words.append(f"data.train=[{self.data}]")
        return [*map(str, words), *map(str, more)]

    def train(self, task, output, *more, status=0, program=None, env=None):
        done = subprocess.run(self.command(task, output, *more, program=program), capture_output=True, text=True, timeout=100, env=env)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr

    def start(self, task, output, *more, env=None):
        return subprocess.Popen(self.command(task, output, *more), stderr=subprocess.PIPE, text=True, env=env)

    def metrics(self, output):
        file = pathlib.Path(output) / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def wait_for_steps(self, output, steps):
        end = time.time() + 60
        while len(self.metrics(output)) < steps:
            self.assertLess(time.time(), end, "no progress")
            time.sleep(0.01)

    def last_checkpoint(self, output):
        return sorted((output / "checkpoints").glob("step-*.safetensors"))[-1]

    def ranks(self, count, task, output, *more):
        port = free_port()
        processes = []
        for rank in range(count):
            env = os.environ | {"RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            processes.append(self.start(task, output, *more, env=env))
        return processes


class Captioner(TrainTest):
    def test_learns_and_its_model_is_loaded_at_once(self):
        run = self.folder / "run"
        said = self.train("caption", run, "optim.epochs=60", "optim.lr=0.02", "data.prompt=a picture of ", "model.dropout=0", "augment.operations=0",
                          "save.every_steps=0", "save.layouts=[hugging_face,authors]", "log.every=10", program=None)
        self.assertIn("the model is in", said)
        self.assertLess(self.metrics(run)[-1]["loss"], self.metrics(run)[0]["loss"])
        for name, colour in COLOURS.items():
            (self.folder / "one.png").write_bytes(png(colour))
            done = subprocess.run([BLIP, "caption", "--model", run / "model", "--prompt", "a picture of", self.folder / "one.png"], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout.strip()), (0, f"a picture of a {name} picture"), done.stderr)
        # Its vocabulary goes with it.
        subprocess.run([BLIP, "convert", run / "model", self.folder / "bf16", "--precision", "bf16"], check=True, capture_output=True)
        self.assertEqual((self.folder / "bf16" / "vocab.txt").read_bytes(), (run / "model" / "vocab.txt").read_bytes())
        report = (run / "report.html").read_text()
        self.assertIn("data:image/png;base64,", report)
        self.assertIn("picture</figcaption>", report)
        self.assertTrue((run / "authors" / "model.pth").exists())
        # The saved copy says the same again.
        again = subprocess.run([str(pathlib.Path(BLIP).with_name("blip-train")), "caption", "--config", str(run / "config.yaml"), "--resume"],
                               capture_output=True, text=True, timeout=100)
        self.assertEqual(again.returncode, 0, again.stderr)

    def test_blip_train_is_the_same_program(self):
        done = subprocess.run([BLIP, "train", "--help"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Usage: blip-train TASK", done.stdout)
        self.train("caption", self.folder / "run", "optim.max_steps=2", program=None)
        done = subprocess.run([BLIP, "train", "caption", "--config", str(self.config), f"output={self.folder / 'other'}",
                               f"data.train=[{self.data}]", "optim.max_steps=2"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([m["loss"] for m in self.metrics(self.folder / "run")], [m["loss"] for m in self.metrics(self.folder / "other")])
        alone = self.folder / "alone" / "blip"
        alone.parent.mkdir()
        shutil.copy(BLIP, alone)
        done = subprocess.run([alone, "train", "caption"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 3)
        self.assertIn("not installed", done.stderr)

    def test_tar_shards(self):
        for s in range(2):
            with tarfile.open(self.folder / f"{s}.tar", "w") as tar:
                for i in range(20 * s, 20 * s + 20):
                    for ending in ("png", "txt"):
                        tar.add(self.data / f"{i}.{ending}", f"{i:05}.{ending}")
        shards = f"data.train={self.folder}/{{0..1}}.tar"
        self.train("caption", self.folder / "whole", shards)
        part = self.start("caption", self.folder / "part", shards)
        self.wait_for_steps(self.folder / "part", 7)
        part.send_signal(signal.SIGTERM)
        part.communicate()
        self.train("caption", self.folder / "part", shards, "--resume")
        self.assertEqual(self.last_checkpoint(self.folder / "part").read_bytes(), self.last_checkpoint(self.folder / "whole").read_bytes())


class Interruptions(TrainTest):
    def test_a_run_that_is_killed_goes_on_to_the_last_bit(self):
        task, more = "pretrain", ("optim.epochs=12",)
        whole, killed = self.folder / "whole", self.folder / "killed"
        self.train(task, whole, *more)
        for steps in (8, 25):
            process = self.start(task, killed, *more, "--resume")
            self.wait_for_steps(killed, steps)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        process = self.start(task, killed, *more, "--resume")
        self.wait_for_steps(killed, 40)
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[1]
        self.assertEqual(process.returncode, 130, said)
        self.assertIn("--resume goes on", said)
        self.train(task, killed, *more, "--resume")
        self.assertEqual(self.last_checkpoint(killed).name, "step-00000060.safetensors")
        self.assertEqual(self.last_checkpoint(killed).read_bytes(), self.last_checkpoint(whole).read_bytes())
        self.assertEqual((killed / "model" / "model.safetensors").read_bytes(), (whole / "model" / "model.safetensors").read_bytes())
        self.assertEqual([m["loss"] for m in self.metrics(killed)], [m["loss"] for m in self.metrics(whole)])

    def test_a_full_disk_leaves_the_last_checkpoint_whole(self):
        run = self.folder / "run"
        self.train("caption", run, "optim.max_steps=3", "optim.epochs=4")
        size = self.last_checkpoint(run).stat().st_size
        limited = ["bash", "-c", f"trap '' XFSZ; ulimit -f {size // 2048}; exec \"$@\"", "limited"]
        done = subprocess.run(limited + self.command("caption", run, "--resume", "optim.max_steps=9", "log.tensorboard=false"),
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertEqual(self.last_checkpoint(run).name, "step-00000003.safetensors")
        self.assertFalse(list((run / "checkpoints").glob("*.partial*")))
        self.train("caption", run, "--resume", "optim.max_steps=6")


class Processes(TrainTest):
    SAME = ("model.dropout=0", "optim.epochs=2", "save.every_steps=0")

    def test_two_and_four_give_the_losses_of_one(self):
        for task in ("pretrain", "retrieval"):
            alone = self.folder / task
            self.train(task, alone, *self.SAME)
            expected = [m["loss"] for m in self.metrics(alone)]
            for count in (2, 4):
                output = self.folder / f"{task}{count}"
                processes = self.ranks(count, task, output, *self.SAME, f"optim.batch_size={8 // count}")
                for process in processes:
                    said = process.communicate(timeout=100)[1]
                    self.assertEqual(process.returncode, 0, said)
                found = [m["loss"] for m in self.metrics(output)]
                self.assertEqual(len(found), len(expected))
                for step, (a, b) in enumerate(zip(found, expected)):
                    self.assertAlmostEqual(a, b, delta=1e-4 * b, msg=f"{task}, {count} processes, step {step}")

    def test_all_end_when_one_is_lost(self):
        run = self.folder / "run"
        processes = self.ranks(2, "caption", run, "optim.epochs=100000", "optim.batch_size=4", "distributed.timeout=10")
        self.wait_for_steps(run, 5)
        processes[1].send_signal(signal.SIGKILL)
        processes[1].communicate()
        said = processes[0].communicate(timeout=30)[1]
        self.assertEqual(processes[0].returncode, 4, said)
        self.assertIn("lost", said)
        step = int(self.last_checkpoint(run).stem.split("-")[1])
        said = self.train("caption", run, "--resume", "optim.epochs=100000", f"optim.max_steps={step + 1}")
        self.assertIn(f"going on after step {step}", said)

    def test_a_stopped_one_stops_all(self):
        run = self.folder / "run"
        processes = self.ranks(2, "caption", run, "optim.epochs=100000", "optim.batch_size=4")
        self.wait_for_steps(run, 5)
        processes[1].send_signal(signal.SIGTERM)
        for process in processes:
            self.assertEqual((process.communicate(timeout=30), process.returncode)[1], 130)


class Tasks(TrainTest):
    def inspect(self, model):
        done = subprocess.run([BLIP, "inspect", model], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_pretraining_then_retrieval(self):
        self.train("pretrain", self.folder / "base", "optim.epochs=1")
        self.assertEqual({"loss_ita", "loss_itm", "loss_lm"} - set(self.metrics(self.folder / "base")[0]), set())
        self.inspect(self.folder / "base" / "model")
        self.train("retrieval", self.folder / "fine", "optim.epochs=1", f"model.init={self.folder / 'base' / 'model'}")
        done = subprocess.run([BLIP, "match", self.data / "0.png", "--text", "a red picture", "--model", self.folder / "fine" / "model"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_questions(self):
        rows = [{"image": f"{i}.png", "question": "What colour?", "answer": (self.data / f"{i}.txt").read_text().split()[1]} for i in range(40)]
        file = self.data / "questions.jsonl"
        file.write_text("\n".join(map(json.dumps, rows)))
        self.train("vqa", self.folder / "run", f"data.train=[{file}]", "optim.epochs=1")
        done = subprocess.run([BLIP, "vqa", self.data / "0.png", "--question", "what colour?", "--model", self.folder / "run" / "model"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_statements(self):
        rows = [{"images": [f"{i}.png", f"{39 - i}.png"], "sentence": "The left one is red.", "label": str("red" in (self.data / f"{i}.txt").read_text())} for i in range(40)]
        file = self.data / "statements.jsonl"
        file.write_text("\n".join(map(json.dumps, rows)))
        self.train("nlvr", self.folder / "run", f"data.train=[{file}]", "optim.epochs=1")
        done = subprocess.run([BLIP, "nlvr", self.data / "0.png", self.data / "1.png", "--text", "the left one is red", "--model", self.folder / "run" / "model"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_low_memory(self):
        self.train("pretrain", self.folder / "base", "optim.epochs=1")
        self.train("caption", self.folder / "run", f"model.init={self.folder / 'base' / 'model'}", "optim.batch_size=2", "optim.accumulation=4", "optim.epochs=1",
                   "model.lora_rank=2", "model.vision_checkpoint_layers=1", "model.text_checkpoint_layers=1", "precision=bf16")
        self.inspect(self.folder / "run" / "model")


class WhatIsWrong(TrainTest):
    def test_is_said(self):
        cases = [
            (2, "pretrain, caption, retrieval, vqa or nlvr", ["paint", "--config", self.config]),
            (2, "--config FILE is missing", ["caption"]),
            (2, '"optim.batch_size" is the nearest', ["caption", "--config", self.config, "optim.batchsize=3"]),
            (2, '"output" is not set', ["caption", "--config", self.config]),
            (3, "/none.yaml", ["caption", "--config", "/none.yaml"]),
            (2, '"data.train" is empty', self.command("caption", self.folder / "a", "data.train=[]")[1:]),
            (2, "queue_size", self.command("pretrain", self.folder / "b", "loss.queue_size=30")[1:]),
            (6, "no CUDA", self.command("caption", self.folder / "c", "device=cuda")[1:]),
            (3, "/no/such/model", self.command("caption", self.folder / "d", "model.init=/no/such/model")[1:]),
        ]
        for status, says, words in cases:
            done = subprocess.run([pathlib.Path(BLIP).with_name("blip-train"), *map(str, words)], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(says, done.stderr)
            self.assertTrue(done.stderr.startswith("blip-train: ") and done.stderr.count("\n") == 1, done.stderr)

    def test_bad_pictures_and_captions(self):
        (self.data / "3.png").write_bytes(b"no picture")
        (self.data / "5.txt").write_text(" ... ")
        said = self.train("caption", self.folder / "run", "optim.epochs=1")
        self.assertIn("passed over", said)
        self.assertEqual(self.metrics(self.folder / "run")[-1]["bad_records"], 2)
        said = self.train("caption", self.folder / "strict", "data.max_bad_share=0", status=4)
        self.assertIn("data.max_bad_share", said)


class OtherPrograms(TrainTest):
    def test_tensorboard_reads_the_curves(self):
        try:
            from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        except ImportError:
            self.skipTest("the tensorboard package is not installed")
        self.train("caption", self.folder / "run", "optim.max_steps=4")
        self.train("caption", self.folder / "run", "optim.max_steps=8", "--resume")
        events = EventAccumulator(str(self.folder / "run")).Reload()
        points = [(e.step, e.value) for e in events.Scalars("loss")]
        self.assertEqual([step for step, _ in points], list(range(1, 9)))
        for (_, value), line in zip(points, self.metrics(self.folder / "run")):
            self.assertAlmostEqual(value, line["loss"], delta=1e-4 * value)

    def test_transformers_loads_the_model(self):
        try:
            import torch
            from transformers import BlipForConditionalGeneration, BlipProcessor
            from PIL import Image
        except ImportError as e:
            self.skipTest(f"transformers is not installed: {e}")
        run = self.folder / "run"
        self.train("caption", run, "optim.epochs=40", "optim.lr=0.02", "model.dropout=0", "augment.operations=0", "save.every_steps=0")
        model = BlipForConditionalGeneration.from_pretrained(run / "model").eval()
        processor = BlipProcessor.from_pretrained(run / "model")
        for i in range(5):
            file = self.data / f"{i}.png"
            with torch.no_grad():
                ids = model.generate(**processor(Image.open(file).convert("RGB"), return_tensors="pt"))
            done = subprocess.run([BLIP, "caption", "--model", run / "model", file], capture_output=True, text=True)
            self.assertEqual(processor.decode(ids[0], skip_special_tokens=True).strip(), done.stdout.strip())


if __name__ == "__main__":
    BLIP = os.path.abspath(sys.argv.pop(1))
    unittest.main()
