#!/usr/bin/env python3
"""blip eval: scores of result files against values computed elsewhere, and runs of the model over a
folder of pictures, stopped and gone on with.

    eval_test.py BLIP [unittest arguments]"""

import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DATA = ROOT / "tests/data/metrics"
SAMPLES = ROOT / "models/default/samples"
GOLDEN = ROOT / "tests/golden/data"
PHOTO = GOLDEN / "B_image/png_rgb_photo/input.png"
CHECKER = GOLDEN / "B_image/png_checker_320x240/input.png"
VQA_MODEL = ["--model", GOLDEN / "E_original/vqa/model_vqa.pth", "--vision-heads", "4"]
NLVR_MODEL = ["--model", GOLDEN / "E_original/nlvr/model_nlvr.pth", "--vision-heads", "4"]
BLIP = ""


def run(*arguments, **kwargs):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BLIP_")}
    return subprocess.run([BLIP, *map(str, arguments)], capture_output=True, timeout=120, env=environment, **kwargs)


def read_safetensors(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, info in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            begin, end = info["data_offsets"]
            values = struct.unpack(f"<{(end - begin) // 4}f", data[8 + length + begin : 8 + length + end])
            width = info["shape"][1]
            tensors[name] = [list(values[i : i + width]) for i in range(0, len(values), width)]
    return tensors


def write_safetensors(path, **tensors):
    body, header = b"", {}
    for name, rows in tensors.items():
        packed = struct.pack(f"<{sum(map(len, rows))}f", *(v for row in rows for v in row))
        header[name] = {"dtype": "F32", "shape": [len(rows), len(rows[0])], "data_offsets": [len(body), len(body) + len(packed)]}
        body += packed
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


class EvalTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.images = self.folder / "images"
        self.images.mkdir()

    def write(self, name, value):
        path = self.folder / name
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    def succeed(self, *arguments):
        done = run("eval", *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, b""), done)
        return done.stdout.decode()

    def report(self, *arguments):
        return json.loads(self.succeed(*arguments, "--format", "json"))

    def fail_with(self, status, *arguments, says):
        done = run("eval", *arguments)
        message = done.stderr.decode()
        self.assertEqual(done.returncode, status, done)
        self.assertTrue(message.startswith("blip: ") and message.count("\n") == 1, message)
        self.assertEqual(done.stdout, b"")
        self.assertIn(says, message)


