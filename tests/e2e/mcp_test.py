#!/usr/bin/env python3
"""blip mcp, and POST /mcp of blip serve: by plain messages, friendly and hostile, and with the official client.

    mcp_test.py BLIP [unittest arguments]"""

import base64
import concurrent.futures
import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import clients
from samples import CRABS, CRABS_CAPTION, ROOT
from serving import Service

GOLDEN = ROOT / "tests/golden/data"
IMAGE = base64.b64encode(CRABS.read_bytes()).decode()
# Attention over so many patches takes seconds: long enough to be interrupted.
SLOW = ("--image-size", 768)
CLIENTS = ("mcp==2.3.0", "mcp==1.30.0")
BLIP = ""


def request(method, params=None, id=1):
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}


def notification(method, **params):
    return {"jsonrpc": "2.0", "method": method, "params": params}


def call(tool, id=1, token=None, **arguments):
    params = {"name": tool, "arguments": arguments}
    if token is not None:
        params["_meta"] = {"progressToken": token}
    return request("tools/call", params, id)


def modern(message, version="2026-07-28"):
    message["params"].setdefault("_meta", {}).update({
        "io.modelcontextprotocol/protocolVersion": version, "io.modelcontextprotocol/clientCapabilities": {}})
    return message


OPENING = request("initialize", {"protocolVersion": "2025-06-18", "capabilities": {},
                                 "clientInfo": {"name": "test", "version": "1"}}, id=0)


