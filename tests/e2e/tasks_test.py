#!/usr/bin/env python3
"""blip vqa, match, nlvr, embed and heatmap as a person uses them, with small checkpoints.

    tasks_test.py BLIP [unittest arguments]"""

import json
import math
import pathlib
import shutil
import struct
import sys
import tempfile
import unittest

import cli_test
from cli_test import CommandTest, run
from samples import CRABS, ROOT, SAMPLES

GOLDEN = ROOT / "tests/golden/data"
LEMON = SAMPLES / "test_pair-00189.png"
AUTHORS_VQA = ("--model", GOLDEN / "E_original/vqa/model_vqa.pth", "--vision-heads", "4")
NLVR = ("--model", GOLDEN / "E_original/nlvr/model_nlvr.pth", "--vision-heads", "4")


def make_models(folder):
    """The checkpoints of the golden data, which share a vocabulary, as folders of their own."""
    for name in ("caption", "vqa", "retrieval", "clipstyle"):
        shutil.copytree(GOLDEN / "C_hf" / name, folder / name, ignore=shutil.ignore_patterns("*expected*", "*inputs*"))
        shutil.copy(GOLDEN / "tokenizer_hf/vocab.txt", folder / name)


def read_npy(path):
    data = path.read_bytes()
    assert data[:8] == b"\x93NUMPY\x01\x00", data[:10]
    length = struct.unpack("<H", data[8:10])[0]
    assert (10 + length) % 64 == 0 and data[9 + length : 10 + length] == b"\n"
    header = eval(data[10 : 10 + length], {"__builtins__": {}})
    assert header["descr"] == "<f4" and header["fortran_order"] is False
    rows, width = header["shape"]
    values = struct.unpack(f"<{rows * width}f", data[10 + length :])
    return [values[i * width : (i + 1) * width] for i in range(rows)]


def read_features(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    rows, width = header["features"]["shape"]
    begin, end = header["features"]["data_offsets"]
    values = struct.unpack(f"<{rows * width}f", data[8 + length + begin : 8 + length + end])
    return [values[i * width : (i + 1) * width] for i in range(rows)], header["__metadata__"]


class TaskTest(CommandTest):
    @classmethod
    def setUpClass(cls):
        cls.models = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.models)
        make_models(cls.models)
        cls.captioner = ("--model", cls.models / "caption")
        cls.vqa = ("--model", cls.models / "vqa")
        cls.retrieval = ("--model", cls.models / "retrieval")
        cls.clipstyle = ("--model", cls.models / "clipstyle")

    def json(self, *arguments, **kwargs):
        return json.loads(self.succeed(*arguments, "--format", "json", **kwargs))

    def file(self, name, text):
        (self.folder / name).write_text(text)
        return self.folder / name

    def bad_folder(self):
        pictures = self.folder / "pictures"
        pictures.mkdir()
        (pictures / "a.png").write_bytes(b"not a picture")
        shutil.copy(CRABS, pictures / "b.png")
        (pictures / "c.jpg").write_bytes(CRABS.read_bytes()[:100])
        return pictures


