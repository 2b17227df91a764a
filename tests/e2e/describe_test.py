#!/usr/bin/env python3
"""blip describe as a person uses it, and a language model behind an HTTP endpoint, well or ill, that polishes.

    describe_test.py BLIP [unittest arguments]"""

import http.server
import json
import signal
import subprocess
import sys
import threading
import time
import unittest

import cli_test
from cli_test import run
from samples import CRABS, SAMPLES
from tasks_test import TaskTest

LEMON = SAMPLES / "test_pair-00189.png"
FAITHFUL = ("--recipe", "faithful")
# Fewer beams: the same rules in less time.
QUICK = ("--set", "describe.num_beams=2", "--set", "extend.num_beams=2", "--set", "refine.num_beams=2")


class Classic(TaskTest):
    def test_one_picture_gives_the_text_alone(self):
        text = self.succeed("describe", CRABS)
        self.assertEqual(text.count("\n"), 1)
        self.assertTrue(text[0].isupper() or text[0].isdigit(), text)
        self.assertNotIn("photography", text.lower())
        self.assertEqual(self.succeed("describe", CRABS), text, "not the same twice")

    def test_json_tells_what_was_done(self):
        row = self.json("describe", CRABS, *QUICK)[0]
        self.assertEqual((row["path"], row["recipe"], row["polished"]), (str(CRABS), "classic", False))
        self.assertEqual((row["words"], row["characters"]), (len(row["text"].split()), len(row["text"])))
        self.assertNotIn("sentences", row)
        self.assertTrue(row["length_limited"], "the model has 64 positions")
        first = [p for p in row["prompts"] if p["stage"] == "prompts"]
        self.assertEqual([p["prompt"] for p in first], [f"{a} photography of" for a in ("a", "a detailed", "a professional", "a high resolution")])
        self.assertTrue(all(len(p["texts"]) == 1 and not p["skipped"] for p in first))
        self.assertEqual(row["prompt_shortened"], any(p["shortened"] or p["skipped"] for p in row["prompts"]))

    def test_detail_sets_the_rounds(self):
        refine = (*QUICK, "--set", 'refine.prompts={current} and', "--set", "least_new_tokens=5")
        for arguments, rounds in {("--detail", "high"): 3, ("--detail", "medium"): 2, ("--detail", "low"): 1, ("--detail", "off"): 1,
                                  ("--no-multi-round",): 1, ("--detail", "medium", "--multi-round"): 2,
                                  ("--set", "rounds.high=5"): 5}.items():
            row = self.json("describe", CRABS, *refine, *arguments)[0]
            self.assertEqual(row["rounds"], rounds, arguments)
            self.assertEqual(sorted({p["round"] for p in row["prompts"]}), list(range(1, rounds + 1)))

    def test_the_seed_matters_and_neighbours_do_not(self):
        texts = {self.succeed("describe", CRABS, *QUICK, "--format", "jsonl", "--seed", str(seed)) for seed in range(4)}
        self.assertGreater(len(texts), 1)
        together = self.json("describe", LEMON, CRABS, *QUICK)
        self.assertEqual(together[1], self.json("describe", CRABS, *QUICK)[0])
        lines = self.succeed("describe", LEMON, CRABS, *QUICK).splitlines()
        self.assertEqual(lines, [f"{row['path']}\t{row['text']}" for row in together])

    def test_options_from_flags_and_files(self):
        shown = json.loads(self.succeed("describe", "--show-options"))
        self.assertEqual((shown["describe"]["max_length"], shown["describe"]["num_beams"], shown["rounds"]["high"]), (150, 8, 3))
        options = self.file("options.json", json.dumps({"describe": {"num_beams": 3, "prompts": ["a red"]}, "extend_under_words": 0}))
        shown = json.loads(self.succeed("describe", "--show-options", "--options", options, "--set", "describe.num_beams=4"))
        self.assertEqual((shown["describe"]["num_beams"], shown["describe"]["prompts"]), (4, ["a red"]), "flags come after the file")
        again = self.file("again.json", json.dumps(shown))
        self.assertEqual(json.loads(self.succeed("describe", "--show-options", "--options", again)), shown)
        row = self.json("describe", CRABS, "--options", options, "--no-multi-round")[0]
        self.assertEqual([p["prompt"] for p in row["prompts"]], ["a red"])

    def test_usage(self):
        self.fail_with(2, "describe", says="PATH is required")
        self.fail_with(2, "describe", CRABS, "--recipe", "poetic", says="--recipe")
        self.fail_with(2, "describe", CRABS, "--set", "describe.num_beam=3", says="nearest is describe.num_beams")
        self.fail_with(2, "describe", CRABS, "--set", "beams.num_beams=3", says="nearest is refine.num_beams")
        self.fail_with(2, "describe", CRABS, *FAITHFUL, "--set", "describe.num_beams=3", says="nearest is beams.num_beams")
        self.fail_with(2, "describe", CRABS, "--set", "describe.num_beams", says="KEY=VALUE")
        self.fail_with(2, "describe", CRABS, "--set", "describe.num_beams=0", says="num_beams")
        self.fail_with(2, "describe", CRABS, "--set", "describe.num_beams=many", says="num_beams")
        self.fail_with(2, "describe", CRABS, "--set", "describe.max_length=2", says="leaves room")
        self.fail_with(2, "describe", CRABS, "--set", "rounds.high=1000000", says="rounds")
        self.fail_with(2, "describe", CRABS, "--options", self.file("bad.json", '{"describe": '), says="bad.json")
        self.fail_with(2, "describe", CRABS, "--options", self.file("list.json", "[1]"), says="JSON object")
        self.fail_with(3, "describe", CRABS, "--options", self.folder / "none.json", says="none.json")
        self.fail_with(2, "describe", CRABS, "--matcher", self.models / "retrieval", says="--recipe faithful")
        self.fail_with(2, "describe", CRABS, *FAITHFUL, "--no-multi-round", says="--recipe classic")
        self.fail_with(2, "describe", CRABS, "--multi-round", "--detail", "off", says="--detail off")
        self.fail_with(6, "describe", CRABS, *self.retrieval, says="retrieval")
        self.fail_with(6, "describe", CRABS, *self.vqa, says="question_answering")

    def test_one_bad_picture_among_many(self):
        done = run("describe", self.bad_folder(), *QUICK, "--format", "jsonl")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(done.returncode, 1)
        self.assertEqual([r.get("error", {}).get("code") for r in rows], ["bad_image", None, "bad_image"])

    def test_stopping_leaves_whole_rows(self):
        pictures = [CRABS] * 200
        command = [cli_test.BLIP, "describe", *map(str, pictures), "--format", "json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.readline()
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            rest, message = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, message)
        self.assertTrue(rest.endswith(b"]\n"), rest[-100:])