class Caption(EvalTest):
    ids = range(10, 16)

    def setUp(self):
        super().setUp()
        self.expected = {}
        for key, picture in zip(self.ids, sorted(SAMPLES.glob("*.png"))):
            shutil.copy(picture, self.images / f"COCO_val2014_{key:012d}.png")
            caption = subprocess.run([BLIP, "caption", picture], capture_output=True, text=True, timeout=120).stdout.strip()
            self.expected[key] = caption
        self.annotations = self.write("a.json", {
            "images": [{"id": key, "file_name": f"COCO_val2014_{key:012d}.png"} for key in self.ids],
            "annotations": [{"image_id": key, "id": key, "caption": text} for key in self.ids for text in (self.expected[key], "something else")],
        })
        self.output = self.folder / "out.json"
        self.journal = self.folder / "out.json.journal"
        self.arguments = ["caption", "--annotations", self.annotations, "--images", self.images, "--output", self.output]

    def results(self):
        return {row["image_id"]: row["caption"] for row in json.loads(self.output.read_text())}

    def test_scores_equal_pycocoevalcap(self):
        report = self.report("caption", "-a", DATA / "captions.json", "--results", DATA / "captions_results.json")
        corpus = json.loads((DATA / "captions_expected.json").read_text())["corpus"]
        keys = {"Bleu_1": "bleu_1", "Bleu_2": "bleu_2", "Bleu_3": "bleu_3", "Bleu_4": "bleu_4", "ROUGE_L": "rouge_l", "CIDEr": "cider"}
        for name, key in keys.items():
            self.assertAlmostEqual(report["metrics"][key] / 100, corpus[name], places=6)
            self.assertEqual(report["samples"][key], 315)
        self.assertEqual(report["missing"], 0)
        table = self.succeed("caption", "-a", DATA / "captions.json", "--results", DATA / "captions_results.json")
        self.assertIn("CIDEr     230.68       315", table)

    def test_frequencies_of_another_file(self):
        annotations = self.write("one.json", [{"image": "1.jpg", "caption": ["a red cat"]}])
        results = self.write("r.json", [{"image_id": 1, "caption": "a red cat"}])
        score = lambda *more: self.report("caption", "-a", annotations, "--results", results, *more)["metrics"]["cider"]
        self.assertEqual(score(), 0)  # a word that all pictures have weighs nothing
        self.assertAlmostEqual(score("--document-frequencies", DATA / "captions.json"), 750, places=6)

    def test_part_of_the_results(self):
        results = self.write("r.json", [{"image_id": 11, "caption": "a b"}])
        self.assertEqual(self.report("caption", "-a", self.annotations, "--results", results)["missing"], 5)

    def test_runs_the_model(self):
        metrics = self.folder / "metrics.json"
        report = self.report(*self.arguments, "--metrics", metrics, "--batch-size", "4")
        self.assertEqual(self.results(), self.expected)
        self.assertEqual(self.output.read_text(), json.dumps([{"image_id": k, "caption": v} for k, v in self.expected.items()]))
        self.assertAlmostEqual(report["metrics"]["rouge_l"], 100)
        self.assertEqual(json.loads(metrics.read_text()), report)
        self.assertEqual(self.report("caption", "-a", self.annotations, "--results", self.output), report)
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["a.json", "images", "metrics.json", "out.json"])

    def test_a_bad_picture_is_tried_again(self):
        picture = self.images / "COCO_val2014_000000000012.png"
        whole = picture.read_bytes()
        picture.write_bytes(whole[:100])
        done = run("eval", *self.arguments)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count(b"\n"), 1)
        self.assertIn(picture.name.encode(), done.stderr)
        self.assertIn(b"without a result: 1", done.stdout)
        self.assertEqual(sorted(self.results()), [10, 11, 13, 14, 15])
        # Only that one is captioned now: the others come from the journal.
        picture.write_bytes(whole)
        text = self.journal.read_text()
        self.journal.write_text(text.replace(self.expected[13], "from the journal"))
        self.succeed(*self.arguments)
        self.assertEqual(self.results(), self.expected | {13: "from the journal"})
        self.assertFalse(self.journal.exists())

    def test_goes_on_after_a_cut_line(self):
        (self.images / "COCO_val2014_000000000015.png").unlink()
        self.assertEqual(run("eval", *self.arguments, "--batch-size", "1").returncode, 1)
        shutil.copy(sorted(SAMPLES.glob("*.png"))[5], self.images / "COCO_val2014_000000000015.png")
        data = self.journal.read_bytes()
        for cut in (len(data) - 1, len(data) - 20, data.index(b"\n") + 1, data.index(b"\n"), 5, 0):
            self.journal.write_bytes(data[:cut])
            self.succeed(*self.arguments, "--batch-size", "3")
            self.assertEqual(self.results(), self.expected, cut)

    def test_stopped_and_gone_on_with(self):
        ids = range(100, 3000)
        annotations = self.write("many.json", {
            "images": [{"id": key, "file_name": "COCO_val2014_000000000010.png"} for key in ids],
            "annotations": [{"image_id": key, "caption": "a b"} for key in ids]})
        arguments = ["eval", "caption", "-a", annotations, "--images", self.images, "-o", self.output, "--batch-size", "2"]
        process = subprocess.Popen([BLIP, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(600):
            if self.journal.exists() and self.journal.read_bytes().count(b"\n") > 5:
                break
            time.sleep(0.02)
        other = run(*arguments)
        self.assertEqual(other.returncode, 2)
        self.assertIn(b"in use", other.stderr)
        process.send_signal(signal.SIGINT)
        out, message = process.communicate(timeout=60)
        self.assertEqual((process.returncode, out), (130, b""), message)
        self.assertFalse(self.output.exists())
        rows = [json.loads(line) for line in self.journal.read_text().splitlines()[1:]]
        self.assertTrue(0 < len(rows) < len(ids))
        self.assertEqual([row["id"] for row in rows], list(ids[: len(rows)]))

    def test_another_run_is_refused(self):
        (self.images / "COCO_val2014_000000000015.png").unlink()
        self.assertEqual(run("eval", *self.arguments).returncode, 1)
        for more, says in ((["--num-beams", "2"], "options"), (["--image-size", "32"], "image_size"), (["--prompt", "a"], "options"),
                           (["--precision", "int8"], "precision"), (["--exif-orientation"], "image_options")):
            self.fail_with(2, *self.arguments, *more, says="another " + says)
        self.annotations.write_text(self.annotations.read_text() + "\n")
        self.fail_with(2, *self.arguments, says="another inputs")
        header = self.journal.read_text().splitlines()[0]
        self.annotations.write_text(self.annotations.read_text()[:-1])
        for row in ("[]", "7", '{"id": 10}', '{"value": 10}'):
            self.journal.write_text(f"{header}\n{row}\n")
            self.fail_with(4, *self.arguments, says="none of this task")
        self.journal.write_text("nonsense\n")
        self.fail_with(4, *self.arguments, says="line 1")
        self.journal.write_text("{}\n")
        self.fail_with(2, *self.arguments, says="another")
        self.assertEqual(len(json.loads(self.output.read_text())), 5)

    def test_names_that_lead_elsewhere(self):
        for name in ("../secret.png", "/etc/hostname", ""):
            annotations = self.write("b.json", {"images": [{"id": 1, "file_name": name}, {"id": 10, "file_name": "COCO_val2014_000000000010.png"}],
                                                "annotations": [{"image_id": 1, "caption": "a"}, {"image_id": 10, "caption": "a"}]})
            done = run("eval", "caption", "-a", annotations, "--images", self.images, "-o", self.output)
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"annotations", done.stderr)
            self.assertEqual(list(self.results()), [10])
            self.journal.unlink()

    def test_folders_of_the_sets(self):
        (self.images / "val2014").mkdir()
        for picture in self.images.glob("*.png"):
            picture.rename(self.images / "val2014" / picture.name)
        self.succeed(*self.arguments)
        self.assertEqual(self.results(), self.expected)

    def test_usage(self):
        results = DATA / "captions_results.json"
        annotations = DATA / "captions.json"
        self.fail_with(2, "caption", says="--annotations")
        self.fail_with(2, "caption", "-a", annotations, says="--results")
        self.fail_with(2, "caption", "-a", annotations, "--results", results, "--images", self.images, says="--results")
        self.fail_with(2, "caption", "-a", annotations, "--images", self.images, says="--output")
        self.fail_with(2, "caption", "-a", annotations, "--results", results, "-o", self.output, says="--output")
        self.fail_with(3, "caption", "-a", annotations, "--images", self.folder / "none", "-o", self.output, says="not a folder")
        self.fail_with(3, "caption", "-a", self.folder / "none", "--results", results, says="none")
        self.fail_with(2, "caption", "-a", annotations, "--results", results, "--split", "test", says="split")
        self.fail_with(2, "caption", "-a", self.annotations, "--results", results, says="not in")
        self.fail_with(4, "caption", "-a", results, "--results", results, says="image")
        self.fail_with(4, "caption", "-a", annotations, "--results", annotations, says="not a list")
        self.fail_with(2, "caption", "-a", annotations, "--results", self.write("empty.json", []), says="no results")
        self.fail_with(2, *self.arguments, "--num-beams", "2", "--num-return-sequences", "2", says="num-return-sequences")
        self.fail_with(2, says="ubcommand")
        self.assertIn("METEOR", self.succeed("--help"))


class Vqa(EvalTest):
    def setUp(self):
        super().setUp()
        (self.images / "val2014").mkdir()
        for key, picture in ((1, PHOTO), (2, CHECKER)):
            shutil.copy(picture, self.images / "val2014" / f"COCO_val2014_{key:012d}.jpg")
        self.texts = {11: (1, "What is this?"), 12: (2, "How many are there?"), 13: (1, "Is it (really) red?")}
        self.questions = self.write("q.json", {"data_subtype": "val2014", "questions": [{"question_id": q, "image_id": i, "question": t} for q, (i, t) in self.texts.items()]})
        self.output = self.folder / "out.json"

    def answer_file(self, answers):
        return self.write("ann.json", {"annotations": [
            {"question_id": q, "answer_type": "number" if q == 12 else "other", "answers": [{"answer": a, "answer_id": n} for n, a in enumerate(texts)]}
            for q, texts in answers.items()]})

    def test_scores(self):
        annotations = self.answer_file({11: ["red"] * 2 + ["blue"] * 8, 12: ["2"] * 9 + ["3"], 13: ["yes"] * 10})
        results = self.write("r.json", [{"question_id": 11, "answer": "Red."}, {"question_id": 12, "answer": "two"}, {"question_id": 13, "answer": "Yes"}])
        for more in ([], ["--questions", self.questions]):
            report = self.report("vqa", "-a", annotations, "--results", results, *more)
            self.assertAlmostEqual(report["metrics"]["accuracy"], (60 + 100 + 0) / 3)
            self.assertAlmostEqual(report["metrics"]["accuracy_number"], 100)
            self.assertAlmostEqual(report["metrics"]["accuracy_other"], 30)
            self.assertEqual(report["samples"], {"accuracy": 3, "accuracy_number": 1, "accuracy_other": 2})
        self.fail_with(2, "vqa", "-a", annotations, "--results", self.write("x.json", [{"question_id": 9, "answer": "a"}]), says="not in the annotations")
        self.fail_with(2, "vqa", "-a", self.questions, "--results", results, says="no answers to score")

    def direct(self, *more):
        """The same by blip vqa, question by question; cleaning takes the marks away."""
        answers = {}
        for key, (image, text) in self.texts.items():
            picture = self.images / "val2014" / f"COCO_val2014_{image:012d}.jpg"
            done = run("vqa", picture, "--question", text.replace("(", "").replace(")", ""), "--format", "jsonl", *VQA_MODEL, *more)
            self.assertEqual(done.returncode, 0, done)
            answers[key] = json.loads(done.stdout)["questions"][0]["answers"][0]["text"]
        return answers

    def test_runs_the_model(self):
        expected = self.direct()
        annotations = self.answer_file({q: [a or "x"] for q, a in expected.items()})
        report = self.report("vqa", "-a", annotations, "--questions", self.questions, "--images", self.images, "-o", self.output, *VQA_MODEL)
        self.assertEqual({row["question_id"]: row["answer"] for row in json.loads(self.output.read_text())}, expected)
        self.assertEqual(report["missing"], 0)
        # A test set has no answers: results, and nothing to score.
        report = self.report("vqa", "-a", self.questions, "--images", self.images, "-o", self.output, *VQA_MODEL)
        self.assertEqual(report["metrics"], {})

    def test_ranks_answers(self):
        answers = self.write("answers.json", ["yes", "no", "two", "a cat", "red"])
        expected = self.direct("--answers", answers, "--top-k", "3")
        arguments = ["vqa", "-a", self.questions, "--images", self.images, "-o", self.output, *VQA_MODEL, "--answers", answers]
        self.succeed(*arguments, "--top-k", "3")
        self.assertEqual({row["question_id"]: row["answer"] for row in json.loads(self.output.read_text())}, expected)

    def test_a_question_without_words(self):
        questions = self.write("authors.json", [{"question_id": 1, "question": " ... ", "image": "val2014/COCO_val2014_000000000001.jpg", "answer": ["a"]},
                                                {"question_id": 2, "question": "what", "image": "val2014/COCO_val2014_000000000001.jpg", "answer": ["a"]}])
        done = run("eval", "vqa", "-a", questions, "--images", self.images, "-o", self.output, *VQA_MODEL)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"question 1 has no words", done.stderr)
        self.assertEqual(len(json.loads(self.output.read_text())), 1)


