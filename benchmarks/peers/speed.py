"""How long a window takes in each network, and how long training on one: all in one go, so that the times compare.

Neither depends on what a network hears or has learnt, so it is measured on random windows and random weights. The
trainings themselves run for hours, beside each other or on several machines, and can't tell.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from benchmarks.machine import cores, cpu
from benchmarks.peers import runs
from benchmarks.peers.runs import Row, Run
from benchmarks.trainings import Build
from pipeline.corpora import manifest
from pipeline.device.interpreter import Network
from pipeline.network import convert
from pipeline.network.engine import tf_keras
from pipeline.stages import evaluate

RESULT = Path(__file__).parents[1] / "results" / "peers_speed.json"
_ROUNDS = 3  # a slow minute falls on all
_STEPS = 8  # of training, in each round
_SEED = 1

Times = dict[str, Any]  # what RESULT holds


@dataclass(frozen=True)
class _Subject:
    network: tf_keras.Model
    file: Network
    windows: NDArray[np.float32]  # a batch of its recipe, `(batch_clips, frames, n_mfcc)`
    truth: NDArray[np.float32]  # `(batch_clips, labels)`


def read() -> Times | None:
    return json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else None


def of_build(build: Build, rows: Sequence[Row]) -> Times:
    """The times of each row, measured anew where one is missing or is of other settings."""
    inputs = {_name(row): runs.inputs_of(Run(*row, _SEED), build)["settings"] for row in rows}
    if (known := read()) and inputs.items() <= known["inputs"].items():
        return known
    times = {"cpu": cpu(), "cores": cores(), "inputs": inputs, "rows": _measure(build, rows)}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    part = RESULT.with_suffix(".part")
    part.write_text(json.dumps(times, indent=1) + "\n", encoding="utf-8")
    part.rename(RESULT)
    return times


def _measure(build: Build, rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Milliseconds that one window takes: through the float file on one thread, and in a step of training."""
    subjects = {row: _subject(row, build) for row in track(rows, "networks to time")}
    latency_ms: dict[Row, list[float]] = {row: [] for row in rows}
    training_ms: dict[Row, list[float]] = {row: [] for row in rows}
    for row, subject in track([*subjects.items()] * _ROUNDS, "times"):
        latency_ms[row].append(evaluate.latency_ms(subject.file, list(subject.windows)))
        training_ms[row].append(_training_ms(subject))
    return {_name(row): {"latency_ms": min(latency_ms[row]), "training_ms": min(training_ms[row])} for row in rows}


def _subject(row: Row, build: Build) -> _Subject:
    run = Run(*row, _SEED)
    settings = runs.settings_of(run, build)
    frames, n_mfcc = settings.features.frames(settings.audio), settings.features.n_mfcc
    labels = len(manifest.read_labels(build.folder / "features"))
    network = runs.architecture_of(run, settings)(
        frames=frames, n_mfcc=n_mfcc, labels=labels, mean=np.zeros(n_mfcc), std=np.ones(n_mfcc)
    )
    network.compile(runs.optimizer_of(run)(settings.train, 1), "categorical_crossentropy", jit_compile=False)
    generator, clips = np.random.default_rng(_SEED), settings.train.batch_clips
    windows = generator.normal(size=(clips, frames, n_mfcc)).astype(np.float32)
    truth = np.eye(labels, dtype=np.float32)[generator.integers(labels, size=clips)]
    network.train_on_batch(windows, truth)  # the first step is slow
    return _Subject(network, Network(convert.to_float(network), str(run)), windows, truth)


def _training_ms(subject: _Subject) -> float:
    start_s = time.perf_counter()
    for _ in range(_STEPS):
        subject.network.train_on_batch(subject.windows, subject.truth)
    return 1000 * (time.perf_counter() - start_s) / (_STEPS * len(subject.windows))


def _name(row: Row) -> str:
    return "-".join(row)