class Vqa(TaskTest):
    def test_one_question_gives_the_answer_alone(self):
        answer = self.succeed("vqa", CRABS, *self.vqa, "--question", "what is it")
        self.assertEqual(answer.count("\n"), 1)
        self.assertNotIn("\t", answer)
        self.assertEqual(self.succeed("vqa", "--question", "what is it", CRABS, *self.vqa), answer)

    def test_many_questions_are_the_same_as_each_alone(self):
        asked = ["what is it", "how many cats are in the picture?", "where?"]
        questions = self.file("questions.txt", "\n".join(asked[1:]) + "\n\n")
        row = self.json("vqa", CRABS, *self.vqa, "--question", asked[0], "--questions", questions)[0]
        self.assertEqual(row["path"], str(CRABS))
        self.assertEqual([q["question"] for q in row["questions"]], asked)
        for question in row["questions"]:
            alone = self.json("vqa", CRABS, *self.vqa, "--question", question["question"])[0]["questions"][0]
            self.assertEqual(question, alone)
            answer = question["answers"][0]
            logprobs = sum(token["logprob"] for token in answer["tokens"])
            self.assertAlmostEqual(math.log(answer["probability"]), logprobs, places=4)
        lines = self.succeed("vqa", CRABS, *self.vqa, "--question", asked[0], "--questions", questions).splitlines()
        self.assertEqual([line.split("\t")[0] for line in lines], asked)

    def test_pictures_and_questions_make_a_table(self):
        lines = self.succeed("vqa", CRABS, LEMON, *self.vqa, "--question", "what?", "--question", "where?").splitlines()
        self.assertEqual([line.split("\t")[:2] for line in lines], [[str(p), q] for p in (CRABS, LEMON) for q in ("what?", "where?")])

    def test_authors_checkpoints(self):
        row = self.json("vqa", CRABS, *AUTHORS_VQA, "--question", "what is it")[0]
        self.assertLessEqual(len(row["questions"][0]["answers"][0]["tokens"]), 9)

    def test_several_answers(self):
        lines = self.succeed("vqa", CRABS, *self.vqa, "--question", "what is it", "--num-answers", "3").splitlines()
        self.assertEqual(len(lines), 3)
        self.assertTrue(all(0 < float(line.split("\t")[1]) < 1 for line in lines))

    def test_ranking_a_list(self):
        answers = self.file("answers.txt", "yes\r\nno\n\nYES\na cup of coffee\n  \ntwo\n")
        ranked = self.json("vqa", CRABS, *self.vqa, "--question", "what is it", "--answers", answers, "--num-answers", "9")
        found = ranked[0]["questions"][0]["answers"]
        self.assertEqual(sorted(a["text"] for a in found), ["a cup of coffee", "no", "two", "yes"])
        self.assertEqual([a["score"] for a in found], sorted((a["score"] for a in found), reverse=True))
        listed = self.file("answers.json", json.dumps(["yes", "no", "a cup of coffee", "two"]))
        best = self.succeed("vqa", CRABS, *self.vqa, "--question", "what is it", "--answers", listed)
        self.assertEqual(best, found[0]["text"] + "\n")
        one = self.json("vqa", CRABS, *self.vqa, "--question", "what is it", "--answers", listed, "--num-answers", "9", "--top-k", "1")
        self.assertEqual(len(one[0]["questions"][0]["answers"]), 1)

    def test_reference_mask_matters_to_shorter_questions_alone(self):
        asked = ("--question", "how many cats are in the picture?", "--question", "where?")
        plain = self.json("vqa", CRABS, *self.vqa, *asked)[0]["questions"]
        masked = self.json("vqa", CRABS, *self.vqa, *asked, "--reference-mask")[0]["questions"]
        self.assertEqual(plain[0], masked[0])
        self.assertNotEqual(plain[1]["answers"][0]["score"], masked[1]["answers"][0]["score"])

    def test_long_questions_are_marked(self):
        question = self.json("vqa", CRABS, *self.vqa, "--question", "why " * 50)[0]["questions"][0]
        self.assertTrue(question["truncated"])
        question = self.json("vqa", CRABS, *self.vqa, "--question", "why " * 50, "--max-text-length", "60")[0]["questions"][0]
        self.assertFalse(question["truncated"])

    def test_one_bad_picture_among_many(self):
        done = run("vqa", self.bad_folder(), *self.vqa, "--question", "what?", "--format", "jsonl")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(done.returncode, 1)
        self.assertEqual([r.get("error", {}).get("code") for r in rows], ["bad_image", None, "bad_image"])
        self.assertEqual(done.stderr.count(b"\n"), 2)

    def test_usage(self):
        self.fail_with(2, "vqa", CRABS, *self.vqa, says="--question")
        self.fail_with(2, "vqa", CRABS, *self.vqa, "--question", " ", says="no words")
        self.fail_with(3, "vqa", CRABS, *self.vqa, "--questions", self.folder / "none", says="none")
        self.fail_with(2, "vqa", CRABS, *self.vqa, "--questions", self.file("blank", "\n \n"), says="no texts")
        self.fail_with(2, "vqa", CRABS, *self.vqa, "--question", "q", "--answers", self.file("a.json", '{"a": 1}'), says="array")
        self.fail_with(2, "vqa", CRABS, *self.vqa, "--question", "q", "--answers", self.file("a.txt", "yes\n"), "--num-beams", "3", says="--answers")
        self.fail_with(2, "vqa", CRABS, *self.vqa, "--question", "q", "--top-k", "3", says="--do-sample")
        self.fail_with(2, "vqa", CRABS, *self.vqa, "--question", "q", "--max-text-length", "2", says="3 tokens")
        self.fail_with(6, "vqa", CRABS, *self.captioner, "--question", "q", says="captioning")
        self.fail_with(6, "caption", CRABS, *self.vqa, says="question_answering")


