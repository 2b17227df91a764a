#!/usr/bin/env python3
"""Times blip.cpp and what a user could pick instead on one picture: all in one run, in turn. See ../README.md."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import checkpoint as checkpoints

HERE = pathlib.Path(__file__).resolve().parent
PICTURE = checkpoints.ROOT / "tests/golden/data/B_image/jpg_photo_astronaut/input.jpg"
PAUSE = 0.5  # seconds: the threads of the program before spin for up to 0.2 s, and would slow the next one
COLD_RUNS = 3
DEFAULT_MODEL = "blip.cpp default model"
WANTED_COLD = 0.06  # seconds, of the default model
PEERS = ["transformers-float32", "transformers-bfloat16", "openvino-f32", "openvino-bf16", "openvino-int8", "onnxruntime", "candle"]


class Runner:
    """A program that runs once for each line it is sent."""

    def __init__(self, name: str, command: list, environment: dict | None = None):
        self.name = name
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.rows = []

    def run(self) -> None:
        time.sleep(PAUSE)
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with status {self.process.wait()}")
        self.rows.append(json.loads(line))

    def median(self, key: str) -> float | None:
        values = [row[key] for row in self.rows[1:] if key in row]  # the first run warms up
        return statistics.median(values) if values else None

    def peak_megabytes(self) -> float:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def with_untied_words(model: pathlib.Path) -> pathlib.Path:
    """candle wants the vocabulary projection under its own name, too."""
    folder = model.with_name(model.name + "-candle")
    if not folder.exists():
        from safetensors.torch import load_file, save_file

        tensors = load_file(model / "model.safetensors")
        tensors["text_decoder.cls.predictions.decoder.weight"] = tensors["text_decoder.bert.embeddings.word_embeddings.weight"].clone()
        partial = model.with_name(folder.name + ".partial")
        partial.mkdir(exist_ok=True)
        save_file(tensors, partial / "model.safetensors")
        (partial / "config.json").write_bytes((model / "config.json").read_bytes())
        partial.rename(folder)
    return folder


def candle(model: pathlib.Path, options: argparse.Namespace) -> list:
    """Builds it once, beside the checkpoints; it reads the picture as `blip preprocess` leaves it."""
    target = options.folder / "candle"
    subprocess.run(["cargo", "build", "--release", "--quiet", "--manifest-path", HERE / "candle/Cargo.toml"], check=True,
                   env=os.environ | {"CARGO_TARGET_DIR": str(target), "RUSTFLAGS": "-C target-cpu=native"})
    pixels = options.folder / "pixel_values.safetensors"
    subprocess.run([options.build / "bin/blip", "preprocess", "-m", model, "-o", pixels, PICTURE], check=True)
    return [target / "release/candle_peer", with_untied_words(model), pixels, options.new_tokens]


def openvino(precision: str, model: pathlib.Path, options: argparse.Namespace) -> list:
    """Converts and quantises once, in a process of its own: what is measured loads the result, as ours does."""
    program = [sys.executable, HERE / "openvino_peer.py"]
    converted = model.with_name(f"{model.name}-openvino-{'int8' if precision == 'int8' else 'f32'}.xml")
    if not converted.exists():
        subprocess.run([*program, "convert", model, PICTURE, precision, converted], check=True)
    return [*program, "serve", model, PICTURE, precision, converted]


def transformers(precision: str, model: pathlib.Path, options: argparse.Namespace) -> list:
    return [sys.executable, HERE / "transformers_peer.py", model, PICTURE, precision, options.new_tokens, options.beams]


def start_peer(name: str, model: pathlib.Path, options: argparse.Namespace) -> Runner:
    kind, _, precision = name.partition("-")
    commands = {
        "transformers": lambda: transformers(precision, model, options),
        "openvino": lambda: openvino(precision, model, options),
        "onnxruntime": lambda: [sys.executable, HERE / "onnxruntime_peer.py", model, PICTURE],
        "candle": lambda: candle(model, options),
    }
    return Runner(name, commands[kind]())


def our_environment(options: argparse.Namespace) -> dict:
    return os.environ | ({} if options.isa is None else {"BLIP_ISA": options.isa})


def start_ours(precision: str, model: pathlib.Path, options: argparse.Namespace) -> Runner:
    folder = checkpoints.converted(options.build / "bin/blip", model, precision)
    command = [options.build / "bin/caption_runner", folder, precision, PICTURE, options.new_tokens, options.beams]
    return Runner(f"blip.cpp {precision}", command, our_environment(options))


def cold_commands(ours: list[Runner], peers: list[Runner], model: pathlib.Path, options: argparse.Namespace) -> dict[str, list]:
    """Processes that load a model, write one caption and end, by the names of those that stay."""
    blip = [options.build / "bin/blip", "caption", PICTURE, "--model"]
    length = ["--max-new-tokens", options.new_tokens, "--min-new-tokens", options.new_tokens, "--num-beams", options.beams]
    commands = {}
    for runner in ours:
        precision = runner.name.split()[1]
        folder = checkpoints.converted(options.build / "bin/blip", model, precision)
        commands[runner.name] = [*blip, folder, "--precision", precision, *length]
    commands[DEFAULT_MODEL] = [*blip, checkpoints.ROOT / "models/default"]
    for runner in peers:
        kind, _, precision = runner.name.partition("-")
        if kind == "transformers":
            commands[runner.name] = [*transformers(precision, model, options), "once"]
    return commands


def report_cold(ours: list[Runner], peers: list[Runner], model: pathlib.Path, options: argparse.Namespace) -> None:
    """In turn, too. What is not computing: beyond the seconds that the same takes warm."""
    commands = cold_commands(ours, peers, model, options)
    seconds = {name: [] for name in commands}
    for _ in range(COLD_RUNS):
        for name, command in commands.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL, env=our_environment(options))
            seconds[name].append(time.perf_counter() - start)
    cold = {name: statistics.median(all_of_it) for name, all_of_it in seconds.items()}
    warm = {runner.name: runner.median("total") for runner in ours + peers}
    print(f"\na cold process to a caption; medians of {COLD_RUNS}")
    print(f"{'':24} {'total s':>9} {'not computing s':>16}  " + " ".join(f"{'total / ' + o.name.split()[1]:>14}" for o in ours))
    for name, total in cold.items():
        idle = f"{total - warm[name]:.3f}" if name in warm else ""
        ratios = [] if name == DEFAULT_MODEL else [ratio(total, cold[o.name]) for o in ours]
        print(f"{name:24} {total:9.3f} {idle:>16}  " + " ".join(f"{r:>14}" for r in ratios))
    print(f"{DEFAULT_MODEL}: wanted under {WANTED_COLD} s")


def ratio(theirs: float | None, ours: float | None) -> str:
    return "" if theirs is None or ours is None else f"{theirs / ours:.2f}x"


def report(ours: list[Runner], peers: list[Runner]) -> None:
    def cell(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}"
    heads = [f"{of} / {o.name.split()[1]}" for of in ("vision", "total") for o in ours]
    print(f"{'':24} {'vision s':>9} {'total s':>9} {'peak MiB':>9}  " + " ".join(f"{h:>14}" for h in heads))
    for runner in ours + peers:
        ratios = [ratio(runner.median(key), o.median(key)) for key in ("vision", "total") for o in ours]
        print(f"{runner.name:24} {cell(runner.median('vision')):>9} {cell(runner.median('total')):>9} {runner.peak_megabytes():9.0f}  "
              + " ".join(f"{r:>14}" for r in ratios))
    wanted = next((r.rows[-1]["ids"] for r in peers if r.name == "transformers-float32"), None)
    if wanted is not None:
        for runner in ours + [p for p in peers if "ids" in p.rows[-1]]:
            same = sum(a == b for a, b in zip(runner.rows[-1]["ids"], wanted))
            print(f"{runner.name}: {same} of {len(wanted)} token ids as transformers-float32")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=checkpoints.SHAPES, default="large")
    parser.add_argument("--ours", default="f32,bf16,int8", help="precisions of blip.cpp, comma-separated")
    parser.add_argument("--peers", default="transformers-float32,transformers-bfloat16", help="comma-separated, of: " + ", ".join(PEERS))
    parser.add_argument("--new-tokens", type=int, default=20)
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--isa", help="instruction set that blip.cpp is held to")
    parser.add_argument("--cold", action="store_true", help="time cold processes too")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path.home() / ".cache/blip-bench")
    parser.add_argument("--build", type=pathlib.Path, default=checkpoints.ROOT / "build/release")
    options = parser.parse_args()

    model = checkpoints.ensure(options.folder, options.shape)
    names = [name for name in options.peers.split(",") if name]
    if unknown := [name for name in names if name not in PEERS]:
        parser.error(f"no such peer: {', '.join(unknown)}")
    if "candle" in names and options.beams > 1:
        print("candle is left out: it has no beams")
        names.remove("candle")
    ours = [start_ours(precision, model, options) for precision in options.ours.split(",")]
    peers = [start_peer(name, model, options) for name in names]
    for _ in range(options.runs + 1):
        for runner in ours + peers:
            runner.run()
    print(f"BLIP-{options.shape}, 384 px, one picture, {options.beams} beam(s), {options.new_tokens} tokens; medians of {options.runs}")
    report(ours, peers)
    for runner in ours + peers:
        runner.close()
    if options.cold:
        report_cold(ours, peers, model, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