class Faithful(TaskTest):
    def test_sentences_with_confidences(self):
        row = self.json("describe", CRABS, *FAITHFUL)[0]
        self.assertEqual((row["recipe"], row["confidence"]), ("faithful", "itm"))
        self.assertEqual(row["text"], " ".join(s["text"] for s in row["sentences"]))
        confidences = [s["confidence"] for s in row["sentences"]]
        self.assertEqual(confidences, sorted(confidences, reverse=True))
        self.assertTrue(all(0 < c <= 1 for c in confidences))
        self.assertIn("crabs", row["text"])
        self.assertEqual(self.succeed("describe", CRABS, *FAITHFUL), row["text"] + "\n")

    def test_detail_limits_the_sentences(self):
        every = ("--set", "least_share=0", "--set", "same_share=1")
        counts = [len(self.json("describe", CRABS, *FAITHFUL, *every, "--detail", d)[0]["sentences"]) for d in ("high", "medium", "low", "off")]
        self.assertEqual(counts[1:], [4, 2, 1])
        self.assertIn(counts[0], (4, 5, 6))

    def test_another_model_judges(self):
        row = self.json("describe", CRABS, LEMON, *FAITHFUL, "--matcher", self.models / "retrieval", "--set", "least_share=0")[1]
        self.assertEqual(row["confidence"], "itm")
        self.assertIsInstance(row["sentences"][0]["confidence"], float)
        judged = {s["text"]: s["confidence"] for s in row["sentences"]}
        for text, confidence in judged.items():
            match = self.json("match", LEMON, *self.retrieval, "--text", text, "--only", "itm", "--max-text-length", "0")[0]["matches"][0]
            self.assertAlmostEqual(match["itm_probability"], confidence, places=5)
        itc = self.json("describe", CRABS, *FAITHFUL, "--matcher", self.models / "clipstyle")[0]
        self.assertEqual(itc["confidence"], "itc")
        self.fail_with(6, "describe", CRABS, *FAITHFUL, "--matcher", self.models / "caption", says="no heads")
        self.fail_with(3, "describe", CRABS, *FAITHFUL, "--matcher", self.folder / "none", says="none")

    def test_standard_input_with_a_matcher(self):
        row = self.json("describe", "-", *FAITHFUL, "--matcher", self.models / "retrieval", stdin=CRABS.read_bytes())[0]
        self.assertEqual(row["confidence"], "itm")


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Answers as the server's `answer` says, and remembers what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, dict(self.headers), json.loads(body)))
        try:
            self.server.answer(self)
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.close_connection = True

    def reply(self, body, status=200, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def chat(text):
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}


