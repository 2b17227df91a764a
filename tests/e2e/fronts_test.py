#!/usr/bin/env python3
"""What `blip serve` says to the clients of other services, by plain HTTP and by their official packages.

    fronts_test.py BLIP [unittest arguments]"""

import base64
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import clients
import samples
from samples import CRABS_CAPTION, CRABS_TOKENS, MODEL
from serving import Service, form, json_body
from tasks_test import make_models

HERE = pathlib.Path(__file__).resolve().parent
CRABS = samples.CRABS.read_bytes()
CRABS_BASE64 = base64.b64encode(CRABS).decode()
CRABS_URI = "data:image/png;base64," + CRABS_BASE64
PACKAGES = ("openai==3.57.0", "gradio_client==2.7.2", "huggingface_hub==2.4.0")
BLIP = ""


def as_json(value):
    return json.dumps(value).encode(), {"Content-Type": "application/json"}


class FrontTest(unittest.TestCase):
    """One service with a model for each task."""

    arguments = ()

    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, folder)
        make_models(folder)
        more = ("--add-model", folder / "vqa", "--add-model", folder / "retrieval")
        cls.service = Service(BLIP, "--model", MODEL, *more, *cls.arguments)
        cls.addClassCleanup(cls.service.stop)

    def serve(self, *arguments):
        service = Service(BLIP, "--model", MODEL, *arguments)
        self.addCleanup(service.stop)
        return service

    def get(self, target, status=200):
        answer = self.service.ask("GET", target)
        self.assertEqual(answer.status, status, answer.body)
        return answer.json

    def post(self, target, value, status=200):
        answer = self.service.post(target, as_json(value))
        self.assertEqual(answer.status, status, answer.body)
        return answer.json

    def question_answer(self):
        """What the answer is when /v1 is asked."""
        return self.post("/v1/vqa", {"image": CRABS_BASE64, "question": "what is it?"})["questions"][0]["answers"][0]


def chat(text="", image=CRABS_URI, **fields):
    content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": image}}]
    return {"model": "blip", "messages": [{"role": "user", "content": content}]} | fields


