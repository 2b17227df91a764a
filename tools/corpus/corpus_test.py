#!/usr/bin/env python3
"""The parts of the corpus that need no download: splits, scenes, texts, the grader. Plain Python, a few seconds."""

import collections
import hashlib
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import unittest

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))
from baselines import Guesser, of_other_pictures
from captions import captions, with_article
from grader import Grader
from noise import NoiseMaker
from questions import questions
from scenes import CROWDED_TYPES, SceneMaker, contents
from splits import SCENE_SPLITS, belongs, has_dev_pair, is_held_colour, is_held_count, is_held_pair, novelties
from statements import StatementMaker, is_true
from vocabulary import vocabulary
from words import CORE, ONLY_ALONE, all_nouns

# Of the code whose corpus tools/corpus/verify found right.
HELD_PAIRS, HELD_COLOURS, HELD_COUNTS = 1712, 59, 66
DRAWN = "10d485d2a7a567460327c2877bbc1860ecd88138db70580ddede55079753cf64"

NOVELTIES = ("iid", "pair", "attr", "count", "noun")


class FakeSprites:
    """Three drawings of every small noun: red, green, and of no one colour; the green one can be blue or yellow."""

    def __init__(self):
        self.rows = [{"noun": noun.singular, "plural": noun.plural, "cat": noun.category, "colour": colour,
                      "variants": {"blue": 95.0, "yellow": 290.0} if colour == "green" else {}}
                     for noun in all_nouns() if noun.singular in CORE for colour in ("red", "green", None)]
        self.of_noun = {}
        for number, row in enumerate(self.rows):
            self.of_noun.setdefault(row["noun"], []).append(number)
        self.nouns = sorted(self.of_noun)


def made(novelty, count, seed=5):
    """[(scene, captions)]"""
    draw = random.Random(seed)
    maker = SceneMaker(FakeSprites(), draw, novelty)
    found = []
    for _ in range(count):
        scene = maker.scene()
        found.append((scene, captions(scene, draw)))
    return found


def group(noun, n=1, colour=None):
    plural = next(row.plural for row in all_nouns() if row.singular == noun)
    return {"noun": noun, "plural": plural, "cat": "thing", "n": n, "col": colour, "real": colour}


def scene_of(*groups, kind=None, axis="h", background="white", **more):
    kind = kind or {1: "one", 2: "rel", 3: "three"}[len(groups)]
    return {"type": kind, "bg": background, "groups": list(groups), "axis": axis} | more


class SplitsTest(unittest.TestCase):
    def test_held_combinations_are_fixed_for_ever(self):
        nouns = sorted(noun.singular for noun in all_nouns())
        pairs = [(a, b) for i, a in enumerate(nouns) for b in nouns[i:]]
        held = [pair for pair in pairs if is_held_pair(*pair)]
        self.assertEqual(len(held), HELD_PAIRS)
        self.assertTrue(all(is_held_pair(b, a) for a, b in held))
        self.assertEqual(sum(is_held_colour(colour, noun) for noun in nouns for colour in ("red", "blue")), HELD_COLOURS)
        self.assertEqual(sum(is_held_count(count, noun) for noun in nouns for count in (1, 2, 3, 4)), HELD_COUNTS)
        self.assertFalse(is_held_colour(None, "dog"))

    def test_a_scene_belongs_to_one_split(self):
        for novelty in NOVELTIES:
            for scene, _ in made(novelty, 200):
                self.assertEqual([other for other in NOVELTIES if belongs(scene["groups"], other)], [novelty])

    def test_training_has_nothing_that_tests_hold_out(self):
        for scene, _ in made("iid", 500):
            self.assertEqual(novelties(scene["groups"]), set())
            if len(scene["groups"]) > 1 or scene["groups"][0]["n"] > 1:
                self.assertFalse(set(contents(scene)) & set(ONLY_ALONE))

    def test_crowded_scenes_keep_to_the_rules(self):
        maker = SceneMaker(FakeSprites(), random.Random(4), "iid", CROWDED_TYPES)
        scenes = [maker.scene() for _ in range(500)]
        self.assertTrue(all(not novelties(scene["groups"]) for scene in scenes))
        self.assertGreater(sum(len(scene["groups"]) > 1 for scene in scenes), 250)

    def test_a_colour_that_captions_cannot_name_is_no_test_of_it(self):
        noun = next(noun.singular for noun in all_nouns() if is_held_colour("red", noun.singular))
        unnamed = group(noun, colour="red") | {"col": None}
        self.assertTrue(belongs([group(noun, colour="red")], "attr"))
        self.assertFalse(any(belongs([unnamed], novelty) for novelty in NOVELTIES))

    def test_dev_pairs_are_of_train_and_not_of_test_pair(self):
        nouns = sorted(CORE)
        pairs = [(a, b) for i, a in enumerate(nouns) for b in nouns[i + 1:]]
        held = {pair for pair in pairs if is_held_pair(*pair)}
        dev = {pair for pair in pairs if has_dev_pair([{"noun": noun} for noun in pair])}
        self.assertFalse(held & dev)
        self.assertTrue(0.03 < len(dev) / len(pairs) < 0.07)

    def test_sizes_and_seeds(self):
        self.assertEqual([split.size for split in SCENE_SPLITS], [20000] + 7 * [1000])
        self.assertEqual(len({split.seed for split in SCENE_SPLITS}), len(SCENE_SPLITS))


