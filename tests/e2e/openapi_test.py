#!/usr/bin/env python3
"""openapi.json against the service that serves it: requests made of its examples give what it declares, bounds that it
declares are kept, and errors have the declared body. (A unit test compares the paths.)

    openapi_test.py BLIP [unittest arguments]"""

import base64
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.parse

import jsonschema
import samples
from samples import AUTHORS_CAPTIONER, MODEL, SAMPLES
from serving import Service, form, json_body
from tasks_test import make_models

CRABS = samples.CRABS.read_bytes()
TASKS = ("caption", "describe", "vqa", "match", "embed", "search", "heatmap")
BLIP = ""


class Document:
    def __init__(self, service):
        self.json = service.ask("GET", "/openapi.json").json
        self.store = jsonschema.RefResolver("", self.json)

    def resolve(self, node):
        while "$ref" in node:
            node = self.store.resolve(node["$ref"])[1]
        return node

    def operations(self):
        """-> (path, method, operation)"""
        for path, item in self.json["paths"].items():
            for method, operation in self.resolve(item).items():
                yield path, method.upper(), operation

    def operation(self, path, method="POST"):
        return self.resolve(self.json["paths"][path])[method.lower()]

    def response(self, operation, status):
        responses = operation["responses"]
        return self.resolve(responses.get(str(status)) or responses["default"])

    def problems(self, schema, value):
        validator = jsonschema.Draft202012Validator(schema, resolver=self.store)
        return [f"{'/'.join(map(str, e.absolute_path))}: {e.message}" for e in validator.iter_errors(value)]

    def fields(self, task):
        """The fields of a task, with their schemas."""
        def of(schema):
            schema = self.resolve(schema)
            found = dict(schema.get("properties", {}))
            for part in schema.get("allOf", ()):
                found |= of(part)
            return found
        return of({"$ref": f"#/components/schemas/{task.capitalize()}Fields"})


class OpenApiTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        make_models(cls.folder)
        photos = cls.folder / "photos"
        photos.mkdir()
        for sample in SAMPLES.glob("*.png"):
            shutil.copy(sample, photos)
        subprocess.run([BLIP, "index", "build", photos, "-o", cls.folder / "index", "--model", cls.folder / "retrieval"],
                       check=True, capture_output=True)
        cls.models = ("--model", MODEL, "--add-model", cls.folder / "vqa", "--add-model", cls.folder / "retrieval", "--index", cls.folder / "index")
        cls.service = Service(BLIP, *cls.models)
        cls.addClassCleanup(cls.service.stop)
        cls.document = Document(cls.service)

    def serve(self, *arguments):
        service = Service(BLIP, *arguments)
        self.addCleanup(service.stop)
        return service

    def check(self, operation, answer, status):
        """That the answer is what the operation declares for that status."""
        self.assertEqual(answer.status, status, answer.body[:500])
        declared = self.document.response(operation, status)
        content = declared.get("content")
        if content is None:
            self.assertEqual(answer.body, b"")
            return
        kind = answer.headers["content-type"].split(";")[0]
        found = content.get(kind) or content.get("*/*")
        self.assertIsNotNone(found, f"{kind} is not declared: {list(content)}")
        if kind == "text/event-stream":
            self.check_events(found, answer)
        elif kind in ("application/json", "text/plain"):
            value = answer.json if kind == "application/json" else answer.body.decode()
            self.assertEqual(self.document.problems(found["schema"], value), [], answer.body[:500])
        code = declared.get("x-code")
        if code:
            self.assertIn(answer.error, [code] if isinstance(code, str) else code)
        for header in declared.get("headers", ()):
            self.assertIn(header.lower(), answer.headers)

    def check_events(self, declared, answer):
        if "x-events" in declared:
            for event, data in answer.events:
                self.assertEqual(self.document.problems(declared["x-events"][event], data), [], (event, data))
            self.assertEqual(answer.events[-1][0], "result", answer.events[-1])
        if "x-data" in declared:
            *chunks, last = [block[6:] for block in answer.body.decode().split("\n\n") if block.startswith("data: ")]
            self.assertEqual(last, "[DONE]")
            for chunk in chunks:
                self.assertEqual(self.document.problems(declared["x-data"], json.loads(chunk)), [], chunk)

    def examples(self, operation):
        body = self.document.resolve(operation.get("requestBody", {}))
        declared = body.get("content", {}).get("application/json", {})
        for name, example in declared.get("examples", {}).items():
            yield name, declared["schema"], example["value"]