class OpenAi(FrontTest):
    def say(self, request):
        return self.post("/v1/chat/completions", request)

    def text(self, request):
        return self.say(request)["choices"][0]["message"]["content"]

    def chunks(self, request):
        answer = self.service.post("/v1/chat/completions", as_json(request | {"stream": True}))
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "text/event-stream"), answer.body)
        blocks = answer.body.decode().split("\n\n")
        self.assertEqual(blocks[-2:], ["data: [DONE]", ""])
        return [json.loads(block.removeprefix("data: ")) for block in blocks[:-2]]

    def test_a_caption_in_their_shape(self):
        answer = self.say(chat("Describe this."))
        self.assertEqual(answer["object"], "chat.completion")
        self.assertEqual(answer["model"], "default")
        self.assertLess(abs(answer["created"] - time.time()), 60)
        self.assertEqual(answer["choices"], [{"index": 0, "message": {"role": "assistant", "content": CRABS_CAPTION, "refusal": None},
                                              "logprobs": None, "finish_reason": "stop"}])
        tokens = self.post("/v1/caption", {"image": CRABS_BASE64})["captions"][0]["tokens"]
        self.assertEqual(answer["usage"], {"prompt_tokens": 0, "completion_tokens": len(tokens), "total_tokens": len(tokens)})
        self.assertNotEqual(answer["id"], self.say(chat())["id"])

    def test_who_answers_what(self):
        written = self.question_answer()["text"]
        for question in ("what is it?", " what is it? \n", "“what is it?\"", "what is it？"):
            self.assertEqual(self.say(chat(question))["model"], "vqa", question)
        self.assertEqual(self.text(chat("what is it?")), written)
        self.assertEqual(self.text(chat("what is it?", model="blip:vqa")), written)
        self.assertEqual(self.text(chat("what is it?", model="vqa")), written)
        for request in (chat("what is it?", model="default"), chat("what is it?", model="blip:caption"), chat("what it is"), chat(model="")):
            self.assertEqual(self.text(request), CRABS_CAPTION)
        described = self.post("/v1/describe", {"image": CRABS_BASE64, "detail": "low"})
        self.assertEqual(self.text(chat(model="blip:describe", detail="low")), described["text"])
        self.assertEqual(self.text(chat(model="default:describe", detail="low")), described["text"])
        self.assertEqual(self.say(chat("what is it?"))["usage"]["prompt_tokens"], self.say(chat("what is it ?"))["usage"]["prompt_tokens"])
        self.assertGreater(self.say(chat("what is it?"))["usage"]["prompt_tokens"], 3)

    def test_the_newest_picture_and_the_newest_text_count(self):
        old = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}
        newer = {"role": "user", "content": [{"type": "image_url", "image_url": CRABS_URI}]}
        said = {"role": "assistant", "content": "a lemon"}
        question = {"role": "user", "content": "what is it?"}
        self.assertEqual(self.text(chat(messages=[old, said, newer, said])), CRABS_CAPTION)
        self.assertEqual(self.text(chat(messages=[old, newer, said, question])), self.question_answer()["text"])
        self.assertEqual(self.text(chat(messages=[newer, question, {"role": "user", "content": ""}])), CRABS_CAPTION)

    def test_options_are_transformers(self):
        five = self.say(chat(max_tokens=3))["choices"][0]
        self.assertEqual((five["finish_reason"], five["message"]["content"]), ("length", " ".join(CRABS_CAPTION.split()[:3])))
        self.assertEqual(self.say(chat(max_completion_tokens=3))["choices"][0], five)
        self.assertEqual(self.text(chat(max_tokens=10**9)), CRABS_CAPTION)
        self.assertEqual(self.text(chat(temperature=0, seed=5)), CRABS_CAPTION)
        self.assertEqual(self.text(chat(top_p=0, temperature=2)), CRABS_CAPTION)
        drawn = self.post("/v1/caption", {"image": CRABS_BASE64, "do_sample": True, "temperature": 1.5, "seed": 11, "num_return_sequences": 4})
        texts = [c["text"] for c in drawn["captions"]]
        for request in (chat(temperature=1.5, seed=11, n=4), chat(temperature=1.5, seed=11, n=4, top_p=None, stop=None)):
            self.assertEqual([c["message"]["content"] for c in self.say(request)["choices"]], texts)
        beams = self.post("/v1/caption", {"image": CRABS_BASE64, "num_beams": 4, "num_return_sequences": 4})
        self.assertEqual([c["message"]["content"] for c in self.say(chat(n=4))["choices"]], [c["text"] for c in beams["captions"]])
        self.assertEqual(len(self.say(chat("what?", n=3))["choices"]), 3)
        self.assertEqual(self.text(chat(prompt="a photo of"))[:10], "a photo of")
        self.text(chat(seed=-1, temperature=0.5))
        self.text(chat(seed=2**63 - 1, temperature=0.5))
        self.text(chat(tools=[], frequency_penalty=1, response_format={"type": "text"}, user="x", unheard_of={}))

    def test_a_stream_of_what_is_certain(self):
        chunks = self.chunks(chat(stream_options={"include_usage": True}))
        self.assertEqual({c["object"] for c in chunks}, {"chat.completion.chunk"})
        self.assertEqual(len({c["id"] for c in chunks}), 1)
        self.assertEqual(chunks[0]["choices"][0]["delta"], {"role": "assistant", "content": ""})
        deltas = [c["choices"][0]["delta"].get("content") for c in chunks[1:-2]]
        self.assertEqual("".join(deltas), CRABS_CAPTION)
        self.assertGreater(len(deltas), 3)
        self.assertEqual((chunks[-2]["choices"][0]["delta"], chunks[-2]["choices"][0]["finish_reason"]), ({}, "stop"))
        self.assertEqual((chunks[-1]["choices"], chunks[-1]["usage"]["total_tokens"]), ([], CRABS_TOKENS))
        for request in (chat(num_beams=3), chat("what is it?"), chat(model="blip:describe", detail="low")):
            chunks = self.chunks(request)
            self.assertEqual(len(chunks), 3, chunks)
            self.assertEqual(chunks[1]["choices"][0]["delta"]["content"], self.text(request))
        drawn = self.chunks(chat(temperature=1, seed=3))
        self.assertEqual("".join(c["choices"][0]["delta"].get("content", "") for c in drawn), self.text(chat(temperature=1, seed=3)))
        several = self.chunks(chat(n=2))
        whole = self.say(chat(n=2))["choices"]
        for i in (0, 1):
            own = [c["choices"][0] for c in several if c["choices"][0]["index"] == i]
            self.assertEqual("".join(c["delta"].get("content", "") for c in own), whole[i]["message"]["content"])
            self.assertEqual((own[0]["delta"]["role"], own[-1]["finish_reason"]), ("assistant", "stop"))

    def test_what_is_wrong_is_said_in_their_shape(self):
        user = {"role": "user"}
        part = {"type": "image_url", "image_url": {"url": CRABS_URI}}
        for request, status, says in [
                ([], 400, "object"), ({}, 400, "messages"), ({"messages": "x"}, 400, "array"), ({"messages": []}, 400, "picture"),
                ({"messages": [1]}, 400, "objects"), ({"messages": [{"content": "x"}]}, 400, "role"), ({"messages": [user]}, 400, "content"),
                ({"messages": [user | {"content": 1}]}, 400, "content"), ({"messages": [user | {"content": ["x"]}]}, 400, "parts"),
                ({"messages": [user | {"content": [{"type": 1}]}]}, 400, "type"), ({"messages": [user | {"content": "no picture"}]}, 400, "picture"),
                ({"messages": [user | {"content": [{"type": "input_audio"}]}]}, 400, "input_audio"),
                ({"messages": [user | {"content": [{"type": "image_url", "image_url": {}}]}]}, 400, "url"),
                ({"messages": [user | {"content": [{"type": "image_url", "image_url": {"url": 5}}]}]}, 400, "url"),
                ({"messages": [user | {"content": [part, part]}]}, 400, "one picture"),
                (chat(image="http://example.org/a.png"), 400, "fetches nothing"), (chat(image="https://127.0.0.1/"), 400, "fetches nothing"),
                (chat(image="file:///etc/passwd"), 400, "fetches nothing"), (chat(image="data:image/png;base64,%%%"), 400, "base64"),
                (chat(image="data:image/png,AAAA"), 400, "base64"), (chat(image="data:image/png;base64,AAAA"), 422, ""),
                (chat(image="data:image/png;base64,"), 422, ""), (chat(model="gpt-4o"), 404, "gpt-4o"), (chat(model="gpt-4o:describe"), 404, "gpt-4o"),
                (chat(model=7), 400, "model"), (chat(model="default:vqa"), 422, "vqa"), (chat(n=0), 400, "n"), (chat(n=1000000), 400, "n"),
                (chat(n="many"), 400, "n"), (chat(n=2, model="blip:describe"), 400, "n"), (chat(max_tokens=0), 400, "max_tokens"),
                (chat(max_tokens="x"), 400, "max_tokens"), (chat(temperature=3), 400, "temperature"), (chat(temperature={}), 400, "temperature"),
                (chat(top_p=-1), 400, "top_p"), (chat(seed=0.5), 400, "seed"), (chat(stream="maybe"), 400, "stream"),
                (chat(stream_options=3), 400, "object"), (chat(num_beams=10**6), 413, "num_beams"), (chat(num_beams="x"), 400, "num_beams"),
                (chat(num_beams=10**30), 400, "num_beams"), (chat("why" * 100000 + "?"), 413, "question"), (chat(model="vqa:vqa", image=None), 400, "url"),
                (chat(model="blip:describe", recipe="x"), 400, "recipe")]:
            for stream in (False, True):
                sent = {"stream": stream} | request if isinstance(request, dict) else request
                answer = self.service.post("/v1/chat/completions", as_json(sent))
                self.assertEqual(answer.status, status, (str(request)[:200], answer.body))
                error = answer.json["error"]
                self.assertEqual(list(error), ["message", "type", "param", "code"])
                self.assertIn(says, error["message"])
                self.assertEqual(error["type"], "server_error" if status >= 500 else "invalid_request_error")
        self.assertEqual(self.post("/v1/chat/completions", chat(model="x"), 404)["error"]["code"], "model_not_found")
        for body in (b"", b"{", b"\xff", b"[" * 100000, b'{"messages":' + b'[{"role":"user","content":' * 40):
            answer = self.service.post("/v1/chat/completions", (body, {"Content-Type": "application/json"}))
            self.assertEqual((answer.status, answer.json["error"]["code"]), (400, "usage"))

    def test_models(self):
        listed = self.get("/v1/models")
        self.assertEqual(listed["object"], "list")
        ids = [model["id"] for model in listed["data"]]
        self.assertEqual(ids[:5], ["default", "default:caption", "default:describe", "vqa", "vqa:vqa"])
        for name in [*ids, "blip", "blip:vqa", "default%3Adescribe"]:
            model = self.get("/v1/models/" + name)
            self.assertEqual((model["object"], model["owned_by"]), ("model", "blip"))
            self.text(chat("what?", model=model["id"]))
        for name in ("x", "default:vqa", "default:match", "default:", "..", "%2e%2e"):
            self.assertEqual(self.get("/v1/models/" + name, 404)["error"]["type"], "invalid_request_error")
        self.assertEqual(self.get("/v1/models/%4", 400)["error"]["code"], "usage")