class ScenesTest(unittest.TestCase):
    def test_the_order_of_draws_is_part_of_the_format(self):
        draw = random.Random(3)
        everything = [made(novelty, 100) for novelty in NOVELTIES]
        scenes = [scene for scene, _ in everything[0]]
        plurals = {noun.singular: noun.plural for noun in all_nouns()}
        everything.append([questions(scene, sorted(CORE), draw) for scene in scenes])
        everything.append(StatementMaker(scenes, plurals, draw).statements(64))
        noise = NoiseMaker(scenes, ["clip art"], draw)
        everything.append([noise.text(number) for number in range(len(scenes))])
        self.assertEqual(hashlib.sha256(json.dumps(everything).encode()).hexdigest(), DRAWN)

    def test_things_lie_in_the_picture_and_stand_out(self):
        for scene, _ in made("iid", 500):
            self.assertEqual(len(scene["objs"]), sum(group["n"] for group in scene["groups"]))
            for number, x, y, size, mirrored in scene["objs"]:
                self.assertTrue(0 < size < 1 and 0 < x < 1 and 0 < y < 1 and mirrored in (0, 1))
                self.assertNotEqual(scene["groups"][number]["real"], scene["bg"])

    def test_groups_lie_where_the_axis_says(self):
        scenes = [scene for scene, _ in made("iid", 500) if scene["type"] == "rel"]
        self.assertGreater(len(scenes), 100)
        for scene in scenes:
            place = 1 if scene["axis"] == "h" else 2
            self.assertLess(max(obj[place] for obj in scene["objs"] if obj[0] == 0),
                            min(obj[place] for obj in scene["objs"] if obj[0] == 1))


class CaptionsTest(unittest.TestCase):
    def test_articles(self):
        self.assertEqual([with_article(noun) for noun in ("dog", "owl", "unicorn", "umbrella")],
                         ["a dog", "an owl", "a unicorn", "an umbrella"])

    def test_five_different_ones(self):
        written = [texts for _, texts in made("iid", 300)]
        self.assertTrue(all(len(set(texts)) == len(texts) for texts in written))
        self.assertGreater(sum(len(texts) == 5 for texts in written), 295)