class Match(TaskTest):
    def test_scores(self):
        texts = ("--text", "a cat", "--text", "a dog on the beach")
        row = self.json("match", CRABS, *self.retrieval, *texts)[0]
        for match in row["matches"]:
            no, yes = match["itm_logits"]
            self.assertAlmostEqual(match["itm_probability"], 1 / (1 + math.exp(no - yes)), places=5)
            self.assertLessEqual(abs(match["itc_similarity"]), 1.0001)
        lines = [line.split("\t") for line in self.succeed("match", CRABS, LEMON, *self.retrieval, *texts).splitlines()]
        self.assertEqual([line[:2] for line in lines], [[str(p), t] for p in (CRABS, LEMON) for t in texts[1::2]])
        self.assertAlmostEqual(float(lines[0][2]), row["matches"][0]["itm_probability"], places=4)
        cls = self.json("match", CRABS, *self.retrieval, *texts, "--itm-token", "cls")[0]["matches"][0]
        self.assertNotEqual(cls["itm_logits"], row["matches"][0]["itm_logits"])
        self.assertEqual(cls["itc_similarity"], row["matches"][0]["itc_similarity"])

    def test_one_score_alone(self):
        match = self.json("match", CRABS, *self.retrieval, "--text", "a cat", "--only", "itc")[0]["matches"][0]
        self.assertEqual(sorted(match), ["itc_similarity", "text", "truncated"])
        match = self.json("match", CRABS, *self.retrieval, "--text", "a cat", "--only", "itm")[0]["matches"][0]
        self.assertEqual(sorted(match), ["itm_logits", "itm_probability", "text", "truncated"])

    def test_checkpoints_without_a_head(self):
        self.fail_with(6, "match", CRABS, *self.clipstyle, "--text", "a cat", says="ITM")
        self.succeed("match", CRABS, *self.clipstyle, "--text", "a cat", "--only", "itc")
        self.fail_with(6, "match", CRABS, *self.captioner, "--text", "a cat", says="captioning")

    def test_one_bad_picture_among_many(self):
        done = run("match", self.bad_folder(), *self.retrieval, "--text", "a cat", "--format", "json")
        rows = json.loads(done.stdout)
        self.assertEqual((done.returncode, ["matches" in row for row in rows]), (1, [False, True, False]))
        self.fail_with(2, "match", CRABS, *self.retrieval, "--text", "", says="no words")


class Nlvr(TaskTest):
    def test_both_orders(self):
        there = self.json("nlvr", CRABS, LEMON, *NLVR, "--text", "the left one is red", "--both-orders")[0]
        back = self.json("nlvr", LEMON, CRABS, *NLVR, "--text", "the right one is red", "--both-orders")[0]
        self.assertEqual(there["paths"], [str(CRABS), str(LEMON)])
        self.assertAlmostEqual(there["statements"][0]["probability"], back["statements"][0]["probability"], places=6)
        word, probability = self.succeed("nlvr", CRABS, LEMON, *NLVR, "--text", "the left one is red").split()
        self.assertEqual(word, "true" if float(probability) >= 0.5 else "false")

    def test_failures(self):
        bad = self.file("bad.png", "no picture")
        self.fail_with(7, "nlvr", CRABS, bad, *NLVR, "--text", "a", says="bad.png")
        done = run("nlvr", CRABS, bad, *NLVR, "--text", "a", "--format", "json")
        self.assertEqual((done.returncode, json.loads(done.stdout)[0]["error"]["code"]), (7, "bad_image"))
        self.fail_with(2, "nlvr", CRABS, *NLVR, "--text", "a", says="RIGHT")
        self.fail_with(2, "nlvr", SAMPLES, CRABS, *NLVR, "--text", "a", says="two pictures")
        self.fail_with(2, "nlvr", CRABS, CRABS, *NLVR, says="--text")
        self.fail_with(6, "nlvr", CRABS, CRABS, *self.vqa, "--text", "a", says="question_answering")