class HuggingFace(FrontTest):
    def test_bytes(self):
        for path in ("/", "/models/default", "/models/Salesforce/default", "/hf-inference/models/Salesforce/default", "/models/blip",
                     "/pipeline/image-to-text", "/pipeline/image-to-text/default", "/pipeline/image-to-text/Salesforce/default",
                     "/models/default/pipeline/image-to-text", "/hf-inference/models/a/default/pipeline/image-to-text"):
            for kind in ("image/png", "application/octet-stream", "application/x-www-form-urlencoded"):
                answer = self.service.post(path, (CRABS, {"Content-Type": kind}))
                self.assertEqual((answer.status, answer.json), (200, [{"generated_text": CRABS_CAPTION}]), path)

    def test_json(self):
        for image in (CRABS_BASE64, CRABS_URI):
            self.assertEqual(self.post("/models/default", {"inputs": image, "options": {"wait_for_model": True}}), [{"generated_text": CRABS_CAPTION}])
        answer = self.service.post("/models/default", (as_json({"inputs": CRABS_BASE64})[0], {"Content-Type": "application/x-www-form-urlencoded"}))
        self.assertEqual(answer.json, [{"generated_text": CRABS_CAPTION}])
        three = self.post("/v1/caption", {"image": CRABS_BASE64, "num_beams": 3, "num_return_sequences": 3, "max_new_tokens": 5})
        options = {"num_beams": 3, "num_return_sequences": 3, "use_cache": True}
        for parameters in ({"generation_parameters": options, "max_new_tokens": 5}, {"generate_kwargs": options | {"max_new_tokens": 5}},
                           options | {"max_new_tokens": 5}):
            self.assertEqual(self.post("/models/default", {"inputs": CRABS_BASE64, "parameters": parameters}),
                             [{"generated_text": c["text"]} for c in three["captions"]])
        prompted = self.post("/models/default", {"inputs": CRABS_BASE64, "parameters": {"prompt": "a photo of"}})
        self.assertTrue(prompted[0]["generated_text"].startswith("a photo of"))

    def test_questions(self):
        best = self.question_answer()
        wanted = [{"answer": best["text"], "score": best["probability"]}]
        both = {"image": CRABS_BASE64, "question": "what is it?"}
        for path in ("/models/vqa", "/", "/models/vqa/pipeline/visual-question-answering", "/pipeline/visual-question-answering"):
            self.assertEqual(self.post(path, {"inputs": both}), wanted, path)
            self.assertEqual(self.post(path, {"inputs": CRABS_BASE64, "parameters": {}} | both), wanted, path)
        several = self.post("/models/vqa", {"inputs": both, "parameters": {"top_k": 3}})
        self.assertEqual(len(several), 3)
        self.assertEqual([a["score"] for a in several], sorted((a["score"] for a in several), reverse=True))
        self.assertEqual(self.post("/pipeline/image-to-text", {"inputs": both}), [{"generated_text": CRABS_CAPTION}])

    def test_what_is_wrong_is_said_in_their_shape(self):
        for path, request, status, says in [
                ("/models/default", {}, 400, "inputs"), ("/models/default", [], 400, "object"), ("/models/default", {"inputs": 5}, 400, "inputs"),
                ("/models/default", {"inputs": [CRABS_BASE64]}, 400, "inputs"), ("/models/default", {"inputs": {}}, 400, "image"),
                ("/models/default", {"inputs": "http://example.org/a.png"}, 400, "fetches nothing"), ("/models/default", {"inputs": "***"}, 400, "base64"),
                ("/models/default", {"inputs": "AAAA"}, 422, ""), ("/models/default", {"inputs": CRABS_BASE64, "parameters": 5}, 400, "parameters"),
                ("/models/default", {"inputs": CRABS_BASE64, "parameters": {"num_beams": "x"}}, 400, "num_beams"),
                ("/models/default", {"inputs": CRABS_BASE64, "parameters": {"generation_parameters": 5}}, 400, "object"),
                ("/models/default", {"inputs": CRABS_BASE64, "parameters": {"num_return_sequences": 99, "num_beams": 99}}, 413, "num_beams"),
                ("/models/nope", {"inputs": CRABS_BASE64}, 404, "nope"), ("/models/a/nope", {"inputs": CRABS_BASE64}, 404, "nope"),
                ("/models/default", {"inputs": {"image": CRABS_BASE64, "question": "what?"}}, 422, "vqa"),
                ("/models/vqa", {"inputs": CRABS_BASE64}, 400, "question"), ("/models/vqa", {"inputs": {"image": CRABS_BASE64, "question": 5}}, 400, "question"),
                ("/models/vqa", {"inputs": {"image": CRABS_BASE64, "question": "what?"}, "parameters": {"top_k": 10**9}}, 400, "top_k"),
                ("/pipeline/visual-question-answering", {"inputs": CRABS_BASE64}, 400, "question"),
                ("/pipeline/text-generation", {"inputs": CRABS_BASE64}, 404, "text-generation"), ("/models/%zz", {"inputs": CRABS_BASE64}, 400, "%")]:
            failure = self.post(path, request, status)
            self.assertEqual(list(failure), ["error"])
            self.assertIn(says, failure["error"])
        for body, headers, status in [(b"", {}, 400), (b"no picture", {}, 422), (b"{", {"Content-Type": "application/json"}, 400), (CRABS[:300], {}, 422)]:
            answer = self.service.post("/models/default", (body, headers))
            self.assertEqual((answer.status, list(answer.json)), (status, ["error"]))