class GraderTest(unittest.TestCase):
    def test_true_captions_are_true(self):
        grader, judged = Grader(), 0
        for novelty in NOVELTIES:
            for scene, written in made(novelty, 200):
                for caption in written:
                    verdict = grader.grade(caption, scene)
                    self.assertTrue(verdict.all, (caption, verdict, scene))
                    judged += 1
        self.assertGreater(judged, 4900)

    def test_captions_of_other_scenes_are_hardly_ever_true(self):
        pairs = made("pair", 300)
        moved = of_other_pictures([written[0] for _, written in pairs])
        grader = Grader()
        self.assertLess(sum(grader.grade(caption, scene).all for caption, (scene, _) in zip(moved, pairs)), 5)

    def expect(self, caption, scene, wrong, stated):
        """`wrong`: the facts that are judged false."""
        verdict = Grader().grade(caption, scene)
        facts = ("nouns", "count", "colour", "relation", "place", "background")
        self.assertEqual({fact for fact in facts if getattr(verdict, fact) is False}, set(wrong), (caption, verdict))
        self.assertEqual(verdict.all, not wrong)
        self.assertEqual(verdict.stated, stated, caption)

    def test_two_groups(self):
        scene = scene_of(group("dog", 2, "red"), group("crown", 1, "blue"), background="pink")
        for caption, wrong, stated in (
                ("two red dogs to the left of a blue crown", [], 7),
                ("a crown on the right of two dogs on a pink background", [], 6),
                ("two dogs next to a crown", [], 5),
                ("two dogs and a crown", [], 4),
                ("two dogs on the left and a crown on the right", [], 5),
                ("two dogs to the right of a crown", ["relation"], 5),
                ("a crown to the left of two dogs", ["relation"], 5),
                ("two dogs above a crown", ["relation"], 5),
                ("three dogs next to a crown", ["count"], 5),
                ("two green dogs and a crown", ["colour"], 5),
                ("two blue dogs and a red crown", ["colour"], 6),
                ("two dogs and a crown on a white background", ["background"], 5),
                ("two dogs and a crown and a crown", ["count"], 7),
                ("two dogs", ["nouns"], 2),
                ("two dogs and a cat", ["nouns"], 4),
                ("two dogs, a crown and a cat", ["nouns"], 7),
                ("nothing to see", ["nouns"], 0),
                ("", ["nouns"], 0)):
            self.expect(caption, scene, wrong, stated)

    def test_two_colours_of_one_noun(self):
        scene = scene_of(group("star", 1, "red"), group("star", 1, "blue"), axis="v")
        self.expect("a red star above a blue star", scene, [], 7)
        self.expect("a blue star below a red star", scene, [], 7)
        self.expect("a blue star above a red star", scene, ["relation"], 7)
        self.expect("a red star next to a blue star", scene, ["relation"], 7)
        self.expect("two red stars", scene, ["count"], 3)
        self.expect("a red star and a green star", scene, ["colour", "count"], 6)

    def test_one_and_many(self):
        corner = scene_of(group("bee", 1, "yellow"), pos="top left", size="small")
        self.expect("a tiny yellow bee in the top left corner", corner, [], 4)
        self.expect("a bee in the top right corner", corner, ["place"], 3)
        self.expect("a bee in the middle", corner, ["place"], 3)
        self.expect("a bee in the middle", scene_of(group("bee")), [], 3)
        many = scene_of(group("slice of pizza", 3), kind="many")
        self.expect("a group of slices of pizza", many, [], 1)
        self.expect("there are three slices of pizza", many, [], 2)
        self.expect("a picture of four slices of pizza", many, ["count"], 2)
        self.expect("a slice of pizza", many, ["count"], 2)

    def test_three_in_a_row(self):
        scene = scene_of(group("dog"), group("cat"), group("bus"))
        self.expect("from left to right, a dog, a cat and a bus", scene, [], 7)
        self.expect("a cat, a dog and a bus in a row", scene, ["relation"], 7)

    def test_longer_names_are_not_taken_for_their_parts(self):
        self.expect("a palm tree", scene_of(group("palm tree")), [], 2)
        self.expect("a palm tree", scene_of(group("tree")), ["nouns"], 2)
        self.expect("a tree", scene_of(group("palm tree")), ["nouns"], 2)