class Embed(TaskTest):
    def test_pictures_and_texts_share_a_space(self):
        out = self.folder / "f.npy"
        self.succeed("embed", CRABS, LEMON, *self.retrieval, "--text", "a cat", "-o", out)
        rows = read_npy(out)
        names = json.loads((self.folder / "f.npy.json").read_text())
        self.assertEqual([sorted(row) for row in names["rows"]], [["text", "truncated"], ["path"], ["path"]])
        self.assertEqual(names["kind"], "normalised")
        self.assertTrue(all(abs(sum(v * v for v in row) - 1) < 1e-5 for row in rows))
        similarity = sum(a * b for a, b in zip(rows[0], rows[1]))
        match = self.json("match", CRABS, *self.retrieval, "--text", "a cat", "--only", "itc")[0]["matches"][0]
        self.assertAlmostEqual(similarity, match["itc_similarity"], places=5)

    def test_safetensors_hold_the_same(self):
        self.succeed("embed", CRABS, *self.retrieval, "-o", self.folder / "f.npy")
        self.succeed("embed", CRABS, *self.retrieval, "-o", self.folder / "f.safetensors")
        rows, metadata = read_features(self.folder / "f.safetensors")
        self.assertEqual(rows, read_npy(self.folder / "f.npy"))
        self.assertEqual(json.loads(metadata["rows"]), [{"path": str(CRABS)}])

    def test_kinds(self):
        widths = {}
        for kind in ((), ("--projected",), ("--raw",)):
            self.succeed("embed", CRABS, *self.retrieval, *kind, "-o", self.folder / "f.npy")
            widths[kind] = len(read_npy(self.folder / "f.npy")[0])
        self.assertEqual(widths, {(): 20, ("--projected",): 20, ("--raw",): 48})
        self.succeed("embed", CRABS, LEMON, *self.retrieval, "--multimodal", "--text", "a", "--text", "a cat", "-o", self.folder / "f.npy")
        self.assertEqual((len(read_npy(self.folder / "f.npy")), len(read_npy(self.folder / "f.npy")[0])), (4, 24))
        self.succeed("embed", CRABS, *self.clipstyle, "--multimodal", "--text", "a", "-o", self.folder / "f.npy")
        self.assertEqual(json.loads((self.folder / "f.npy.json").read_text())["kind"], "normalised")
        self.succeed("embed", CRABS, "--raw", "-o", self.folder / "f.npy")
        self.succeed("embed", "--text", "a cat", *self.retrieval, "-o", self.folder / "f.npy")

    def test_bad_pictures_are_named_and_the_others_written(self):
        out = self.folder / "f.npy"
        done = run("embed", self.bad_folder(), *self.retrieval, "-o", out)
        names = json.loads((self.folder / "f.npy.json").read_text())
        self.assertEqual((done.returncode, len(read_npy(out)), len(names["rows"]), len(names["errors"])), (1, 1, 1, 2))
        self.assertEqual(names["errors"][0]["error"]["code"], "bad_image")
        kept = out.read_bytes()
        self.fail_with(7, "embed", self.folder / "pictures/a.png", *self.retrieval, "-o", out)
        self.assertEqual(out.read_bytes(), kept)

    def test_usage(self):
        out = self.folder / "f.npy"
        self.fail_with(2, "embed", CRABS, *self.retrieval, "-o", self.folder / "f.txt", says=".npy")
        self.fail_with(2, "embed", *self.retrieval, "-o", out, says="--text")
        self.fail_with(2, "embed", CRABS, *self.retrieval, "--multimodal", "-o", out, says="--text")
        self.fail_with(2, "embed", "--text", "a", *self.retrieval, "--multimodal", "-o", out, says="pictures")
        self.fail_with(2, "embed", CRABS, *self.retrieval, "--raw", "--projected", "-o", out)
        self.fail_with(2, "embed", CRABS, *self.retrieval, "--raw", "--text", "a", "-o", out, says="wide")
        self.fail_with(6, "embed", CRABS, *self.captioner, "-o", out, says="--raw")
        self.fail_with(6, "embed", CRABS, *self.retrieval, "--multimodal", "--projected", "--text", "a", "-o", out, says="raw")
        self.fail_with(4, "embed", CRABS, *self.retrieval, "-o", self.folder / "no/folder/f.npy")
        self.assertEqual(list(self.folder.iterdir()), [])


