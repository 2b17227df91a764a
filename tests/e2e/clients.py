"""Client programs of others, from PyPI: each set in a virtual environment outside of the tree, made when it is first
asked for."""

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import unittest


def venv_with(*packages):
    """The Python that has `packages`, such as "mcp==2.3.0". Skips the test, saying why, where they cannot be had."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "blip-tests"
    wanted = " ".join(sorted(packages)) + f" for Python {sys.version_info.major}.{sys.version_info.minor}"
    folder = cache / hashlib.sha256(wanted.encode()).hexdigest()[:16]
    python = folder / "bin/python"
    cache.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            for command in ([sys.executable, "-m", "venv", folder],
                            [python, "-m", "pip", "install", "-q", "--retries", "1", "--timeout", "20", *packages]):
                done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
                if done.returncode != 0:
                    last = (done.stderr or done.stdout).strip().splitlines()[-1:]
                    reason = f"cannot install {' '.join(packages)}: {' '.join(last)}"
                    print(f"SKIPPED: {reason}", file=sys.stderr)
                    raise unittest.SkipTest(reason)
            (folder / "complete").write_text(wanted + "\n")
    return str(python)