def ways_in(fields):
    """The same request in each way that /v1 takes: -> (name, target's query, (body, headers))"""
    image = fields.get("image")
    plain = [(name, value) for name, value in fields.items() if name != "image"]
    yield "JSON", "", json_body(**fields)
    if any(isinstance(value, dict) for _, value in plain):
        return
    texts = [(name, word(one)) for name, value in plain for one in (value if isinstance(value, list) else [value])]
    yield "a form", "", form(*([("image", base64.b64decode(image))] if image else []), *texts)
    yield "a form with base64", "", form(*([("image", image)] if image else []), *texts)
    if image:
        yield "bytes", "?" + urllib.parse.urlencode(texts), (base64.b64decode(image), {"Content-Type": "image/png"})


def word(value):
    return json.dumps(value) if isinstance(value, (bool, int, float)) else value


class Answers(OpenApiTest):
    def test_the_document_is_openapi_and_its_references_lead_somewhere(self):
        document = self.document.json
        self.assertTrue(document["openapi"].startswith("3.1"))
        self.assertEqual(document["info"]["version"], self.service.ask("GET", "/v1/info").json["version"])

        def walk(node):
            if isinstance(node, dict):
                if "$ref" in node:
                    self.document.resolve(node)
                for value in node.values():
                    walk(value)
            elif isinstance(node, list):
                for value in node:
                    walk(value)
        walk(document)
        for schema in document["components"]["schemas"].values():
            jsonschema.Draft202012Validator.check_schema(schema)

    def test_tasks_by_every_way_in(self):
        tried = 0
        for task in TASKS:
            operation = self.document.operation(f"/v1/{task}")
            for name, schema, example in self.examples(operation):
                self.assertEqual(self.document.problems(schema, example), [])
                for way, query, request in ways_in(example):
                    for accept in ("application/json", "text/event-stream"):
                        with self.subTest(task=task, example=name, way=way, accept=accept):
                            answer = self.service.post(f"/v1/{task}{query}", request, Accept=accept)
                            self.check(operation, answer, 200)
                            self.assertEqual(answer.headers["content-type"], accept)
                            tried += 1
        self.assertGreater(tried, 80)

    def test_every_field_is_taken(self):
        for task in TASKS:
            operation = self.document.operation(f"/v1/{task}")
            _, schema, base = next(self.examples(operation))
            for field, declared in self.document.fields(task).items():
                for value in declared.get("examples", ()):
                    fields = base | {field: value}
                    if task == "search" and field == "text":
                        fields.pop("image", None)
                    if field == "word":
                        fields["text"] = self.document.fields(task)["text"]["examples"][0]
                    with self.subTest(task=task, field=field, value=value):
                        self.assertEqual(self.document.problems(schema, fields), [])
                        self.check(operation, self.service.post(f"/v1/{task}", json_body(**fields)), 200)

    def test_bounds_are_kept(self):
        """Just outside of every bound, and of another type: refused by the document and by the service."""
        for task in TASKS:
            operation = self.document.operation(f"/v1/{task}")
            _, schema, base = next(self.examples(operation))
            for field, declared in self.document.fields(task).items():
                whole = declared.get("type") == "integer"
                outside = [{"not": "a value"}] if field != "options" else [3]
                if "type" in declared and declared["type"] not in ("string", "object"):
                    outside.append("perhaps")
                if "enum" in declared:
                    outside.append("perhaps")
                if "minimum" in declared:
                    outside.append(declared["minimum"] - (1 if whole else 0.001) if declared["minimum"] != 1e-06 else 0)
                if "maximum" in declared:
                    outside.append(declared["maximum"] + (1 if whole else 0.001))
                outside += [declared[name] for name in ("exclusiveMinimum", "exclusiveMaximum") if name in declared]
                for value in outside:
                    fields = base | {field: value}
                    if "do_sample" in self.document.fields(task) and field != "do_sample":
                        fields["do_sample"] = True  # what only draws read is looked at where there are any
                    with self.subTest(task=task, field=field, value=value):
                        self.assertNotEqual(self.document.problems(schema, fields), [])
                        answer = self.service.post(f"/v1/{task}", json_body(**fields))
                        self.assertIn(answer.status, (400, 413), answer.body[:300])
                        self.check(operation, answer, answer.status)

    def test_everything_else(self):
        for path, method, operation in self.document.operations():
            if path.startswith("/v1/") and path[4:] in TASKS or path.startswith("/gradio_api/") and "/info" not in path:
                continue
            target = path
            for parameter in operation.get("parameters", ()):
                target = target.replace("{%s}" % parameter["name"], parameter["example"])
            examples = list(self.examples(operation)) or [("none", {}, None)]
            for name, schema, example in examples:
                with self.subTest(path=path, method=method, example=name):
                    self.assertEqual(self.document.problems(schema, example), [])
                    self.assertEqual(example is None, method == "GET")
                    body, headers = (None, {}) if example is None else json_body(**example)
                    self.check(operation, self.service.ask(method, target, body, headers), 200)

    def test_gradio(self):
        operation = self.document.operation("/gradio_api/upload")
        answer = self.service.post("/gradio_api/upload", form(("files", CRABS)))
        self.check(operation, answer, 200)
        call = self.document.operation("/gradio_api/call/{function}")
        (_, schema, example), = self.examples(call)
        self.assertEqual(self.document.problems(schema, example), [])
        for data in (example, {"data": [{"path": answer.json[0]}]}):
            noted = self.service.post("/gradio_api/call/caption", json_body(**data))
            self.check(call, noted, 200)
            listen = self.document.operation("/gradio_api/call/{function}/{event}", "GET")
            heard = self.service.ask("GET", f"/gradio_api/call/caption/{noted.json['event_id']}")
            self.check(listen, heard, 200)
            self.assertEqual(heard.events[-1][0], "complete")
        join = self.document.operation("/gradio_api/queue/join")
        (_, schema, example), = self.examples(join)
        self.assertEqual(self.document.problems(schema, example), [])
        self.check(join, self.service.post("/gradio_api/queue/join", json_body(**example)), 200)
        data = self.document.operation("/gradio_api/queue/data", "GET")
        heard = self.service.ask("GET", "/gradio_api/queue/data?session_hash=session")
        self.check(data, heard, 200)
        self.assertIn(b"process_completed", heard.body)
        for name in ("cancel", "reset"):
            operation = self.document.operation(f"/gradio_api/{name}")
            (_, _, example), = self.examples(operation)
            self.check(operation, self.service.post(f"/gradio_api/{name}", json_body(**example)), 200)

    def test_binary_tensors(self):
        operation = self.document.operation("/v2/models/{model}/infer")
        picture = len(CRABS).to_bytes(4, "little") + CRABS
        head = json.dumps({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(picture)}}],
                           "parameters": {"binary_data_output": True}}).encode()
        answer = self.service.ask("POST", "/v2/models/default/infer", head + picture, {"Inference-Header-Content-Length": str(len(head))})
        self.check(operation, answer, 200)
        self.assertEqual(answer.headers["content-type"], "application/octet-stream")