class Nlvr(EvalTest):
    statements = ("There are two dogs.", "The left image is red.")

    def setUp(self):
        super().setUp()
        (self.images / "dev").mkdir()
        for side, picture in enumerate((PHOTO, CHECKER)):
            for pair in (0, 1):
                shutil.copy(picture if pair == 0 else PHOTO, self.images / "dev" / f"dev-850-{pair}-img{side}.png")
        self.lines = [{"identifier": f"dev-850-{pair}-{s}", "sentence": text, "label": "True"} for pair in (0, 1) for s, text in enumerate(self.statements)]
        self.annotations = self.write("dev.json", "\n".join(map(json.dumps, self.lines)))
        self.output = self.folder / "out.csv"

    def test_scores(self):
        results = self.write("r.csv", "dev-850-0-0,True\ndev-850-1-0,true\ndev-850-0-1,True\ndev-850-1-1,False\n")
        report = self.report("nlvr", "-a", self.annotations, "--results", results)
        self.assertEqual(report["metrics"], {"accuracy": 75, "consistency": 50})
        self.assertEqual(report["samples"], {"accuracy": 4, "consistency": 2})
        self.fail_with(2, "nlvr", "-a", self.annotations, "--results", self.write("x.csv", "other,True\n"), says="not in the annotations")

    def test_runs_the_model(self):
        for more in ([], ["--both-orders"]):
            self.succeed("nlvr", "-a", self.annotations, "--images", self.images, "-o", self.output, *NLVR_MODEL, *more)
            found = dict(line.split(",") for line in self.output.read_text().splitlines())
            for row in self.lines:
                pictures = [self.images / "dev" / f"{row['identifier'].rsplit('-', 1)[0]}-img{side}.png" for side in (0, 1)]
                done = run("nlvr", *pictures, "--text", row["sentence"].rstrip("."), "--format", "json", *NLVR_MODEL, *more)
                self.assertEqual(done.returncode, 0, done)
                answer = json.loads(done.stdout)
                answer = (answer[0] if isinstance(answer, list) else answer)["statements"][0]["answer"]
                self.assertEqual(found[row["identifier"]], str(answer), row)

    def test_authors_form_and_a_missing_picture(self):
        rows = [{"images": [f"dev/dev-850-{pair}-img0.png", f"dev/dev-850-{pair}-img1.png"], "sentence": self.statements[0], "label": "False"} for pair in (0, 7)]
        done = run("eval", "nlvr", "-a", self.write("authors.json", rows), "--images", self.images, "-o", self.output, *NLVR_MODEL)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"dev-850-7-img0.png", done.stderr)
        self.assertEqual(len(self.output.read_text().splitlines()), 1)


