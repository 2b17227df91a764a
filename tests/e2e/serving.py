"""A running `blip serve`, and HTTP spoken to it as plainly as can be."""

import base64
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time


def form(*parts):
    """multipart/form-data of (name, value) pairs; bytes become files. -> body, headers"""
    body = b""
    for name, value in parts:
        file = '; filename="a picture.png"' if isinstance(value, bytes) else ""
        content = value if isinstance(value, bytes) else str(value).encode()
        body += f'--limit\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"
    return body + b"--limit--\r\n", {"Content-Type": "multipart/form-data; boundary=limit"}


def json_body(**fields):
    """Bytes become base64. -> body, headers"""
    plain = {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in fields.items()}
    return json.dumps(plain).encode(), {"Content-Type": "application/json"}


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {k.lower(): v for k, v in response.getheaders()}
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]["code"]

    @property
    def events(self):
        """[(event, data)] of a stream."""
        blocks = [b for b in self.body.decode().split("\n\n") if b.startswith("event: ")]
        return [(b.split("\n")[0][7:], json.loads(b.split("\n")[1][6:])) for b in blocks]


class Service:
    """`blip serve` on a free port; `blip` is the program, or the words of a command; `url` ends with a slash."""

    def __init__(self, blip, *arguments):
        command = [blip] if isinstance(blip, str) else blip
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BLIP_")}
        port = () if "--port" in arguments else ("--port", "0")
        self.process = subprocess.Popen([*command, "serve", *port, *map(str, arguments)], stderr=subprocess.PIPE,
                                        text=True, env=environment)
        self.line = self.process.stderr.readline()
        found = re.fullmatch(r"blip: serving (http://[^ ]*:(\d+)/)\n", self.line)
        if not found:
            raise RuntimeError(f"{self.line}{self.process.stderr.read()} (status {self.process.wait()})")
        self.url = found[1]
        self.port = int(found[2])

    def ask(self, method, target, body=None, headers={}, timeout=120):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, target, body, headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def post(self, target, body_and_headers, **more_headers):
        body, headers = body_and_headers
        return self.ask("POST", target, body, headers | {k.replace("_", "-"): v for k, v in more_headers.items()})

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def metric(self, name):
        text = self.ask("GET", "/metrics").body.decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    def until(self, condition, seconds=30):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise AssertionError("it did not come to that")
            time.sleep(0.02)

    def decoders(self):
        listed = subprocess.run(["ps", "--ppid", str(self.process.pid), "-o", "pid="], capture_output=True, text=True)
        return [int(pid) for pid in listed.stdout.split()]

    def stop(self, how=signal.SIGTERM):
        """-> the exit status"""
        if self.process.poll() is None:
            self.process.send_signal(how)
        status = self.process.wait(timeout=60)
        self.process.stderr.close()
        return status