class Errors(OpenApiTest):
    def task_errors(self, status, ask, tasks=TASKS):
        """`ask(task, fields)` with each task's first example must give the declared error."""
        for task in tasks:
            operation = self.document.operation(f"/v1/{task}")
            _, _, example = next(self.examples(operation))
            with self.subTest(task=task, status=status):
                self.check(operation, ask(f"/v1/{task}", example), status)

    def front_errors(self, status, ask):
        """The same with every front: its errors have its own shape."""
        for path, method, operation in self.document.operations():
            if "default" not in operation["responses"]:
                continue
            target = path
            for parameter in operation.get("parameters", ()):
                target = target.replace("{%s}" % parameter["name"], "other" if status == 404 else parameter["example"])
            work = "security" not in operation
            with self.subTest(path=path, method=method, status=status):
                answer = ask(method, urllib.parse.quote(target), work)
                if answer is not None:
                    self.assertEqual(self.document.problems(
                        self.document.response(operation, status)["content"]["application/json"]["schema"], answer.json), [], answer.body)
                    self.assertEqual(answer.status, status)

    def test_requests_that_make_no_sense(self):
        self.task_errors(400, lambda target, fields: self.service.post(target, json_body(**fields, other=3)))
        self.task_errors(400, lambda target, fields: self.service.post(target, json_body(**fields) [:1] + ({"Content-Type": "multipart/form-data"},)))
        self.task_errors(404, lambda target, fields: self.service.post(target, json_body(**fields, model="other")))
        self.task_errors(413, lambda target, fields: self.service.post(target, json_body(**fields | {"model": "a" * 70000})))
        self.task_errors(422, lambda target, fields: self.service.post(target, json_body(**fields | {"image": b"no picture"})),
                         [task for task in TASKS if task != "search"])
        self.task_errors(403, lambda target, fields: self.service.post(target, json_body(**fields), Origin="https://evil.example"))
        front = lambda **headers: lambda method, target, work: self.service.ask(method, target, b"[]" if method == "POST" else None, headers)
        self.front_errors(403, front(Origin="https://evil.example"))
        self.front_errors(404, lambda method, target, work: front()(method, target, work) if "other" in target and "gradio" not in target and "infer" not in target
                          and "pipeline" not in target and method == "GET" else None)
        self.front_errors(400, lambda method, target, work: front(**{"Content-Type": "application/json"})(method, target, work) if method == "POST" and "upload" not in target else None)

    def test_what_no_model_can(self):
        service = self.serve(*AUTHORS_CAPTIONER)
        self.task_errors(422, lambda target, fields: service.post(target, json_body(**fields)), ("vqa", "match", "embed", "search"))

    def test_who_may_ask_and_how_often(self):
        service = self.serve(*self.models, "--token", "secret", "--rate-limit", 1)
        self.task_errors(401, lambda target, fields: service.post(target, json_body(**fields)))
        self.front_errors(401, lambda method, target, work: service.ask(method, target, b"" if method == "POST" else None) if work else None)
        with_token = {"Authorization": "Bearer secret"}
        service.post("/v1/caption", form(), **with_token)
        self.task_errors(429, lambda target, fields: service.post(target, json_body(**fields), **with_token))
        self.front_errors(429, lambda method, target, work: service.ask(method, target, b"" if method == "POST" else None, with_token) if work else None)
        mcp = self.document.operation("/mcp")
        self.check(mcp, service.post("/mcp", json_body()), 401)
        self.check(mcp, service.post("/mcp", json_body(), **with_token), 429)
        open_to_all = [(path, method) for path, method, operation in self.document.operations() if operation.get("security") == [{}]]
        for path, method in open_to_all:
            if "{" not in path:
                self.assertEqual(service.ask(method, path).status, 200, path)

    def test_a_service_that_is_busy(self):
        service = self.serve("--image-size", 1536, "--num-threads", 1, "--max-queue", 1, "--request-timeout", 2, *self.models[:2])
        answers = []
        describe = threading.Thread(target=lambda: answers.append(service.post("/v1/describe", form(("image", CRABS)))))
        describe.start()
        service.until(lambda: service.metric("blip_requests_working") == 1)
        self.task_errors(503, lambda target, fields: service.post(target, json_body(**fields)), ("caption", "describe", "vqa"))
        self.front_errors(503, lambda method, target, work: service.ask(method, target, b"" if method == "POST" else None)
                          if work and method == "POST" else None)
        describe.join()
        self.check(self.document.operation("/v1/describe"), answers[0], 504)


class Mcp(OpenApiTest):
    def test_what_is_no_message(self):
        operation = self.document.operation("/mcp")
        self.check(operation, self.service.post("/mcp", (b"{", {"Content-Type": "application/json"})), 400)
        self.check(operation, self.service.post("/mcp", json_body(jsonrpc="2.0", method="notifications/initialized")), 202)
        call = {name: value for name, _, value in self.examples(operation)}["caption"]
        call["params"]["_meta"] = {"progressToken": 1}
        answer = self.service.post("/mcp", json_body(**call), Accept="text/event-stream")
        self.check(operation, answer, 200)
        self.assertEqual(answer.headers["content-type"], "text/event-stream")


if __name__ == "__main__":
    BLIP = sys.argv.pop(1)
    unittest.main()