class Retrieval(EvalTest):
    captions = (["an astronaut smiling in front of a flag", "A cup of coffee."], ["a cat", "rocket launch at night"], ["two dogs"])

    def setUp(self):
        super().setUp()
        for i, picture in enumerate((PHOTO, CHECKER, sorted(SAMPLES.glob("*.png"))[0])):
            shutil.copy(picture, self.images / f"{i}.png")
        self.annotations = self.write("a.json", [{"image": f"{i}.png", "caption": texts} for i, texts in enumerate(self.captions)])
        self.output = self.folder / "scores.safetensors"

    def test_scores(self):
        # Pictures 0 and 1 find a text of theirs first and second; of the texts, 0, 2 and 4 find theirs first.
        write_safetensors(self.output, score_i2t=[[5, 1, 2, 3, 4], [1, 9, 8, 2, 3], [-100] * 5],
                          score_t2i=[[3, 2, 1], [1, 2, 3], [1, 3, 2], [2, 1, -100], [1, 2, 3]])
        report = self.report("retrieval", "-a", self.annotations, "--results", self.output)
        metrics = report["metrics"]
        self.assertAlmostEqual(metrics["txt_r1"], 50)
        self.assertAlmostEqual(metrics["txt_r5"], 100)
        self.assertAlmostEqual(metrics["img_r1"], 60)
        self.assertAlmostEqual(metrics["img_r10"], 100)
        self.assertAlmostEqual(metrics["r_mean"], ((50 + 200) / 3 + (60 + 200) / 3) / 2)
        self.assertEqual(report["missing"], 1)
        self.assertEqual(report["samples"]["txt_r1"], 2)
        write_safetensors(self.output, score_i2t=[[1.0, 2.0]], score_t2i=[[1.0], [2.0]])
        self.fail_with(4, "retrieval", "-a", self.annotations, "--results", self.output, says="score_i2t")

    def test_runs_the_model_in_two_stages(self):
        model = self.folder / "model"
        shutil.copytree(GOLDEN / "C_hf/retrieval", model)
        for name in ("vocab.txt", "tokenizer.json"):
            if (GOLDEN / "tokenizer_hf" / name).exists():
                shutil.copy(GOLDEN / "tokenizer_hf" / name, model)
        texts = [text.lower().replace(".", "") for of_image in self.captions for text in of_image]
        arguments = ["retrieval", "-a", self.annotations, "--images", self.images, "-o", self.output, "-m", model, "--itm-token", "cls"]
        pairs = []
        for i in range(3):
            done = run("match", self.images / f"{i}.png", *(w for t in texts for w in ("--text", t)), "-m", model, "--itm-token", "cls", "--format", "jsonl")
            self.assertEqual(done.returncode, 0, done)
            pairs.append([(m["itm_logits"][1], m["itc_similarity"]) for m in json.loads(done.stdout)["matches"]])
        for k in (2, 9):
            self.report(*arguments, "-k", str(k))
            scores = read_safetensors(self.output)
            for i in range(3):
                best = sorted(range(5), key=lambda t: -pairs[i][t][1])[:k]
                for t in range(5):
                    self.assertAlmostEqual(scores["score_i2t"][i][t], sum(pairs[i][t]) if t in best else -100, places=4)
            for t in range(5):
                best = sorted(range(3), key=lambda i: -pairs[i][t][1])[:k]
                for i in range(3):
                    self.assertAlmostEqual(scores["score_t2i"][t][i], sum(pairs[i][t]) if i in best else -100, places=4)
        # A picture that is missing has no scores; when it is back, the rest is not done again.
        whole = read_safetensors(self.output)
        hidden = self.folder / "hidden.png"
        (self.images / "1.png").rename(hidden)
        done = run("eval", *arguments, "-k", "9")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(read_safetensors(self.output)["score_i2t"][1], [-100.0] * 5)
        hidden.rename(self.images / "1.png")
        self.succeed(*arguments, "-k", "9")
        self.assertEqual(read_safetensors(self.output), whole)


if __name__ == "__main__":
    BLIP = sys.argv.pop(1)
    unittest.main()