class Automatic1111(FrontTest):
    def test_interrogate(self):
        for request in ({"image": CRABS_BASE64, "model": "clip"}, {"image": CRABS_URI}, {"image": CRABS_BASE64, "model": "default", "unheard_of": 1}):
            self.assertEqual(self.post("/sdapi/v1/interrogate", request), {"caption": CRABS_CAPTION})

    def test_what_is_wrong_is_said_in_their_shape(self):
        for request, status in [({}, 400), ({"image": None}, 400), ({"image": ""}, 422), ({"image": 5}, 400), ({"image": "???"}, 400), ({"image": "AAAA"}, 422),
                                ({"image": "http://example.org/"}, 400), ({"image": CRABS_BASE64, "model": "deepdanbooru"}, 404),
                                ({"image": CRABS_BASE64, "model": 5}, 400), ([], 400)]:
            self.assertEqual(list(self.post("/sdapi/v1/interrogate", request, status)), ["detail"])


def tensor(name, *data, shape=None, **more):
    return {"name": name, "datatype": "BYTES", "shape": [len(data)] if shape is None else shape, "data": list(data)} | more


class KServe(FrontTest):
    def infer(self, model, *inputs, status=200, **more):
        return self.post(f"/v2/models/{model}/infer", {"inputs": list(inputs)} | more, status)

    def test_health_and_metadata(self):
        self.assertEqual(self.get("/v2/health/live"), {"live": True})
        self.assertEqual(self.get("/v2/health/ready"), {"ready": True})
        self.assertEqual(self.get("/v2")["extensions"], ["binary_tensor_data"])
        for path in ("/v2/models/default", "/v2/models/default/versions/1"):
            found = self.get(path)
            self.assertEqual((found["name"], found["versions"]), ("default", ["1"]))
            self.assertEqual([t["name"] for t in found["inputs"]], ["image", "prompt"])
            self.assertEqual(found["outputs"], [{"name": "text", "datatype": "BYTES", "shape": [-1]}])
            self.assertEqual(self.get(path + "/ready"), {"ready": True})
        self.assertEqual([t["name"] for t in self.get("/v2/models/vqa")["inputs"]], ["image", "question"])
        for path in ("/v2/models/nope", "/v2/models/nope/ready", "/v2/models/default/versions/2", "/v2/models/default/versions/2/ready"):
            self.assertEqual(list(self.get(path, 404)), ["error"])

    def test_captions_and_answers(self):
        answer = self.infer("default", tensor("image", CRABS_BASE64), id="42")
        self.assertEqual(answer, {"model_name": "default", "model_version": "1", "id": "42", "outputs": [
            {"name": "text", "datatype": "BYTES", "shape": [1], "data": [CRABS_CAPTION]}]})
        answer = self.infer("default/versions/1", tensor("image", [CRABS_BASE64], [CRABS_URI], shape=[2, 1]), tensor("prompt", "a photo of"),
                            parameters={"num_beams": 2}, outputs=[{"name": "text"}])
        self.assertEqual(answer["outputs"][0]["shape"], [2])
        first, second = answer["outputs"][0]["data"]
        self.assertEqual(first, second)
        self.assertTrue(first.startswith("a photo of"))
        for model in ("vqa", "blip"):
            answer = self.infer(model, tensor("image", CRABS_BASE64), tensor("question", "what is it?"))
            self.assertEqual(answer["outputs"][0]["data"], [self.question_answer()["text"]])
        described = self.post("/v1/describe", {"image": CRABS_BASE64, "detail": "low"})["text"]
        self.assertEqual(self.infer("default:describe", tensor("image", CRABS_BASE64), parameters={"detail": "low"})["outputs"][0]["data"], [described])

    def binary(self, inputs, binary, **more):
        head = json.dumps({"inputs": inputs} | more).encode()
        return self.service.post("/v2/models/default/infer", (head + binary, {"Inference-Header-Content-Length": str(len(head))}))

    def test_binary_tensors(self):
        packed = struct.pack("<I", len(CRABS)) + CRABS
        prompt = struct.pack("<I", 10) + b"a photo of"
        inputs = [{"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(packed)}},
                  {"name": "prompt", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(prompt)}}]
        text = self.binary(inputs, packed + prompt).json["outputs"][0]["data"][0]
        self.assertTrue(text.startswith("a photo of"))
        for more in ({"parameters": {"binary_data_output": True}}, {"outputs": [{"name": "text", "parameters": {"binary_data": True}}]}):
            answer = self.binary(inputs, packed + prompt, **more)
            self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/octet-stream"), answer.body)
            length = int(answer.headers["inference-header-content-length"])
            output = json.loads(answer.body[:length])["outputs"][0]
            self.assertEqual(output["parameters"]["binary_data_size"], len(answer.body) - length)
            self.assertEqual(answer.body[length:], struct.pack("<I", len(text)) + text.encode())
        for wrong in (packed[:-1], packed[:3], struct.pack("<I", 2**32 - 1) + CRABS, b""):
            size = {"binary_data_size": len(wrong)}
            answer = self.binary([{"name": "image", "datatype": "BYTES", "shape": [1], "parameters": size}], wrong)
            self.assertEqual((answer.status, list(answer.json)), (400, ["error"]))
        for size in (len(packed) + 1, -1, 2**64, "5", 1.5, True):
            answer = self.binary([{"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": size}}], packed)
            self.assertEqual(answer.status, 400, size)
        for length in ("x", "-1", "99999999999999999999", "100000"):
            answer = self.service.post("/v2/models/default/infer", (b"{}", {"Inference-Header-Content-Length": length}))
            self.assertEqual(answer.status, 400, length)

    def test_what_is_wrong_is_said_in_their_shape(self):
        image = tensor("image", CRABS_BASE64)
        for model, inputs, more, status in [
                ("nope", [image], {}, 404), ("default", [], {}, 400), ("default", [5], {}, 400), ("default", [{"name": 5}], {}, 400), ("default", [image, image], {}, 400),
                ("default", [image, tensor("other", "x")], {}, 400), ("default", [image | {"datatype": "FP32"}], {}, 400), ("default", [image | {"datatype": None}], {}, 400),
                ("default", [image | {"shape": [2]}], {}, 400), ("default", [image | {"shape": [0]}], {}, 400), ("default", [image | {"shape": [-1]}], {}, 400),
                ("default", [image | {"shape": [2**32, 2**32]}], {}, 400), ("default", [image | {"shape": [17]}], {}, 400), ("default", [image | {"shape": [16] * 60}], {}, 400),
                ("default", [image | {"shape": "1"}], {}, 400), ("default", [image | {"shape": [1.5]}], {}, 400), ("default", [image | {"data": [5]}], {}, 400), ("default", [image | {"data": None}], {}, 400),
                ("default", [image | {"data": ["***"]}], {}, 400), ("default", [image | {"data": ["AAAA"]}], {}, 422), ("default", [image | {"data": ["http://example.org/"]}], {}, 400),
                ("default", [image, tensor("question", "what?")], {}, 400), ("vqa", [image], {}, 400), ("vqa", [image, tensor("prompt", "a"), tensor("question", "b")], {}, 400),
                ("default", [image, tensor("prompt", "a", "b")], {}, 400), ("default", [image], {"parameters": {"num_beams": "x"}}, 400),
                ("default", [image], {"parameters": 5}, 400), ("default", [image], {"parameters": {"binary_data_output": "perhaps"}}, 400),
                ("default", [image], {"outputs": [{"name": "text", "parameters": {"binary_data": 2}}]}, 400),
                ("default", [image], {"outputs": [{"name": "logits"}]}, 400), ("default", [image], {"outputs": 5}, 400), ("default", [image], {"id": 5}, 400)]:
            self.assertEqual(list(self.infer(model, *inputs, status=status, **more)), ["error"])
        self.post("/v2/models/default/infer", {"inputs": 5}, 400)
        self.post("/v2/models/default/versions/9/infer", {"inputs": [image]}, 404)


