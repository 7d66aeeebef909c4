"""What one waits for beside the work: the start of the program, and `make` that has everything or nothing to do."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.speed import figures
from benchmarks.speed.figures import Figure, alternate, beside

ROOT = Path(__file__).parents[2]
_PYTHON = "start: an empty Python program"


def measure(repeats: int) -> list[Figure]:
    starts = {
        _PYTHON: ["-c", ""],
        "start: python -m pipeline --help": ["-m", "pipeline", "--help"],
        "start: from pipeline.device import Recognizer, Spotter": [
            "-c",
            "from pipeline.device import Recognizer, Spotter",
        ],
        "start: import tensorflow": ["-c", "import tensorflow"],
    }
    tasks = {what: partial(_run, [sys.executable, *arguments]) for what, arguments in starts.items()}
    for task in tasks.values():
        task()  # the first time it is read from the disk
    return beside(alternate(repeats, tasks, time.perf_counter), _PYTHON, 1, "s") + _make()


def _make() -> list[Figure]:
    """The tiny build from nothing, and the same command again."""
    with tempfile.TemporaryDirectory() as name:
        command = ["make", "PARAMS=params/tiny.toml", f"BUILD={name}/build"]
        seconds = {}
        for what in ("make of the tiny build, from nothing", "make again, with nothing to do"):
            began_s = time.perf_counter()
            _run(command)
            seconds[what] = time.perf_counter() - began_s
    return beside(seconds, next(iter(seconds)), 1, "s")


def _run(command: list[str]) -> None:
    outside = ("CORPUS", "SOURCE", "WORDS", "NEGATIVE", "BUNDLE", "CLUSTER")  # of a make around this one
    environment = {name: value for name, value in os.environ.items() if name not in outside}
    subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True)


if __name__ == "__main__":
    figures.answer(measure)