class Stdio:
    """A running `blip mcp`."""

    def __init__(self, *arguments):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BLIP_")}
        self.process = subprocess.Popen([BLIP, "mcp", *map(str, arguments)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def say(self, *messages):
        """Bytes go as they are."""
        for message in messages:
            self.process.stdin.write(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def next(self, timeout=60):
        line = self.lines.get(timeout=timeout)
        return line if line is None else json.loads(line)

    def ask(self, message):
        self.say(message)
        return self.next()

    def end(self, timeout=60):
        """-> the exit status, what was still said, and standard error"""
        if not self.process.stdin.closed:
            self.process.stdin.close()
        status = self.process.wait(timeout)
        rest = list(iter(self.next, None))
        errors = self.process.stderr.read().decode()
        self.process.stdout.close()
        self.process.stderr.close()
        return status, rest, errors


class StdioTest(unittest.TestCase):
    def start(self, *arguments):
        client = Stdio(*arguments)
        self.addCleanup(lambda: client.process.poll() is None and client.process.kill())
        return client

    def test_a_whole_conversation(self):
        client = self.start()
        opened = client.ask(OPENING)["result"]
        self.assertEqual(opened["protocolVersion"], "2025-06-18")
        self.assertEqual(opened["serverInfo"]["name"], "blip")
        client.say(notification("notifications/initialized"))
        tools = client.ask(request("tools/list"))["result"]["tools"]
        self.assertEqual([tool["name"] for tool in tools], ["caption", "describe", "ask", "match"])
        result = client.ask(call("caption", path=str(CRABS)))["result"]
        self.assertEqual(result["content"], [{"type": "text", "text": CRABS_CAPTION}])
        self.assertEqual(result["structuredContent"]["captions"][0]["text"], CRABS_CAPTION)
        self.assertEqual(client.ask(request("ping", id="p")), {"jsonrpc": "2.0", "id": "p", "result": {}})
        self.assertEqual(client.end(), (0, [], ""))

    def test_what_was_taken_is_answered_at_the_end_of_the_input(self):
        client = self.start()
        client.say(*(call("caption", id=i, path=str(CRABS)) for i in range(5)))
        status, answers, errors = client.end()
        self.assertEqual((status, errors), (0, ""))
        self.assertEqual(sorted(a["id"] for a in answers), list(range(5)))
        self.assertEqual({a["result"]["content"][0]["text"] for a in answers}, {CRABS_CAPTION})

    def test_progress_comes_before_the_answer(self):
        client = self.start()
        client.say(call("describe", token="t", path=str(CRABS), detail="off"))
        status, messages, _ = client.end()
        self.assertEqual(status, 0)
        steps = [m["params"] for m in messages[:-1]]
        self.assertEqual({m["method"] for m in messages[:-1]}, {"notifications/progress"})
        self.assertEqual([s["progress"] for s in steps], list(range(1, len(steps) + 1)))
        self.assertEqual({s["progressToken"] for s in steps}, {"t"})
        self.assertEqual([s["message"] for s in steps[:4]], ["queued", "reading", "encoding", "prompts, 0 of 4"])
        self.assertTrue(messages[-1]["result"]["content"][0]["text"])

    def test_cancelled_while_it_runs(self):
        client = self.start(*SLOW)
        client.ask(OPENING)
        client.say(call("describe", id=5, token=5, path=str(CRABS)))
        while client.next()["params"]["message"] != "encoding":
            pass
        start = time.monotonic()
        client.say(notification("notifications/cancelled", requestId=5, reason="enough"), request("ping", id=6))
        self.assertEqual(client.next()["id"], 6)
        self.assertEqual(client.end(), (0, [], ""))
        self.assertLess(time.monotonic() - start, 2)

    def test_sigterm_ends_what_runs(self):
        client = self.start(*SLOW)
        client.say(call("describe", token=1, path=str(CRABS)))
        while client.next()["params"]["message"] != "encoding":
            pass
        start = time.monotonic()
        client.process.send_signal(signal.SIGTERM)
        self.assertEqual(client.process.wait(10), 0)
        self.assertLess(time.monotonic() - start, 2)
        self.assertEqual(client.end()[0], 0)

    def test_sigterm_and_nothing_runs(self):
        client = self.start()
        client.ask(OPENING)
        client.process.send_signal(signal.SIGTERM)
        self.assertEqual(client.process.wait(10), 0)
        client.end()

    def test_a_client_that_dies_leaves_nothing_behind(self):
        client = self.start(*SLOW)
        client.say(call("describe", token=1, path=str(CRABS)))
        client.next()
        client.process.stdout.close()
        client.process.stdin.close()
        self.assertEqual(client.process.wait(10), 0)
        client.process.stderr.close()

    def test_hostile_messages(self):
        client = self.start()
        for line, code in ((b"\n\r\n  \n{\n", -32700), (b"\x00\x01\xff\n", -32700), (b"[" * 100_000 + b"\n", -32700),
                           (b'{"a":' * 100_000 + b"\n", -32700), (b'"' + b"\xc3(" + b'"\n', -32700),
                           (b'{"jsonrpc":"2.0","id":1e999,"method":"ping"}\n', -32700),
                           (b"[]\n", -32600), (b"[[[]]]\n", None), (b"7\n", -32600), (b"{}\n", -32600),
                           (b'{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}\n', -32600),
                           (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}\n', -32602),
                           (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"caption",'
                            b'"arguments":{"image":[]}}}\n', "isError"),
                           (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"caption",'
                            b'"_meta":3,"arguments":{"image":"' + b"A" * 1_000_000 + b'"}}}\n', "isError"),
                           (b'{"jsonrpc":"2.0","id":1,"method":"\\u0000\\ud83d\\ude00"}\n', -32601)):
            answer = client.ask(line)
            if code == "isError":
                self.assertTrue(answer["result"]["isError"], line[:80])
            elif code is not None:
                self.assertEqual(answer["error"]["code"], code, line[:80])
        for path in ("/dev/zero", "/etc", "/nothing", "", "a\0b", "/proc/self/environ", "x" * 5000):
            result = client.ask(call("caption", path=path))["result"]
            self.assertTrue(result["isError"], path)
            self.assertNotIn("structuredContent", result)
        self.assertEqual(client.ask(call("caption", path=str(CRABS)))["result"]["content"][0]["text"], CRABS_CAPTION)
        self.assertEqual(client.end(), (0, [], ""))

    def test_long_messages_are_refused(self):
        client = self.start("--max-message-mib", 1)
        client.say(b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * (3 << 20) + b'"}\n')
        self.assertEqual(client.next()["error"]["code"], -32600)
        self.assertEqual(client.ask(request("ping"))["result"], {})
        with tempfile.NamedTemporaryFile() as file:
            file.truncate((1 << 20) + 1)
            self.assertIn("1048577", client.ask(call("caption", path=file.name))["result"]["content"][0]["text"])
        client.end()

    def test_more_requests_than_it_takes(self):
        client = self.start("--max-queue", 1, *SLOW)
        client.say(call("describe", id=1, token=1, path=str(CRABS)))
        client.next()
        client.say(call("caption", id=2, path=str(CRABS)))
        answer = client.next()
        while "id" not in answer:
            answer = client.next()
        self.assertEqual((answer["id"], answer["error"]["code"]), (2, -32603))
        client.process.send_signal(signal.SIGTERM)
        client.end()

    def test_options_of_other_commands_are_refused(self):
        for option in (("--polish-url", "http://127.0.0.1:1/v1"), ("--index", "x"), ("--max-queue", 100000)):
            status, said, errors = self.start(*option).end()
            self.assertEqual((status, said), (2, []))
            self.assertIn(option[0], errors)

    def test_a_wrong_model_is_said_at_once(self):
        client = self.start("--model", "/nothing")
        status, said, errors = client.end()
        self.assertEqual((status, said), (3, []))
        self.assertTrue(errors.startswith("blip: ") and errors.count("\n") == 1, errors)


class HttpTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = Service(BLIP)
        cls.addClassCleanup(cls.service.stop)

    def serve(self, *arguments):
        service = Service(BLIP, *arguments)
        self.addCleanup(service.stop)
        return service

    def post(self, message, service=None, **headers):
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        given = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        return (service or self.service).ask("POST", "/mcp", body,
                                             given | {k.replace("_", "-"): v for k, v in headers.items()})

    def test_a_whole_conversation(self):
        opened = self.post(OPENING)
        self.assertEqual((opened.status, opened.json["result"]["protocolVersion"]), (200, "2025-06-18"))
        session = {"Mcp_Session_Id": opened.headers["mcp-session-id"], "MCP_Protocol_Version": "2025-06-18"}
        done = self.post(notification("notifications/initialized"), **session)
        self.assertEqual((done.status, done.body), (202, b""))
        tools = self.post(request("tools/list"), **session).json["result"]["tools"]
        self.assertEqual([tool["name"] for tool in tools], ["caption", "describe", "ask", "match"])
        answer = self.post(call("caption", image=IMAGE), **session)
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.json["result"]["content"][0]["text"], CRABS_CAPTION)
        self.assertNotEqual(self.post(OPENING).headers["mcp-session-id"], session["Mcp_Session_Id"])

    def test_no_request_reaches_the_file_system(self):
        for arguments in ({"path": str(CRABS)}, {"image": str(CRABS)}, {"image": "file://" + str(CRABS)},
                          {"image": IMAGE, "path": str(CRABS)}):
            self.assertTrue(self.post(call("caption", **arguments)).json["result"]["isError"], arguments.keys())

    def test_progress_is_a_stream(self):
        answer = self.post(call("caption", token=9, image=IMAGE))
        self.assertEqual(answer.headers["content-type"], "text/event-stream")
        self.assertEqual({event for event, _ in answer.events}, {"message"})
        messages = [data for _, data in answer.events]
        self.assertEqual([m["params"]["message"] for m in messages[:-1]], ["queued", "reading", "encoding", "writing"])
        self.assertEqual(messages[-1]["result"]["content"][0]["text"], CRABS_CAPTION)
        whole = self.post(call("caption", token=9, image=IMAGE), Accept="application/json")
        self.assertEqual(whole.json["result"]["content"][0]["text"], CRABS_CAPTION)

    def test_get_and_delete_are_not_offered(self):
        for method in ("GET", "DELETE", "PUT"):
            answer = self.service.ask(method, "/mcp", headers={"Accept": "text/event-stream"})
            self.assertEqual((answer.status, answer.headers["allow"]), (405, "POST"), method)

    def test_statuses(self):
        for body, status, code in ((b"{", 400, -32700), (b"\xff", 400, -32700), (b"", 400, -32700), (b"7", 400, -32600),
                                   (b"[" * 5000, 400, -32700), (b"[]", 400, -32600), (request("nothing"), 200, -32601),
                                   (call("paint"), 200, -32602), ([request("ping")] * 65, 400, -32600)):
            answer = self.post(body)
            self.assertEqual((answer.status, answer.json["error"]["code"]), (status, code), body)
        self.assertEqual(self.post(request("ping"), MCP_Protocol_Version="1999-01-01").status, 400)
        batch = self.post([request("ping", id=1), notification("x"), request("ping", id=2)])
        self.assertEqual([a["id"] for a in batch.json], [1, 2])
        self.assertEqual(self.post([request("ping")], MCP_Protocol_Version="2025-06-18").status, 400)

    def test_requests_that_stand_for_themselves(self):
        headers = {"MCP_Protocol_Version": "2026-07-28", "Mcp_Method": "tools/call", "Mcp_Name": "caption"}
        answer = self.post(modern(call("caption", image=IMAGE)), **headers)
        self.assertEqual((answer.status, answer.json["result"]["resultType"]), (200, "complete"))
        self.assertNotIn("mcp-session-id", answer.headers)
        self.assertEqual(self.post(modern(call("caption", image=IMAGE)), **headers | {
            "Mcp_Name": "=?base64?Y2FwdGlvbg==?="}).status, 200)
        for change, code in (({"Mcp_Name": "describe"}, -32020), ({"Mcp_Method": "tools/list"}, -32020),
                             ({"MCP_Protocol_Version": "2025-11-25"}, -32020), ({"Mcp_Name": "=?base64?!?="}, -32020)):
            answer = self.post(modern(call("caption", image=IMAGE)), **headers | change)
            self.assertEqual((answer.status, answer.json["error"]["code"]), (400, code), change)
        for message, status, code in ((modern(request("nothing")), 404, -32601), (modern(call("paint")), 400, -32602),
                                      (modern(request("tools/list"), "2030-01-01"), 400, -32022),
                                      (request("tools/list"), 400, -32602), (request("server/discover"), 400, -32602)):
            version = message["params"].get("_meta", {}).get("io.modelcontextprotocol/protocolVersion", "2026-07-28")
            answer = self.post(message, MCP_Protocol_Version=version, Mcp_Method=message["method"], Mcp_Name="paint")
            self.assertEqual((answer.status, answer.json["error"]["code"]), (status, code), message)

    def test_cancelled_by_a_message_of_the_same_session(self):
        service = self.serve(*SLOW)
        session = self.post(OPENING, service).headers["mcp-session-id"]
        cancel = notification("notifications/cancelled", requestId=3)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            running = pool.submit(self.post, call("describe", id=3, image=IMAGE), service, Mcp_Session_Id=session)
            service.until(lambda: service.metric("blip_requests_working") == 1)
            self.assertEqual(self.post(cancel, service).status, 202)
            self.assertEqual(self.post(cancel, service, Mcp_Session_Id="0" * 32).status, 202)
            time.sleep(0.2)
            self.assertFalse(running.done())
            start = time.monotonic()
            self.assertEqual(self.post(cancel, service, Mcp_Session_Id=session).status, 202)
            self.assertEqual(running.result().json["error"]["code"], -32800)
            self.assertLess(time.monotonic() - start, 5)

    def test_cancelled_by_leaving(self):
        service = self.serve(*SLOW)
        body = json.dumps(call("describe", token=1, image=IMAGE)).encode()
        with service.connect() as connection:
            connection.sendall(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                               b"Accept: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            self.assertIn(b"notifications/progress", connection.recv(65536) + connection.recv(65536))
        service.until(lambda: service.metric("blip_requests_working") == 0, seconds=5)

    def test_who_may_ask(self):
        self.assertEqual(self.post(OPENING, Origin="https://evil.example").status, 403)
        self.assertEqual(self.post(OPENING, Host="evil.example").status, 403)
        service = self.serve("--token", "secret")
        self.assertEqual(self.post(OPENING, service).status, 401)
        self.assertEqual(self.post(OPENING, service, Authorization="Bearer secret").status, 200)

    def test_a_message_beyond_the_limit(self):
        service = self.serve("--max-body-mib", 1)
        self.assertEqual(self.post(b" " * ((1 << 20) + 1), service).status, 413)


class OfficialClientTest(unittest.TestCase):
    """What mcp_client.py makes the official client do, in both of its versions, over both transports."""

    @classmethod
    def setUpClass(cls):
        cls.python = {package: clients.venv_with(package) for package in CLIENTS}
        folder = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.models = []
        for name in ("retrieval", "vqa"):
            shutil.copytree(GOLDEN / "C_hf" / name, folder / name)
            shutil.copy(GOLDEN / "tokenizer_hf/vocab.txt", folder / name)
            cls.models += ["--add-model", folder / name]
        cls.service = Service(BLIP, *cls.models)
        cls.addClassCleanup(cls.service.stop)

    def run_client(self, package, mode, where, *arguments):
        script = pathlib.Path(__file__).resolve().parent / "mcp_client.py"
        environment = os.environ | {"NO_PROXY": "*", "no_proxy": "*"}
        done = subprocess.run([self.python[package], script, mode, where, CRABS, *map(str, arguments)],
                              capture_output=True, text=True, timeout=120, env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def check(self, came, version, local):
        self.assertEqual(came["version"], version)
        self.assertEqual(came["tools"], ["caption", "describe", "ask", "match"])
        self.assertEqual(came["caption"]["text"], CRABS_CAPTION)
        self.assertEqual(came["progress"], [[1, "queued"], [2, "reading"], [3, "encoding"], [4, "writing"]])
        self.assertEqual(came["describe"]["structured"]["text"], came["describe"]["text"])
        self.assertEqual([q["question"] for q in came["ask"]["structured"]["questions"]], ["a cat?", "a dog?"])
        for match in came["match"]["structured"]["matches"]:
            self.assertLess(0, match["itm_probability"])
        self.assertTrue(came["broken"]["error"])
        self.assertIn("not a picture", came["broken"]["text"])
        self.assertEqual(came["path"]["error"], not local)
        self.assertIn(came["unknown"], ("MCPError", "McpError"))
        self.assertEqual(came["many"], [CRABS_CAPTION])
        if "abandoned" in came:
            self.assertEqual((came["abandoned"], came["after"]), ("MCPError", CRABS_CAPTION))

    def test_the_present_client(self):
        for mode, version in (("auto", "2026-07-28"), ("legacy", "2025-11-25")):
            with self.subTest(mode, transport="stdio"):
                self.check(self.run_client(CLIENTS[0], mode, BLIP, *self.models), version, local=True)
            with self.subTest(mode, transport="http"):
                self.check(self.run_client(CLIENTS[0], mode, f"http://127.0.0.1:{self.service.port}/mcp"), version,
                           local=False)

    def test_the_client_before_it(self):
        self.check(self.run_client(CLIENTS[1], "legacy", BLIP, *self.models), "2025-11-25", local=True)
        self.check(self.run_client(CLIENTS[1], "legacy", f"http://127.0.0.1:{self.service.port}/mcp"), "2025-11-25",
                   local=False)


if __name__ == "__main__":
    BLIP = sys.argv.pop(1)
    unittest.main()
