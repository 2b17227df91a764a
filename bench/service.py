#!/usr/bin/env python3
"""The service under load.

    bench/service.py crowd    [--blip PATH] [--clients 200] [--seconds 60] [SERVE OPTIONS...]
    bench/service.py batching [--blip PATH] [--clients 16] [--requests 64] [SERVE OPTIONS...]

crowd: so many clients at once, each of which sends good requests, broken pictures, bodies beyond the limit, requests
that trickle in, and requests that it abandons. Exit status 1 unless every good one was answered with its caption,
memory stayed flat and descriptors came back to where they were. What it answers in a second depends on what of the
machine it gets: the seconds of CPU that the service and the clients had are told beside.
batching: captions a second of clients who ask at once, and of one who asks for one after the other."""

import argparse
import json
import os
import pathlib
import random
import resource
import statistics
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/e2e"))
from serving import Service, form  # noqa: E402

SAMPLES = ROOT / "models/default/samples"


class Crowd:
    def __init__(self, service, seconds):
        self.service = service
        self.end = time.monotonic() + seconds
        self.captions = {}
        self.pictures = {p.name: p.read_bytes() for p in SAMPLES.glob("*.png")}
        for name, picture in self.pictures.items():
            self.captions[name] = service.post("/v1/caption", form(("image", picture))).json["captions"]
        self.lock = threading.Lock()
        self.counts = {}
        self.times = []
        self.wrong = []

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def good(self, draw):
        name = draw.choice(list(self.pictures))
        start = time.monotonic()
        answer = self.service.post("/v1/caption", form(("image", self.pictures[name])))
        if answer.status == 503:
            self.count("turned away with Retry-After" if "retry-after" in answer.headers else "turned away without")
            time.sleep(float(answer.headers.get("retry-after", 1)) * draw.random())
            return
        with self.lock:
            self.times.append(time.monotonic() - start)
            if answer.status != 200 or answer.json["captions"] != self.captions[name]:
                self.wrong.append((name, answer.status, answer.body[:200]))
        self.count("good")

    def broken(self, draw):
        picture = bytearray(draw.choice(list(self.pictures.values())))
        del picture[draw.randrange(8, len(picture) // 2):]  # without its very end a PNG is still whole
        status = self.service.post("/v1/caption", form(("image", bytes(picture)))).status
        self.count("broken" if status in (422, 503) else f"broken, answered {status}")

    def oversized(self, draw):
        with self.service.connect() as s:
            s.sendall(b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
            self.count("oversized" if b" 413 " in s.recv(100) else "oversized, taken")

    def slow(self, draw):
        with self.service.connect() as s:
            for byte in b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nX-Slow: aaaa":
                s.sendall(bytes([byte]))
                time.sleep(0.1)
                if time.monotonic() > self.end:
                    break
        self.count("slow")

    def abandoned(self, draw):
        body, headers = form(("image", draw.choice(list(self.pictures.values()))))
        with self.service.connect() as s:
            s.sendall(f"POST /v1/describe HTTP/1.1\r\nHost: localhost\r\nContent-Type: {headers['Content-Type']}\r\n"
                      f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:draw.choice([100, len(body)])])
            time.sleep(draw.random() * 0.1)
        self.count("abandoned")

    def client(self, seed):
        draw = random.Random(seed)
        kinds = [self.good] * 6 + [self.broken, self.oversized, self.slow, self.abandoned]
        while time.monotonic() < self.end:
            try:
                draw.choice(kinds)(draw)
            except OSError as error:
                self.count(f"network: {type(error).__name__}")


def state(service):
    time.sleep(0.2)  # until the service has seen the last connection closed
    descriptors = len(os.listdir(f"/proc/{service.process.pid}/fd"))
    status = pathlib.Path(f"/proc/{service.process.pid}/status").read_text()
    return descriptors, int(status.split("VmRSS:")[1].split()[0]) / 1024


def cpu_seconds(service):
    """Of the service and its decoders, and of the clients."""
    ticks = 0
    for pid in [service.process.pid, *service.decoders()]:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    own = resource.getrusage(resource.RUSAGE_SELF)
    return ticks / os.sysconf("SC_CLK_TCK"), own.ru_utime + own.ru_stime


def crowd(service, options):
    run = Crowd(service, options.seconds)
    descriptors, before = state(service)
    service_cpu, clients_cpu = cpu_seconds(service)
    threads = [threading.Thread(target=run.client, args=(i,)) for i in range(options.clients)]
    [t.start() for t in threads]
    memory = []
    while any(t.is_alive() for t in threads):
        memory.append(state(service)[1])
        time.sleep(1)
    service.until(lambda: service.metric("blip_requests_working") == 0 and service.metric("blip_connections") == 1)
    after = state(service)
    service_cpu, clients_cpu = (now - then for now, then in zip(cpu_seconds(service), (service_cpu, clients_cpu)))
    half = memory[len(memory) // 2:]
    tenths = [round(memory[i * (len(memory) - 1) // 10]) for i in range(11)]
    times = sorted(run.times)
    print(json.dumps({"clients": options.clients, "seconds": options.seconds, **run.counts, "answered wrongly": len(run.wrong),
                      "good a second": round(len(times) / options.seconds, 1), "p50 s": round(statistics.median(times), 3),
                      "p99 s": round(times[int(0.99 * (len(times) - 1))], 3), "CPU s of the service": round(service_cpu, 1),
                      "CPU s of the clients": round(clients_cpu, 1), "CPUs": len(os.sched_getaffinity(0)),
                      "MiB before": round(before), "MiB at most": round(max(memory)), "MiB after each tenth": str(tenths),
                      "MiB growth in the second half": round(half[-1] - half[0], 1), "MiB after": round(after[1]),
                      "descriptors before": descriptors, "descriptors after": after[0]}, indent=1))
    for wrong in run.wrong[:5]:
        print("wrong:", wrong)
    return 1 if run.wrong or not times or after[0] != descriptors or half[-1] - half[0] > 20 else 0


def batching(service, options):
    picture = next(iter(SAMPLES.glob("*.png"))).read_bytes()
    request = form(("image", picture), ("min_new_tokens", 20), ("max_new_tokens", 20))
    wanted = service.post("/v1/caption", request).json["captions"]

    def rate(clients, count):
        left = iter(range(count))
        lock = threading.Lock()
        def client():
            while True:
                with lock:
                    if next(left, None) is None:
                        return
                assert service.post("/v1/caption", request).json["captions"] == wanted
        start = time.monotonic()
        threads = [threading.Thread(target=client) for _ in range(clients)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        return count / (time.monotonic() - start)

    rounds = []
    for _ in range(3):  # in turn, so that both see the same machine
        one = rate(1, max(options.requests // 4, 4))
        many = rate(options.clients, options.requests)
        rounds.append((one, many, many / one))
        print(f"one at a time {one:.3f}, {options.clients} clients {many:.3f} captions a second: {many / one:.2f} times", flush=True)
    print(f"median: {statistics.median(r[2] for r in rounds):.2f} times")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["crowd", "batching"])
    parser.add_argument("--blip", default=ROOT / "build/release/bin/blip")
    parser.add_argument("--clients", type=int)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--requests", type=int, default=64)
    options, serve = parser.parse_known_args()
    options.clients = options.clients or (200 if options.what == "crowd" else 16)
    service = Service(str(options.blip), *serve)
    try:
        return {"crowd": crowd, "batching": batching}[options.what](service, options)
    finally:
        service.stop()


if __name__ == "__main__":
    sys.exit(main())
