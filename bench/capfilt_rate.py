#!/usr/bin/env python3
"""How many records a second one worker of CapFilt does, and where its time goes: the row that docs/scale.md counts with.

    PYTHONPATH=build/release/python python3 bench/capfilt_rate.py --captioner DIR --filter DIR [--precision int8]

Parts are timed as the rule runs them: a picture from its bytes by each model (one, where they are the same), captions by
nucleus sampling in a batch, both texts of each picture against it. ms and records/s are of the clock; core-s/record is what
the process took of all cores, as with --threads 1 a second thread reads pictures while others are encoded."""

import argparse
import pathlib
import resource
import statistics
import time

import blip_cpp
from blip_cpp.capfilt import CapFilter, CapFiltOptions, Record

ROOT = pathlib.Path(__file__).resolve().parent.parent
PICTURE = ROOT / "tests/golden/data/B_image/jpg_photo_astronaut/input.jpg"
WEB_TEXT = "portrait of an astronaut in front of a flag, free stock photo"


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def parts(capfilter: CapFilter, records: list[Record]) -> list[float]:
    """Seconds for all records: pictures, captions, matches; last those of cores."""
    before = time.process_time()
    seconds, pictures = timed(lambda: capfilter.captioner.encode([record.image for record in records]))
    views = pictures
    if capfilter.filter is not capfilter.captioner:
        more, views = timed(lambda: capfilter.filter.encode([record.image for record in records]))
        seconds += more
    writing, captions = timed(lambda: capfilter._captions(pictures, [record.key for record in records]))
    texts = [[*record.texts, *(caption.text for caption in row)] for record, row in zip(records, captions)]
    matching, _ = timed(lambda: capfilter._matches(views, texts))
    return [seconds, writing, matching, time.process_time() - before]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captioner", default=str(blip_cpp.default_model()))
    parser.add_argument("--filter", required=True)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--picture", type=pathlib.Path, default=PICTURE)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rule = CapFiltOptions(
        options.captioner,
        options.filter,
        precision=options.precision,
        threads=options.threads,
        batch_size=options.batch_size,
    )
    capfilter = CapFilter(rule)
    content = options.picture.read_bytes()
    records = [Record(str(n), content, [WEB_TEXT]) for n in range(options.batch_size)]
    parts(capfilter, records[:2])  # first use
    columns = zip(*(parts(capfilter, records) for _ in range(options.rounds)))
    each = [1000 * statistics.median(column) / len(records) for column in columns]
    print("| captioner, filter | precision | threads | pictures ms | captions ms | matches ms | records/s | core-s/record | peak MiB |")
    print("|---|---|---|---|---|---|---|---|---|")
    names = ", ".join(pathlib.Path(path).name for path in (options.captioner, options.filter))
    *clock, cores = each
    cells = [names, capfilter.captioner.precision, options.threads, *(f"{value:.1f}" for value in clock)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # the mapped checkpoints among it
    cells += [f"{1000 / sum(clock):.2f}", f"{cores / 1000:.3f}", f"{peak:.0f}"]
    print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