class Gradio(FrontTest):
    def upload(self, *files):
        answer = self.service.post("/gradio_api/upload", form(*[("files", file) for file in files or (CRABS,)]))
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    def call(self, function, *data, status=200):
        """-> the event's name and data"""
        event = self.post(f"/gradio_api/call/{function}", {"data": list(data)})["event_id"]
        answer = self.service.ask("GET", f"/gradio_api/call/{function}/{event}")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "text/event-stream"))
        return answer.events[-1]

    def join(self, session, *data, function=0, status=200):
        answer = self.post("/gradio_api/queue/join", {"data": list(data), "fn_index": function, "session_hash": session, "event_data": None}, status)
        return answer.get("event_id", answer)

    def messages(self, session):
        answer = self.service.ask("GET", f"/gradio_api/queue/data?session_hash={session}")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "text/event-stream"))
        found = [json.loads(block.removeprefix("data: ")) for block in answer.body.decode().split("\n\n")[:-1]]
        self.assertEqual(found[-1], {"msg": "close_stream", "event_id": None})
        return found[:-1]

    def test_two_steps(self):
        self.assertEqual(self.call("caption", {"path": self.upload()[0]}), ("complete", [CRABS_CAPTION]))
        self.assertEqual(self.call("caption", {"path": CRABS_URI}, None), ("complete", [CRABS_CAPTION]))
        self.assertEqual(self.call("caption", {"url": CRABS_URI, "meta": {"_type": "gradio.FileData"}}, ""), ("complete", [CRABS_CAPTION]))
        self.assertEqual(self.call("vqa", CRABS_URI, "what is it?"), ("complete", [self.question_answer()["text"]]))
        first, second = self.upload(CRABS, b"no picture")
        self.assertEqual(self.call("match", {"path": first}, "crabs")[1][0]["text"], "crabs")
        self.assertEqual(self.call("caption", {"path": second})[0], "error")

    def test_sessions(self):
        events = [self.join("one", CRABS_URI), self.join("one", CRABS_URI, "low" * 50, function=1), self.join("one", CRABS_URI, "what is it?", function=2)]
        other = self.join("two", CRABS_URI)
        found = self.messages("one")
        self.assertEqual({m["event_id"] for m in found}, set(events))
        self.assertEqual([m["event_id"] for m in found if m["msg"] == "process_starts"], events)
        ends = [m for m in found if m["msg"] == "process_completed"]
        self.assertEqual([m["success"] for m in ends], [True, False, True])
        self.assertEqual(ends[0]["output"]["data"], [CRABS_CAPTION])
        self.assertEqual(list(ends[1]["output"]), ["error"])
        self.assertIn("encoding", [m["progress_data"][0]["desc"] for m in found if m["msg"] == "progress"])
        self.assertEqual([m["event_id"] for m in self.messages("two") if m["msg"] == "process_completed"], [other])
        self.assertEqual(self.messages("one"), [], "each event is told once")
        self.assertEqual(self.messages("nobody%20here"), [])

    def test_what_is_not_there_any_more(self):
        path = {"path": self.upload()[0]}
        self.assertEqual(self.call("caption", path)[0], "complete")
        self.assertIn("no uploaded file", self.call("caption", path)[1]["error"])
        event = self.post("/gradio_api/call/caption", {"data": [CRABS_URI]})["event_id"]
        for want in (200, 404):
            self.assertEqual(self.service.ask("GET", f"/gradio_api/call/caption/{event}").status, want)
        kept = self.upload()[0]
        for _ in range(8):
            self.upload(*[b"x"] * 32)
        self.assertEqual(self.call("caption", {"path": kept})[0], "error", "newer uploads need its place")
        event = self.join("crowded", CRABS_URI)
        for i in range(1024):
            self.join(f"crowd {i}", CRABS_URI[:50])
        self.assertEqual(self.messages("crowded"), [])

    def test_no_path_reaches_the_file_system(self):
        for path in (str(samples.CRABS), "/etc/passwd", "../../" + str(samples.CRABS), "", ".", "upload/x", "%2fetc%2fpasswd", "\0"):
            event, data = self.call("caption", {"path": path, "orig_name": str(samples.CRABS)})
            self.assertEqual(event, "error")
            self.assertIn("no uploaded file", data["error"])
        for url in ("http://example.org/a.png", "file:///etc/passwd", f"http://127.0.0.1:{self.service.port}/icon.svg"):
            self.assertIn("fetches nothing", self.call("caption", {"path": url, "url": url})[1]["error"])
        for target in (f"/gradio_api/file={samples.CRABS}", "/file=/etc/passwd", "/gradio_api/file/etc/passwd"):
            self.assertEqual(self.service.ask("GET", target).status, 404)

    def test_cancelling(self):
        event = self.join("gone", CRABS_URI)
        self.assertEqual(self.post("/gradio_api/cancel", {"event_id": event, "fn_index": 0, "session_hash": "gone"}), {"success": True})
        self.assertEqual(self.messages("gone"), [])
        self.post("/gradio_api/reset", {"event_id": "nobody"})
        service = self.serve("--image-size", 384)  # reads for a while
        event = service.post("/gradio_api/queue/join", as_json({"data": [CRABS_URI], "fn_index": 1, "session_hash": "s"})).json["event_id"]
        told = []
        listener = threading.Thread(target=lambda: told.append(service.ask("GET", "/gradio_api/queue/data?session_hash=s").body.decode()))
        listener.start()
        service.until(lambda: service.metric("blip_requests_working") >= 1)
        service.post("/gradio_api/cancel", as_json({"event_id": event}))
        listener.join()
        ends = [json.loads(b.removeprefix("data: ")) for b in told[0].split("\n\n")[:-1] if "process_completed" in b]
        self.assertEqual([(m["success"], m["output"]) for m in ends], [(False, {"error": "the call was cancelled"})])

    def test_what_is_wrong_is_said_in_their_shape(self):
        for target, value, status in [
                ("/gradio_api/call/caption", {}, 400), ("/gradio_api/call/caption", {"data": "x"}, 400), ("/gradio_api/call/caption", [], 400),
                ("/gradio_api/call/caption", {"data": None}, 400), ("/gradio_api/call/nothing", {"data": []}, 404),
                ("/gradio_api/queue/join", {"data": []}, 404), ("/gradio_api/queue/join", {"data": [], "fn_index": 0}, 400),
                ("/gradio_api/queue/join", {"data": [], "fn_index": 99, "session_hash": "x"}, 404), ("/gradio_api/queue/join", {"data": [], "fn_index": -1, "session_hash": "x"}, 400),
                ("/gradio_api/queue/join", {"data": 5, "fn_index": 0, "session_hash": "x"}, 400), ("/gradio_api/queue/join", {"data": [], "fn_index": 0, "session_hash": 5}, 400),
                ("/gradio_api/queue/join", {"data": [], "fn_index": 0, "session_hash": "x" * 100000}, 413), ("/gradio_api/cancel", {"event_id": 5}, 400),
                ("/gradio_api/upload", {}, 400)]:
            self.assertEqual(set(self.post(target, value, status)), {"error", "detail"}, target)
        for data in ([], [None], [5], [{}], [{"path": 5}], [[]], ["***"], [CRABS_URI, 5], [CRABS_URI, "", "more"], ["data:image/png;base64,***"], ["data:;base64,AAAA"]):
            self.assertEqual(self.call("caption", *data)[0], "error", data)
        self.assertEqual(self.call("vqa", CRABS_URI)[0], "error")
        for parts in ([], [("files", "no file")], [("other", CRABS)]):
            self.assertEqual(self.service.post("/gradio_api/upload", form(*parts)).status, 400)
        self.assertEqual(self.service.ask("GET", "/gradio_api/queue/data").status, 400)
        self.assertEqual(self.service.ask("GET", "/gradio_api/queue/data?session_hash=%zz").status, 400)
        self.assertEqual(self.service.ask("GET", "/gradio_api/call/caption/" + "0" * 32).status, 404)

    def test_functions_are_those_of_the_models(self):
        config = self.get("/config")
        self.assertEqual([d["api_name"] for d in config["dependencies"]], ["caption", "describe", "vqa", "match"])
        known = {c["id"] for c in config["components"]}
        for dependency in config["dependencies"]:
            self.assertTrue(known.issuperset(dependency["inputs"] + dependency["outputs"]))
        self.assertEqual(list(self.get("/gradio_api/info")["named_endpoints"]), ["/caption", "/describe", "/vqa", "/match"])
        alone = self.serve("--max-body-mib", 1)
        self.assertEqual([d["api_name"] for d in alone.ask("GET", "/config").json["dependencies"]], ["caption", "describe", "match"])
        self.assertEqual(alone.ask("GET", "/config").json["max_file_size"], 2**20)
        self.assertEqual(alone.post("/gradio_api/call/vqa", as_json({"data": []})).status, 404)
        self.assertEqual(alone.post("/gradio_api/queue/join", as_json({"data": [], "fn_index": 2, "session_hash": "x"})).status, 404)
        self.assertEqual(alone.post("/gradio_api/upload", form(("files", bytes(2**20)))).status, 413)


