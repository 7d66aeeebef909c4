"""A figure of speed, and the ratio to what it is compared with in the same run."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from pipeline.errors import PipelineError


@dataclass(frozen=True)
class Figure:
    """`ratio` is this to `to`; both are of the same run, so that a slow machine is slow for both."""

    what: str
    value: float
    unit: str
    to: str  # empty for what others are compared with
    ratio: float


def alternate(repeats: int, tasks: Mapping[str, Callable[[], object]], clock: Callable[[], float]) -> dict[str, float]:
    """Median seconds of each task; they take turns, so that a slow minute falls on all.

    Parameters
    ----------
    clock
        `time.process_time`, for which what else the machine does counts little, or `time.perf_counter`.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            start = clock()
            task()
            seconds[name].append(clock() - start)
    return {name: statistics.median(measured) for name, measured in seconds.items()}


def beside(seconds: Mapping[str, float], base: str, count: int, unit: str) -> list[Figure]:
    """Times of tasks, each for one of `count` and as a ratio to that of the task `base`."""
    scale = {"ms": 1e3, "s": 1.0}[unit.split()[0]]
    return [
        Figure(name, scale * took_s / count, unit, "" if name == base else base, took_s / seconds[base])
        for name, took_s in seconds.items()
    ]


def on_one_core() -> None:
    """Keep this process on one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def answer(measure: Callable[..., list[Figure]]) -> None:
    """Print what a part measures, given its arguments as JSON, for the process that asked."""
    try:
        figures = measure(**json.loads(sys.argv[1]))
    except PipelineError as error:
        sys.exit(str(error))
    print(json.dumps([asdict(figure) for figure in figures]))