class ShippedModels(CommandTest):
    """Without --model each task has its own small one."""

    def lines(self, *arguments):
        return self.succeed(*arguments).splitlines()

    def test_questions(self):
        told = self.lines("vqa", CRABS, "--question", "how many crabs are there?", "--question", "is there a lemon in the picture?")
        self.assertEqual(told, ["how many crabs are there?\t2", "is there a lemon in the picture?\tyes"])

    def test_matches(self):
        told = json.loads(self.succeed("match", CRABS, "--text", "a lemon and two blue crabs", "--text", "a red tent", "--format", "json"))
        right, wrong = told[0]["matches"]
        self.assertGreater(right["itm_probability"], 0.5)
        self.assertLess(wrong["itm_probability"], 0.5)
        self.assertGreater(right["itc_similarity"], wrong["itc_similarity"])

    def test_statements(self):
        told = [self.lines("nlvr", CRABS, LEMON, "--text", text)[0] for text in ("the right image has exactly three basketballs", "both images contain a crab")]
        self.assertEqual([line.split("\t")[0].lower() for line in told], ["true", "false"])


class Heatmap(TaskTest):
    def test_a_captioner_shows_where_it_looks(self):
        out = self.folder / "map.png"
        line = self.succeed("heatmap", CRABS, "--word", "crabs", "-o", out)
        word, x, y = line.split("\t")
        self.assertEqual(word, "crabs")
        self.assertTrue(0 < float(x) < 1 and 0 < float(y) < 1)
        self.assertEqual(out.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")
        self.assertEqual(out.read_bytes()[16:24], CRABS.read_bytes()[16:24], "not as large as the picture")
        self.succeed("caption", out)

    def test_gradient_and_attention(self):
        arguments = ("heatmap", CRABS, *self.retrieval, "--text", "a cat and a dog")
        weighed = self.json(*arguments)[0]
        self.assertEqual(len(weighed["values"]), weighed["rows"] * weighed["columns"])
        self.assertEqual(weighed, self.json(*arguments, "--weighting", "gradient")[0])
        self.assertNotEqual(weighed, self.json(*arguments, "--weighting", "attention")[0])
        self.assertNotEqual(weighed, self.json(*arguments, "--layer", "0", "--layer", "2")[0])

    def test_failures(self):
        self.fail_with(2, "heatmap", CRABS, "--text", "a crab", "--word", "lemon", says="no word")
        self.fail_with(2, "heatmap", CRABS, *self.retrieval, says="--text")
        self.fail_with(2, "heatmap", CRABS, "--text", "a crab", "--layer", "99", says="layer 99")
        self.fail_with(6, "heatmap", CRABS, *self.captioner, "--text", "a crab", "--weighting", "gradient", says="ITM")
        self.fail_with(6, "heatmap", CRABS, *NLVR, "--text", "a crab", says="two")
        self.fail_with(7, "heatmap", self.file("x.png", "x"), "--text", "a crab")
        self.fail_with(4, "heatmap", CRABS, "--text", "a crab", "-o", self.folder / "no/folder/x.png")


class Help(TaskTest):
    def test_every_command_explains_itself(self):
        for command, words in {
            "vqa": ("--answers", "--reference-mask", "--num-answers", "128"),
            "match": ("--itm-token", "--only", "ITM"),
            "nlvr": ("LEFT", "--both-orders"),
            "embed": (".npy", "--multimodal", "--raw"),
            "heatmap": ("--word", "GradCAM", "--layer"),
        }.items():
            text = self.succeed(command, "--help")
            for word in words:
                self.assertIn(word, text)
            self.assertIn(command, self.succeed("--help"))


if __name__ == "__main__":
    cli_test.BLIP = sys.argv.pop(1)
    unittest.main()
