"""How run.py talks to the programs that it times: for each line on standard input one run, for each run
one line of JSON on standard output, {"vision": s, "total": s, "ids": [...]}; a program without a decoder
leaves out "total" and "ids"."""

import json
import sys
import time

OUTPUT = sys.stdout
sys.stdout = sys.stderr  # what libraries print while they prepare is no answer


def serve(vision, caption=None) -> None:
    """`vision()` encodes the picture, `caption()` does that and decodes; each starts from the decoded picture."""
    for _ in sys.stdin:
        start = time.perf_counter()
        vision()
        row = {"vision": time.perf_counter() - start}
        if caption is not None:
            start = time.perf_counter()
            row["ids"] = caption()
            row["total"] = time.perf_counter() - start
        print(json.dumps(row), file=OUTPUT, flush=True)