class Polish(TaskTest):
    def setUp(self):
        super().setUp()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
        self.server.daemon_threads = True
        self.server.asked = []
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.plain = self.succeed("describe", CRABS, *QUICK, "--no-multi-round")

    def describe(self, answer, *arguments, url=None, env=None):
        self.server.answer = answer
        return run("describe", CRABS, *QUICK, "--no-multi-round", "--polish-url", url or self.url, *arguments, env={"no_proxy": "*"} | (env or {}))

    def assert_unpolished(self, done, says):
        """The text as it was, one sentence why, and no failure."""
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(done.stdout.decode(), self.plain)
        message = done.stderr.decode()
        self.assertEqual(message.count("\n"), 1, message)
        self.assertIn("not polished", message)
        self.assertIn(says, message)

    def test_the_text_is_replaced(self):
        done = self.describe(lambda h: h.reply(chat(" A lemon.\n\nAnd crabs. ")), "--polish-model", "mine", env={"BLIP_POLISH_KEY": "secret"})
        self.assertEqual((done.returncode, done.stderr, done.stdout), (0, b"", b"A lemon. And crabs.\n"))
        path, headers, body = self.server.asked[0]
        self.assertEqual((path, headers["Authorization"], body["model"]), ("/v1/chat/completions", "Bearer secret", "mine"))
        self.assertEqual(body["messages"][-1], {"role": "user", "content": self.plain.strip()})
        self.assertNotIn(str(CRABS), json.dumps(body), "nothing but the text is sent")
        done = self.describe(lambda h: h.reply(chat("<think>\nhm\n</think>\nA lemon.")), "--format", "jsonl", url=self.url + "//")
        row = json.loads(done.stdout)
        self.assertEqual((row["text"], row["unpolished"], row["polished"]), ("A lemon.", self.plain.strip(), True))
        self.assertEqual((row["words"], self.server.asked[1][0]), (2, "/v1/chat/completions"))
        self.assertNotIn("Authorization", self.server.asked[1][1])

    def test_off_by_default(self):
        run("describe", CRABS, *QUICK, env={"BLIP_POLISH_KEY": "secret"})
        self.assertEqual(self.server.asked, [])

    def test_a_hanging_service(self):
        start = time.monotonic()
        done = self.describe(lambda h: time.sleep(20), "--polish-timeout", "0.5")
        self.assert_unpolished(done, "within 0.5 seconds")
        self.assertLess(time.monotonic() - start, 10)

    def test_a_service_that_drips(self):
        def drip(handler):
            handler.send_response(200)
            handler.end_headers()
            for _ in range(100):
                handler.wfile.write(b" ")
                time.sleep(0.1)
        start = time.monotonic()
        self.assert_unpolished(self.describe(drip, "--polish-timeout", "1"), "within 1.0 seconds")
        self.assertLess(time.monotonic() - start, 8)

    def test_rubbish(self):
        for answer, says in {
            "an HTML page": (lambda h: h.reply(b"<html>hello</html>"), "no answer of a chat"),
            "bytes": (lambda h: h.reply(b"\xff\x00\x1b[31m"), "no answer of a chat"),
            "nothing": (lambda h: h.reply(b""), "no answer of a chat"),
            "no choices": (lambda h: h.reply({"choices": []}), "no answer of a chat"),
            "no text": (lambda h: h.reply(chat(None)), "no answer of a chat"),
            "deep nesting": (lambda h: h.reply(b"[" * 100000), "no answer of a chat"),
            "an empty text": (lambda h: h.reply(chat(" \n")), "empty"),
            "escape sequences": (lambda h: h.reply(chat("a\x1b[31mred")), "plain text"),
            "a book": (lambda h: h.reply(chat("word " * 5000)), "plain text"),
            "too much": (lambda h: h.reply(b" " * (2 << 20)), "more than 1 MiB"),
            "a failure": (lambda h: h.reply({"error": "overloaded"}, 503), "status 503"),
            "another place": (lambda h: h.reply(b"", 302, [("Location", "/elsewhere")]), "status 302"),
            "a broken answer": (lambda h: h.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), "cannot be asked"),
            "no HTTP": (lambda h: h.wfile.write(b"hello\r\n"), "cannot be asked"),
        }.values():
            with self.subTest(says=says):
                self.assert_unpolished(self.describe(answer), says)

    def test_nobody_there(self):
        self.server.shutdown()
        self.server.server_close()
        self.assert_unpolished(self.describe(None), "cannot be asked")
        row = json.loads(self.describe(None, "--format", "jsonl").stdout)
        self.assertFalse(row["polished"])
        self.assertIn("cannot be asked", row["polish_error"])
        self.assertNotIn("unpolished", row)

    def test_stopping_while_it_waits(self):
        asked = threading.Event()

        def hang(_):
            asked.set()
            time.sleep(20)
        self.server.answer = hang
        command = [cli_test.BLIP, "describe", str(CRABS), *QUICK, "--no-multi-round", "--polish-url", self.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"no_proxy": "*"}) as process:
            self.assertTrue(asked.wait(60))
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, message = process.communicate(timeout=60)
        self.assertEqual((process.returncode, out), (130, b""), message)
        self.assertLess(time.monotonic() - start, 5)

    def test_usage(self):
        for url in ("ftp://host/v1", "file:///etc/passwd", "localhost:8080"):
            self.fail_with(2, "describe", CRABS, "--polish-url", url, says="http://")
        self.fail_with(2, "describe", CRABS, "--polish-url", self.url, "--polish-timeout", "0", says="--polish-timeout")
        self.fail_with(2, "describe", CRABS, "--polish-url", self.url, "--polish-timeout", "1e9", says="86400")
        self.fail_with(2, "describe", CRABS, "--polish-model", "m", says="--polish-url")


class Help(TaskTest):
    def test_it_explains_itself(self):
        text = self.succeed("help", "describe")
        for word in ("--recipe", "--detail", "--no-multi-round", "--polish-url", "--show-options", "Examples:"):
            self.assertIn(word, text)
        self.assertNotIn("--batch-size", text)
        for shell in ("bash", "zsh", "fish"):
            script = self.succeed("completion", shell)
            self.assertIn("faithful", script)


if __name__ == "__main__":
    cli_test.BLIP = sys.argv.pop(1)
    unittest.main()
