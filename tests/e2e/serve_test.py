#!/usr/bin/env python3
"""blip serve: its API by plain HTTP, and what it does with the impatient, the slow, the many and the hostile.

    serve_test.py BLIP [unittest arguments]"""

import concurrent.futures
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
import zlib

import samples
from samples import CRABS_CAPTION, ROOT
from serving import Service, form, json_body
from tasks_test import make_models

CRABS = samples.CRABS.read_bytes()
BLIP = ""
# Attention over so many patches takes seconds: long enough to be interrupted. Under sanitizers fewer are enough.
SLOW = ("--image-size", os.environ.get("BLIP_SLOW_IMAGE_SIZE", 768))


def png(width, height):
    """A black picture with little to send."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + 3 * width)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


class ServeTest(unittest.TestCase):
    arguments = ()

    @classmethod
    def setUpClass(cls):
        cls.service = Service(BLIP, *cls.arguments)
        cls.addClassCleanup(cls.service.stop)

    def serve(self, *arguments):
        service = Service(BLIP, *arguments)
        self.addCleanup(service.stop)
        return service

    def caption(self, **fields):
        answer = self.service.post("/v1/caption", form(("image", CRABS), *fields.items()))
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json["captions"]


class Answers(ServeTest):
    def test_every_way_in_gives_what_the_command_gives(self):
        command = subprocess.run([BLIP, "caption", "-", "--num-beams", "3", "--format", "json"], input=CRABS, capture_output=True, check=True)
        wanted = json.loads(command.stdout)[0]["captions"]
        for target, request in [("/v1/caption", form(("image", CRABS), ("num_beams", 3))),
                                ("/v1/caption?num_beams=3", (CRABS, {"Content-Type": "image/png"})),
                                ("/v1/caption?num_beams=3", (CRABS, {})),
                                ("/v1/caption", json_body(image=CRABS, num_beams=3)),
                                ("/v1/caption", json_body(images=["data:image/png;base64," + json.loads(json_body(i=CRABS)[0])["i"]], num_beams=3))]:
            answer = self.service.post(target, request)
            self.assertEqual(answer.status, 200, answer.body)
            self.assertEqual(answer.json["captions"], wanted)
            self.assertEqual(answer.json["image"], {"width": 160, "height": 160})

    def test_a_stream_shows_the_text_as_it_grows(self):
        for request in (form(("image", CRABS), ("stream", "true")), json_body(image=CRABS, stream=True)):
            answer = self.service.post("/v1/caption", request)
            self.assertEqual((answer.status, answer.headers["content-type"]), (200, "text/event-stream"))
            stages = [data["stage"] for event, data in answer.events if event == "progress"]
            self.assertEqual(stages, ["queued", "reading", "encoding", "writing"])
            partial = [data["text"] for event, data in answer.events if event == "partial"]
            self.assertGreater(len(partial), 3)
            self.assertTrue(all(b.startswith(a) for a, b in zip(partial, partial[1:])), partial)
            self.assertEqual(answer.events[-1][0], "result")
            self.assertEqual(answer.events[-1][1]["captions"][0]["text"], CRABS_CAPTION)
        answer = self.service.post("/v1/caption", form(("image", b"no picture")), Accept="text/event-stream")
        self.assertEqual(answer.events[-1][0], "error")
        self.assertEqual(answer.events[-1][1]["error"]["code"], "bad_image")

    def test_describe_by_either_recipe(self):
        for recipe in ("classic", "faithful"):
            answer = self.service.post("/v1/describe", form(("image", CRABS), ("recipe", recipe), ("detail", "low")))
            self.assertEqual(answer.status, 200, answer.body)
            self.assertEqual(answer.json["recipe"], recipe)
            self.assertEqual(answer.json["words"], len(answer.json["text"].split()))
            self.assertEqual(answer.json["characters"], len(answer.json["text"]))
        again = self.service.post("/v1/describe", json_body(image=CRABS, recipe="faithful", detail="low", stream=True))
        self.assertEqual(again.events[-1][1]["text"], answer.json["text"])
        self.assertIn("prompts", [data.get("stage") for _, data in again.events])

    def test_a_description_says_round_and_prompt_while_it_is_written(self):
        answer = self.service.post("/v1/describe", form(("image", CRABS), ("detail", "medium"), ("stream", "true")))
        steps = [data for event, data in answer.events if event == "progress" and "round" in data]
        first = [step for step in steps if step["stage"] == "prompts"]
        self.assertEqual({(step["round"], step["rounds"], step["of"]) for step in first}, {(1, 2, 4)})
        self.assertIn(("a photography of", 0), [(step.get("prompt"), step["done"]) for step in first])
        shares = [step["share"] for step in first]
        self.assertEqual((shares[0], shares[-1], shares), (0, 1, sorted(shares)))
        self.assertGreater(len(shares), 3)
        second = [step for step in steps if step["stage"] == "round"]
        self.assertEqual(second[0]["prompt"], "Add more specific visual details to this description: {current}")
        self.assertEqual({(step["round"], step["of"]) for step in second}, {(2, 1)})

    def test_heat_maps_of_a_word(self):
        answer = self.service.post("/v1/heatmap", form(("image", CRABS), ("word", "crabs")))
        self.assertEqual(answer.json["text"], CRABS_CAPTION)
        self.assertEqual(len(answer.json["values"]), answer.json["rows"] * answer.json["columns"])

    def test_what_is_wrong_is_said(self):
        for request, status, code in [
                (form(("image", b"no picture")), 422, "bad_image"), (form(("image", CRABS[:300])), 422, "bad_image"),
                (form(("image", b"")), 422, "bad_image"),
                (form(("prompt", "a")), 400, "usage"), (form(("image", CRABS), ("image", CRABS)), 400, "usage"),
                (form(("image", CRABS), ("num_beems", 3)), 400, "usage"), (form(("image", CRABS), ("num_beams", "x")), 400, "usage"),
                (form(("image", CRABS), ("num_beams", -1)), 400, "usage"), (form(("image", CRABS), ("num_beams", 1000)), 413, "too_large"),
                (form(("image", CRABS), ("max_length", 10**9)), 400, "usage"), (form(("image", CRABS), ("prompt", "a " * 40000)), 413, "too_large"),
                (json_body(image="http://example.org/a.png"), 400, "usage"), (json_body(image="/etc/passwd"), 422, "bad_image"),
                (json_body(image="%%%"), 400, "usage"), (json_body(image=3), 400, "usage"), (json_body(image={"path": "/etc/passwd"}), 400, "usage"),
                (form(("image", CRABS), ("stream", "perhaps")), 400, "usage"), (json_body(image=CRABS, stream=2), 400, "usage"),
                (json_body(image=CRABS, num_return_sequences=0), 400, "usage"),
                (json_body(image=CRABS, prompt=["a"]), 400, "usage"), (json_body(image=CRABS, model="other"), 404, "not_found"),
                ((b"{", {"Content-Type": "application/json"}), 400, "usage"), ((b"[]", {"Content-Type": "application/json"}), 400, "usage"),
                ((b"[" * 10000, {"Content-Type": "application/json"}), 400, "usage"), ((b"\xff\xfe", {"Content-Type": "application/json"}), 400, "usage"),
                ((b"--limit", {"Content-Type": "multipart/form-data"}), 400, "usage"), ((b"--limit\r\n", {"Content-Type": "multipart/form-data; boundary=limit"}), 400, "usage"),
                ((png(20000, 20000), {"Content-Type": "image/png"}), 413, "too_large")]:
            answer = self.service.post("/v1/caption", request)
            self.assertEqual((answer.status, answer.error), (status, code), (request[0][:200], answer.body))
        for target, status in [("/v1/nothing", 404), ("/v1", 404), ("/../etc/passwd", 404), ("/%2e%2e/etc/passwd", 404), ("//", 404)]:
            self.assertEqual(self.service.ask("POST", target, b"").status, status, target)
        answer = self.service.ask("DELETE", "/v1/caption")
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "POST"))
        answer = self.service.post("/v1/search", json_body(text="what"))
        self.assertEqual((answer.status, answer.error), (422, "unsupported"))
        for options, status in [({"describe": {"num_beams": 17}}, 413), ({"refine": {"num_return_sequences": 0}}, 400),
                                ({"extend": {"prompts": ["a"] * 17}}, 413), ({"leading_phrases": ["a" * 70000]}, 413), ([], 400)]:
            answer = self.service.post("/v1/describe", json_body(image=CRABS, options=options))
            self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(self.caption()[0]["text"], CRABS_CAPTION)

    def test_the_page_and_the_signs_of_life(self):
        page = self.service.ask("GET", "/")
        self.assertEqual((page.status, page.headers["content-type"]), (200, "text/html; charset=utf-8"))
        self.assertIn("default-src 'none'", page.headers["content-security-policy"])
        self.assertEqual(self.service.ask("GET", "/", headers={"If-None-Match": page.headers["etag"]}).status, 304)
        head = self.service.ask("HEAD", "/index.html")
        self.assertEqual((head.status, head.body, head.headers["content-length"]), (200, b"", str(len(page.body))))
        self.assertEqual([self.service.ask("GET", p).status for p in ("/healthz", "/readyz", "/metrics", "/v1/info")], [200] * 4)
        info = self.service.ask("GET", "/v1/info").json
        self.assertEqual((info["tasks"]["caption"], info["tasks"]["vqa"]), ("default", "vqa"))

    def test_other_sites_pages_are_not_answered(self):
        for headers, status in [({"Host": "evil.example"}, 403), ({"Host": "127.evil.example"}, 403), ({"Origin": "https://evil.example"}, 403),
                                ({"Origin": "null"}, 403), ({"Host": "127.0.0.2"}, 200),
                                ({"Host": f"localhost:{self.service.port}"}, 200), ({"Host": f"[::1]:{self.service.port}"}, 200),
                                ({"Origin": f"http://127.0.0.1:{self.service.port}"}, 200)]:
            self.assertEqual(self.service.ask("GET", "/v1/info", headers=headers).status, status, headers)
        self.assertEqual(self.service.post("/v1/caption", form(("image", CRABS)), Origin="https://evil.example").status, 403)


class Models(ServeTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        make_models(cls.folder)
        vqa, itm = cls.folder / "vqa", cls.folder / "retrieval"
        photos = cls.folder / "photos"
        photos.mkdir()
        for sample in (ROOT / "models/default/samples").glob("*.png"):
            shutil.copy(sample, photos)
        subprocess.run([BLIP, "index", "build", photos, "-o", cls.folder / "index", "--model", itm], check=True, capture_output=True)
        cls.arguments = ("--add-model", vqa, "--add-model", itm, "--index", cls.folder / "index")
        cls.itm, cls.vqa, cls.photos = itm, vqa, photos
        super().setUpClass()

    def test_each_task_has_its_model(self):
        tasks = self.service.ask("GET", "/v1/info").json["tasks"]
        self.assertEqual(tasks["caption"], "default")
        self.assertEqual((tasks["vqa"], tasks["match"], tasks["search"]), (self.vqa.name, self.itm.name, self.itm.name))

    def test_questions(self):
        answer = self.service.post("/v1/vqa", form(("image", CRABS), ("question", "what is it"), ("question", "how many")))
        self.assertEqual([q["question"] for q in answer.json["questions"]], ["what is it", "how many"], answer.body)
        ranked = self.service.post("/v1/vqa", json_body(image=CRABS, question="what is it", answers=["a crab", "two", "a crab"], num_answers=2))
        self.assertEqual(len(ranked.json["questions"][0]["answers"]), 2, ranked.body)
        none = self.service.post("/v1/vqa", form(("image", CRABS), ("question", "what is it"), ("num_return_sequences", 0)))
        self.assertEqual((none.status, none.error), (400, "usage"))
        self.assertEqual(self.service.post("/v1/vqa", form(("image", CRABS), ("question", ""))).status, 400)
        self.assertEqual(self.service.post("/v1/vqa", form(("image", CRABS))).status, 400)

    def test_matches_and_vectors(self):
        matches = self.service.post("/v1/match", json_body(image=CRABS, text=["two crabs", "a dog"])).json["matches"]
        self.assertEqual([m["text"] for m in matches], ["two crabs", "a dog"])
        self.assertTrue(all(0 <= m["itm_probability"] <= 1 and -1 <= m["itc_similarity"] <= 1 for m in matches))
        vectors = self.service.post("/v1/embed", json_body(images=[], image=CRABS, text="two crabs")).json
        self.assertEqual([len(row["values"]) for row in vectors["rows"]], [vectors["width"]] * 2)
        self.assertEqual(self.service.post("/v1/embed", json_body()).status, 400)

    def test_search_names_pictures_but_not_where_they_lie(self):
        found = self.service.post("/v1/search", form(("image", CRABS), ("k", 3)))
        self.assertEqual(found.json["results"][0]["name"], "test_pair-00065.png", found.body)
        found = self.service.post("/v1/search", json_body(text="crabs", k=2, rerank=2))
        self.assertEqual(len(found.json["results"]), 2, found.body)
        self.assertNotIn(str(self.folder).encode(), found.body)
        self.assertEqual(self.service.post("/v1/search", json_body()).status, 400)
        self.assertEqual(self.service.post("/v1/search", json_body(text="a", k=0)).status, 400)


class Load(ServeTest):
    def test_many_at_once_get_what_each_gets_alone(self):
        requests = [{}, {"num_beams": 3}, {"num_beams": 8, "num_return_sequences": 4}, {"do_sample": "true", "seed": 7},
                    {"prompt": "two"}, {"max_new_tokens": 2}]
        alone = [self.caption(**fields) for fields in requests]
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            together = list(pool.map(lambda i: self.caption(**requests[i % len(requests)]), range(120)))
        for i, captions in enumerate(together):
            self.assertEqual(captions, alone[i % len(requests)])
        self.assertGreater(self.service.metric("blip_decoder_rows_total"), 1.5 * self.service.metric("blip_decoder_steps_total"))

    def test_broken_and_good_ones_do_not_disturb_each_other(self):
        def one(i):
            if i % 3 == 0:
                return self.service.post("/v1/caption", form(("image", CRABS[:200 + i]))).status
            if i % 3 == 1:
                gone = self.service.connect()
                gone.sendall(b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
                gone.close()
                return 0
            return self.service.post("/v1/caption", form(("image", CRABS))).json["captions"][0]["text"]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            results = list(pool.map(one, range(90)))
        self.assertEqual(set(results), {422, 0, CRABS_CAPTION})
        self.service.until(lambda: self.service.metric("blip_connections") == 1)
        self.assertEqual(self.service.metric("blip_body_bytes"), 0)


class Network(ServeTest):
    arguments = ("--max-body-mib", 1)

    def send(self, data, seconds=60):
        """Raw bytes -> what came back until the service closed."""
        with self.service.connect() as s:
            s.settimeout(seconds)
            try:
                s.sendall(data)
                got = b""
                while piece := s.recv(65536):
                    got += piece
            except (ConnectionResetError, BrokenPipeError):
                pass
            return got

    def test_what_is_no_http_is_refused(self):
        for data, status in [(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b" 400 "), (b"GET\r\n\r\n", b" 400 "), (b"GET / HTTP/9.9\r\n\r\n", b" 400 "),
                             (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100000 + b"\r\n\r\n", b" 431 "),
                             (b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n", b" 400 "),
                             (b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n", b" 400 "),
                             (b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n", b" 413 "),
                             (b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b" 400 "),
                             (b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n" + b"a" * 0x200000, b" 413 ")]:
            got = self.send(data)
            self.assertIn(status, got.split(b"\r\n")[0], (data[:80], got[:300]))

    def test_large_bodies_hear_why(self):
        answer = self.service.post("/v1/caption", (bytes(3 << 20), {}))
        self.assertEqual((answer.status, answer.error), (413, "too_large"))

    def test_large_bodies_that_do_not_come_keep_nobody_out(self):
        service = self.serve()
        announced = [service.connect() for _ in range(8)]
        try:
            for s in announced:
                s.sendall(b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\nthe first words")
            service.until(lambda: service.metric("blip_connections") >= 9)
            half = len(CRABS) // 2  # in pieces: how large it is, is not said before
            answer = service.ask("POST", "/v1/caption", iter([CRABS[:half], CRABS[half:]]), {"Content-Type": "image/png"})
            self.assertEqual(answer.status, 200, answer.body)
            self.assertLess(service.metric("blip_body_bytes"), 1000)
        finally:
            for s in announced:
                s.close()

    def test_one_connection_serves_many(self):
        with self.service.connect() as s:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
            got = b""
            while got.count(b"ok\n") < 3:
                got += s.recv(4096)
        self.assertTrue(self.send(b"GET /healthz HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nok\n"))
        self.assertTrue(self.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").endswith(b"ok\n"))

    def test_expectations_are_met(self):
        with self.service.connect() as s:
            s.sendall(b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(CRABS))
            self.assertEqual(s.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
            s.sendall(CRABS)
            self.assertTrue(s.recv(100).startswith(b"HTTP/1.1 200 "))

    def test_the_slow_are_closed_and_hold_nobody_up(self):
        slow = [self.service.connect() for _ in range(50)]
        start = time.monotonic()
        for s in slow:
            s.sendall(b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\n")
        for _ in range(4):
            for s in slow:
                try:
                    s.sendall(b"X: a\r\n")
                except OSError:
                    pass
            self.assertEqual(self.caption()[0]["text"], CRABS_CAPTION)
            time.sleep(1)
        for s in slow:
            s.settimeout(20)
            try:
                self.assertEqual(s.recv(10), b"")
            except ConnectionResetError:
                pass
            s.close()
        self.assertLess(time.monotonic() - start, 15)


class Interrupted(ServeTest):
    def slow_service(self, *arguments):
        return self.serve(*SLOW, "--num-threads", 1, *arguments)

    def begin(self, service):
        body, headers = form(("image", CRABS))
        head = f"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Type: {headers['Content-Type']}\r\nContent-Length: {len(body)}\r\n\r\n"
        s = service.connect()
        s.sendall(head.encode() + body)
        return s

    def test_work_ends_when_the_client_leaves(self):
        service = self.slow_service()
        clients = [self.begin(service) for _ in range(6)]
        service.until(lambda: service.metric("blip_requests_working") == 6)
        start = time.monotonic()
        for s in clients:
            s.close()
        service.until(lambda: service.metric("blip_requests_working") == 0)
        self.assertLess(time.monotonic() - start, 3)
        self.assertEqual(service.metric('blip_requests_total{route="/v1/caption",status="499"}'), 6)

    def test_requests_have_a_time(self):
        service = self.slow_service("--request-timeout", 1)
        start = time.monotonic()
        answers = [self.begin(service) for _ in range(4)]
        said = [s.recv(4096) for s in answers]
        self.assertTrue(any(b" 504 " in one and b'"timeout"' in one for one in said), said)
        self.assertLess(time.monotonic() - start, 5)
        [s.close() for s in answers]

    def test_a_full_queue_says_when_to_come_back(self):
        service = self.slow_service("--max-queue", 2)
        clients = [self.begin(service) for _ in range(2)]
        service.until(lambda: service.metric("blip_requests_working") == 2)
        answer = service.post("/v1/caption", form(("image", CRABS)))
        self.assertEqual((answer.status, answer.error, answer.headers["retry-after"]), (503, "overloaded", "2"))
        [s.close() for s in clients]
        service.until(lambda: service.metric("blip_requests_working") == 0)

    def test_sigterm_finishes_what_was_taken(self):
        for how in (signal.SIGTERM, signal.SIGINT):
            service = self.slow_service()
            idle = service.connect()
            self.addCleanup(idle.close)
            taken = self.begin(service)
            service.until(lambda: service.metric("blip_requests_working") == 1)
            service.process.send_signal(how)
            self.assertEqual(idle.recv(10), b"")
            asked = [service.ask("GET", path) for path in ("/readyz", "/v2/health/ready", "/v2/models/default/ready", "/healthz", "/v2/health/live")]
            self.assertEqual([answer.status for answer in asked], [503, 503, 503, 200, 200])
            self.assertEqual({answer.headers["connection"] for answer in asked}, {"close"})
            refused = service.post("/v1/caption", form(("image", CRABS)))
            self.assertEqual((refused.status, refused.error, refused.headers["retry-after"]), (503, "overloaded", "2"))
            self.assertIn(b" 200 ", taken.recv(4096))
            taken.close()
            self.assertEqual(service.process.wait(timeout=10), 0)

    def test_half_a_request_does_not_outlast_the_grace(self):
        service = self.serve("--grace", 1)
        half = service.connect()
        self.addCleanup(half.close)
        half.sendall(b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
        late = [service.connect() for _ in range(3)]
        service.until(lambda: service.metric("blip_body_bytes") == 3)
        service.process.send_signal(signal.SIGTERM)
        self.assertEqual(half.recv(10), b"")
        self.assertEqual(service.process.wait(timeout=5), 0)
        [s.close() for s in late]

    def test_a_second_signal_ends_that_too(self):
        service = self.slow_service()
        taken = [self.begin(service) for _ in range(8)]
        service.until(lambda: service.metric("blip_requests_working") == 8)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        service.process.send_signal(signal.SIGTERM)
        self.assertEqual(service.process.wait(timeout=10), 0)
        said = [s.recv(4096) for s in taken]
        self.assertTrue(any(b" 503 " in one for one in said), said)
        [s.close() for s in taken]

    def test_kill_and_restart_leaves_nothing_behind(self):
        service = self.slow_service()
        decoders = service.decoders()
        self.assertEqual(len(decoders), 2)
        port = service.port
        taken = self.begin(service)
        service.stop(signal.SIGKILL)
        taken.close()
        end = time.monotonic() + 10
        while any(os.path.exists(f"/proc/{pid}/exe") for pid in decoders) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertFalse([pid for pid in decoders if os.path.exists(f"/proc/{pid}/exe")])
        again = self.serve("--port", port)
        self.assertEqual((again.port, again.post("/v1/caption", form(("image", CRABS))).status), (port, 200))

    def test_a_decoder_that_dies_takes_one_picture_with_it(self):
        service = self.serve("--decode-timeout", 2)
        for pid in service.decoders():
            os.kill(pid, signal.SIGSTOP)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            stuck = [pool.submit(service.post, "/v1/caption", form(("image", CRABS))) for _ in range(2)]
            service.until(lambda: service.metric("blip_requests_working") == 2)
            time.sleep(0.2)
            os.kill(service.decoders()[0], signal.SIGKILL)
            answers = [s.result() for s in stuck]
        self.assertEqual([(a.status, a.error) for a in answers], [(422, "bad_image")] * 2)
        messages = sorted(a.json["error"]["message"] for a in answers)
        self.assertIn("longer than 2 s", messages[0])
        self.assertIn("signal 9", messages[1])
        self.assertEqual(service.metric("blip_picture_decoder_crashes_total"), 2)
        for _ in range(4):
            self.assertEqual(service.post("/v1/caption", form(("image", CRABS))).status, 200)


class Access(ServeTest):
    arguments = ("--token", "a secret", "--rate-limit", 6, "--cors-origin", "https://friend.example", "--host", "0.0.0.0")

    def test_who_may_ask(self):
        ask = lambda **h: self.service.post("/v1/caption", form(("image", CRABS)), **h)
        answer = ask()
        self.assertEqual((answer.status, answer.error, answer.headers["www-authenticate"]), (401, "unauthorized", "Bearer"))
        self.assertEqual(ask(Authorization="Bearer a secreT").status, 401)
        self.assertEqual(ask(Authorization="Bearer a secret, too").status, 401)
        self.assertEqual(self.service.ask("GET", "/").status, 200)
        good = ask(Authorization="Bearer a secret", Origin="https://friend.example")
        self.assertEqual((good.status, good.headers["access-control-allow-origin"]), (200, "https://friend.example"))
        preflight = self.service.ask("OPTIONS", "/v1/caption", headers={"Origin": "https://friend.example"})
        self.assertEqual((preflight.status, preflight.headers["access-control-allow-origin"]), (204, "https://friend.example"))
        self.assertEqual(ask(Authorization="Bearer a secret", Origin="https://other.example").status, 403)
        self.assertEqual(ask(Authorization="Bearer a secret", Host="photos.example").status, 200)
        statuses = [ask(Authorization="Bearer a secret").status for _ in range(8)]
        self.assertEqual(set(statuses), {200, 429})
        limited = ask(Authorization="Bearer a secret")
        self.assertEqual((limited.status, limited.error), (429, "rate_limited"))
        self.assertEqual(limited.headers["retry-after"], "10")


class Start(unittest.TestCase):
    def refused(self, status, *arguments, says):
        done = subprocess.run([BLIP, "serve", *map(str, arguments)], capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, status, done)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn(says, done.stderr)

    def test_what_cannot_be_served_is_said_at_once(self):
        start = time.monotonic()
        self.refused(3, "--model", "/no/such/model", says="/no/such/model")
        self.refused(3, "--port", 0, "--add-model", "/no/such/model", says="/no/such/model")
        self.refused(3, "--port", 0, "--index", "/no/such/index", says="/no/such/index")
        self.assertLess(time.monotonic() - start, 3)
        service = Service(BLIP)
        self.addCleanup(service.stop)
        self.refused(4, "--port", service.port, says=f"127.0.0.1:{service.port}")
        self.refused(2, "--port", 70000, says="--port")
        self.refused(2, "--max-queue", 100000, says="--max-queue")
        self.refused(2, "--decoders", 1000, says="--decoders")
        self.refused(2, "--rate-limit", 0.5, says="--rate-limit")
        self.refused(2, "--token", "", says="--token")

    def test_it_is_there_in_well_under_a_second(self):
        start = time.monotonic()
        service = Service(BLIP)
        self.addCleanup(service.stop)
        self.assertEqual(service.ask("GET", "/readyz").status, 200)
        self.assertLess(time.monotonic() - start, 1)
        self.assertEqual(service.line, f"blip: serving http://127.0.0.1:{service.port}/\n")


if __name__ == "__main__":
    BLIP = sys.argv.pop(1)
    unittest.main()