class Guarded(unittest.TestCase):
    def test_all_that_works_asks_for_the_token(self):
        service = Service(BLIP, "--model", MODEL, "--token", "secret")
        self.addCleanup(service.stop)
        for target, shape in [("/v1/chat/completions", "error"), ("/", "error"), ("/models/default", "error"), ("/sdapi/v1/interrogate", "detail"),
                              ("/v2/models/default/infer", "error"), ("/gradio_api/upload", "detail"), ("/gradio_api/queue/join", "detail"),
                              ("/gradio_api/call/caption", "detail"), ("/gradio_api/cancel", "detail")]:
            answer = service.post(target, as_json({}))
            self.assertEqual(answer.status, 401, target)
            self.assertIn(shape, answer.json)
            self.assertEqual(service.post(target, as_json({}), Authorization="Bearer secret").status, 400 if "join" not in target and "cancel" not in target else
                             404 if "join" in target else 200, target)
        self.assertEqual(service.ask("GET", "/gradio_api/queue/data?session_hash=x").status, 401)
        self.assertEqual(service.ask("GET", "/gradio_api/call/caption/x").status, 401)
        self.assertEqual(service.post("/v1/chat/completions", as_json({})).json["error"]["type"], "authentication_error")


class OfficialClients(FrontTest):
    arguments = ("--token", "secret")

    @classmethod
    def setUpClass(cls):
        cls.python = clients.venv_with(*PACKAGES)
        super().setUpClass()

    def ask(self, which):
        environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        environment |= {"NO_PROXY": "*", "HF_HUB_DISABLE_TELEMETRY": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
        done = subprocess.run([self.python, HERE / "fronts_client.py", which, f"http://127.0.0.1:{self.service.port}", "secret", samples.CRABS],
                              capture_output=True, text=True, timeout=300, env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def question_answer(self, **options):
        answer = self.service.post("/v1/vqa", json_body(image=CRABS, question="what is it?", **options), Authorization="Bearer secret")
        return answer.json["questions"][0]["answers"][0]

    def test_openai(self):
        got = self.ask("openai")
        self.assertEqual(got["models"][:3], ["default", "default:caption", "default:describe"])
        self.assertEqual(got["model"], "default:describe")
        self.assertEqual([got["role"], got["caption"], got["finish_reason"]], ["assistant", CRABS_CAPTION, "stop"])
        self.assertEqual(got["usage"], {"completion_tokens": CRABS_TOKENS, "prompt_tokens": 0, "total_tokens": CRABS_TOKENS})
        self.assertEqual("".join(got["deltas"]), CRABS_CAPTION)
        self.assertGreater(len(got["deltas"]), 3)
        self.assertEqual(got["stream_end"], ["stop", got["usage"]])
        self.assertEqual(len(got["beam_deltas"]), 1)
        self.assertEqual(len(got["several"]), 3)
        self.assertEqual([text for text, _ in got["several"]], got["again"])
        self.assertEqual(got["answer"], self.question_answer()["text"].strip())
        self.assertGreater(len(got["described"]), 10)
        self.assertEqual(got["unknown"][:5], ["NotFoundError", 404, "model_not_found", "invalid_request_error", None])
        self.assertEqual(got["fetched"][:3], ["BadRequestError", 400, "usage"])
        self.assertIn("fetches nothing", got["fetched"][-1])
        self.assertEqual(got["broken"][:3], ["UnprocessableEntityError", 422, "bad_image"])
        self.assertEqual(got["stranger"][:4], ["AuthenticationError", 401, "unauthorized", "authentication_error"])

    def test_huggingface(self):
        got = self.ask("huggingface")
        self.assertEqual([got["caption"], got["bytes"], got["chat"]], [CRABS_CAPTION] * 3)
        self.assertEqual(len(got["answers"]), 3)
        self.assertEqual(got["answers"][0][0], self.question_answer(num_answers=3)["text"])
        self.assertTrue(all(0 < score < 1 for _, score in got["answers"]))
        self.assertEqual(got["unknown"], [404, 'there is no model "nope"'])

    def test_gradio(self):
        got = self.ask("gradio")
        self.assertEqual(got["functions"], {"/caption": ["image", "prompt"], "/describe": ["image", "recipe", "detail"],
                                            "/vqa": ["image", "question"], "/match": ["image", "text"]})
        self.assertEqual([got["caption"], *got["together"]], [CRABS_CAPTION] * 6)
        self.assertTrue(got["prompted"].startswith("a photo of"))
        self.assertGreater(len(got["described"]), 10)
        self.assertEqual(got["answer"], self.question_answer()["text"])
        self.assertTrue(0 <= got["match"]["itm_probability"] <= 1)
        self.assertTrue(got["no_picture"].startswith("AppError: "), got["no_picture"])
        self.assertIn("fetches nothing", got["fetched"])
        self.assertIn("recipe", got["wrong_option"])


if __name__ == "__main__":
    BLIP = sys.argv.pop(1)
    unittest.main()