class TasksTest(unittest.TestCase):
    def test_statements_are_balanced_and_right(self):
        scenes = [scene for scene, _ in made("iid", 300)]
        plurals = {noun.singular: noun.plural for noun in all_nouns()}
        found = StatementMaker(scenes, plurals, random.Random(1)).statements(320)
        self.assertEqual(collections.Counter(row["kind"] for row in found).most_common()[-1][1], 40)
        singular = {plural: noun for noun, plural in plurals.items()} | {noun: noun for noun in plurals}
        names = re.compile(r"\b(" + "|".join(sorted(map(re.escape, singular), key=len, reverse=True)) + r")\b")
        for true, false in zip(found[::2], found[1::2]):
            self.assertEqual((true["sentence"], true["label"], false["label"]), (false["sentence"], True, False))
            noun = singular[names.search(true["sentence"]).group(1)]
            number = next((n for n, word in enumerate("zero one two three four five".split())
                           if f" {word} " in true["sentence"] and "one of" not in true["sentence"]), None)
            for row in (true, false):
                left, right = (contents(scenes[row[side]]).get(noun, 0) for side in ("left", "right"))
                self.assertEqual(is_true(row["kind"], left, right, number), row["label"], (row, left, right))

    def test_what_statements_mean(self):
        for kind, left, right, number, expected in (
                ("both", 1, 2, None, True), ("both", 1, 0, None, False), ("one", 0, 3, None, True),
                ("one", 1, 1, None, False), ("none", 0, 0, None, True), ("none", 0, 1, None, False),
                ("left", 2, 1, 2, True), ("left", 1, 2, 2, False), ("right", 1, 2, 2, True), ("total", 1, 2, 3, True),
                ("total", 1, 1, 3, False), ("more", 2, 1, None, True), ("more", 1, 1, None, False),
                ("same", 2, 2, None, True), ("same", 0, 0, None, False)):
            self.assertEqual(is_true(kind, left, right, number), expected, (kind, left, right, number))

    def test_questions(self):
        scene = scene_of(group("dog", 2, "red"), group("crown", 1, "blue"))
        found = set()
        for seed in range(200):
            found |= set(questions(scene, ["dog", "crown", "bus"], random.Random(seed)))
        self.assertLessEqual({("what color are the dogs?", "red"), ("how many crowns are there?", "1"),
                              ("is there a bus in the picture?", "no"), ("what is to the left of the crown?", "dog"),
                              ("are the dogs to the left of the crown?", "yes"),
                              ("are the dogs to the right of the crown?", "no"),
                              ("are there more dogs than crowns?", "yes"), ("what color is the background?", "white")},
                             found)
        answers = collections.defaultdict(set)
        for question, answer in found:
            answers[question].add(answer)
        self.assertTrue(all(len(given) == 1 for given in answers.values()), answers)

    def test_vocabulary(self):
        tokens = vocabulary(["a t-shirt, blue", "Is it a T-shirt?"])
        self.assertEqual(tokens[:5], ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
        self.assertEqual(tokens[-7:], [",", "-", "?", "blue", "is", "it", "shirt"])
        self.assertEqual(len(tokens), 5 + 36 + 36 + 7)

    def test_noise_is_what_it_says(self):
        scenes = [scene for scene, _ in made("iid", 2000)]
        noise, grader = NoiseMaker(scenes, ["Lemon SVG theme"], random.Random(2)), Grader()
        truths = collections.Counter()
        for number, scene in enumerate(scenes):
            text, truth = noise.text(number)
            truths[truth] += 1
            self.assertEqual(grader.grade(text, scene).all, truth == "good", (text, truth))
        for truth, share in (("good", 0.30), ("partial", 0.15), ("wrong", 0.33), ("boilerplate", 0.15), ("subtle", 0.07)):
            self.assertAlmostEqual(truths[truth] / len(scenes), share, delta=0.05, msg=truth)

    def test_guesses(self):
        guesser = Guesser([("how many dogs?", "2"), ("how many dogs?", "2"), ("how many cats?", "1"),
                           ("is it?", "yes"), ("is it?", "yes"), ("is it?", "yes")])
        self.assertEqual([guesser.guess(question) for question in ("how many cats?", "how many bees?", "why?")],
                         ["1", "2", "yes"])


class GradeCommandTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.corpus = pathlib.Path(folder.name)
        scenes = [scene_of(group("dog", 1, "red")), scene_of(group("cat", 3), kind="many")]
        self.lines("scenes/test_pair.jsonl", [{"id": f"test_pair-{i}", "captions": [caption], "scene": scene}
                                              for i, (caption, scene) in enumerate(zip(("a dog", "three cats"), scenes))])
        self.lines("scenes/train.jsonl", [{"id": "train-0", "captions": ["a red dog"], "scene": scenes[0]}])
        self.lines("vqa/train.jsonl", [{"image": "train-0", "question": "is it a dog?", "answer": "yes"}])
        self.lines("vqa/test_pair.jsonl", [{"image": "test_pair-0", "question": "is it a dog?", "answer": "yes"},
                                           {"image": "test_pair-1", "question": "how many?", "answer": "3"}])
        self.lines("nlvr/train.jsonl", [{"sentence": "both", "label": True, "kind": "both"}])
        self.lines("nlvr/test_pair.jsonl", [{"sentence": "both", "label": label, "kind": "both"}
                                            for label in (True, False)])

    def lines(self, name, rows):
        path = self.corpus / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def grade(self, task, results):
        path = self.corpus / "results"
        path.write_text(results if isinstance(results, str) else json.dumps(results))
        return subprocess.run([sys.executable, FOLDER / "grade", task, self.corpus, "test_pair", path, "--format", "json"],
                              capture_output=True, text=True, timeout=60)

    def graded(self, task, results):
        done = self.grade(task, results)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)

    def test_captions(self):
        found = self.graded("caption", [{"image_id": 1, "caption": "two cats"}, {"image_id": 0, "caption": "a red dog"}])
        self.assertEqual(found["the model"], {"nouns": 100.0, "count": 50.0, "colour": 100.0, "relation": None,
                                              "place": None, "background": None, "all": 50.0, "stated": 2.5})
        self.assertEqual((found["a reference"]["all"], found["a reference"]["stated"]), (100.0, 2.0))
        self.assertEqual(found["text only"]["all"], 50.0)

    def test_answers_and_statements(self):
        found = self.graded("vqa", [{"question_id": 0, "answer": "no"}, {"question_id": 1, "answer": "3"}])
        self.assertEqual(found["the model"], {"all": 50.0, "number": 100.0, "yes/no": 0.0})
        self.assertEqual(found["text only"], {"all": 50.0, "number": 0.0, "yes/no": 100.0})
        found = self.graded("nlvr", "0,True\n1,False\n")
        self.assertEqual((found["the model"]["all"], found["text only"]["all"]), (100.0, 50.0))

    def test_wrong_results_are_refused(self):
        for task, results, says in (
                ("caption", "[", "not JSON"),
                ("caption", {"image_id": 0}, "row 0"),
                ("caption", [{"image_id": "0", "caption": "a"}], "row 0"),
                ("caption", [{"image_id": 0, "caption": "a"}], "lacks 1 of 2, such as 1"),
                ("caption", [{"image_id": i, "caption": "a"} for i in (0, 1, 1)], "has 1 twice"),
                ("caption", [{"image_id": i, "caption": "a"} for i in (0, 1, 7)], "has 7"),
                ("nlvr", "0,True\n1,maybe\n", "line 2")):
            done = self.grade(task, results)
            self.assertEqual(done.returncode, 2)
            self.assertIn(says, done.stderr)


class LocksTest(unittest.TestCase):
    def test_versions_are_exact_and_checked(self):
        wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]
        locked = json.loads((FOLDER / "package-lock.json").read_text())["packages"]
        for name, version in wanted.items():
            self.assertRegex(version, r"^\d+\.\d+\.\d+$")
            self.assertEqual(locked["node_modules/" + name]["version"], version)
        self.assertTrue(all(package["integrity"].startswith("sha512-") for name, package in locked.items() if name))
        for name in ("requirements.txt", "easy_vqa.txt"):
            requirements = re.split(r"\n(?=\S)", (FOLDER / name).read_text().strip())
            self.assertTrue(all(re.match(r"[a-z-]+==[\d.]+ ", line) and "--hash=sha256:" in line for line in requirements))


if __name__ == "__main__":
    unittest.main()
