"""One run: our network trained by the recipe of a build with one change, and a small file of what came out.

Validation alone is looked at; the test split is not opened.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import changes, trainings
from benchmarks.changes import Run
from benchmarks.machine import cores, cpu
from benchmarks.recipe import harder, heard
from benchmarks.trainings import Build
from pipeline.config import Settings
from pipeline.corpora import manifest, shards
from pipeline.network import history, model
from pipeline.network.engine import tf_keras
from pipeline.stages import evaluate, train

CHANGES = Path(__file__).with_name("changes")
NAMES = changes.names(CHANGES)
SECTIONS = ("features", "augment", "model", "train")  # that a change may touch
WORK = "recipe"  # the folder in BUILD for what is between the runs
FORMAT = 2  # raise it when what is measured changes
_SMALLEST = np.finfo(np.float32).tiny


def changed(name: str, settings: Settings) -> Settings:
    """The settings with a change on top; see `changes.changed`."""
    return changes.changed(CHANGES, name, SECTIONS, settings)


def inputs_of(run: Run, build: Build) -> dict[str, str]:
    """Digests of all that a run's figures, and what they are compared with, depend on, but for its seed."""
    sections = ("audio", *SECTIONS)
    return {
        "clips": build.clips,
        "recipe": trainings.digest(build.settings, sections, FORMAT),
        "settings": trainings.digest(changed(run.change, build.settings), sections, FORMAT),
    }


def make(run: Run, build: Build, results: Path) -> dict[str, Any]:
    """Train, measure, and write `results/<run>.json`; what an interrupted run had finished is taken up."""
    settings = trainings.with_seed(changed(run.change, build.settings), run.seed)
    examples, folder = _features_of(run, build, settings), build.folder / WORK / "train" / str(run)
    with trainings.alone_at(folder, wait=False):
        trainings.make_network(settings, examples, folder, partial(model.build, settings.model), train.adamw)
        figures = {
            "changes": changes.differences(build.settings, changed(run.change, build.settings), SECTIONS),
            **_figures(build.folder / "corpus", settings, examples, folder),
        }
        result = trainings.write_result(results, run, inputs_of(run, build), figures)
        shutil.rmtree(folder)
    return result


def forget_features(change: str, build: Build) -> None:
    """Delete the features that only this change has: many changes of them would fill a disk."""
    if (folder := _own_features(change, build)).exists():
        shutil.rmtree(folder)


def _features_of(run: Run, build: Build, settings: Settings) -> Path:
    """Those of the build, or others where the change is of the sound."""
    if (settings.features, settings.augment) == (build.settings.features, build.settings.augment):
        return build.folder / "features"
    return trainings.make_features(build.folder / "corpus", settings, _own_features(run.change, build))


def _own_features(change: str, build: Build) -> Path:
    return build.folder / WORK / "features" / change


def _figures(corpus: Path, settings: Settings, examples: Path, folder: Path) -> dict[str, Any]:
    """All that the table shows."""
    network, epochs = model.load(folder / train.MODEL), history.read(folder)
    clips = evaluate.examples_of(corpus, examples / manifest.VALIDATION, settings)
    return {
        "clips": len(clips.clips),
        "validation": _score(network, clips.mfcc, clips.truth),
        "harder": _score(network, harder.features(clips, settings), clips.truth.repeat(harder.COPIES)),
        "missed": heard.missed(network, clips, settings),
        "parameters": trainings.parameters(network),
        "windows": len(shards.read(examples / manifest.TRAINING).index),
        "epochs": len(epochs),
        "training_s": sum(epoch["seconds"] for epoch in epochs),
        "cpu": cpu(),
        "cores": cores(),
    }


def _score(network: tf_keras.Model, mfcc: NDArray[np.float32], truth: NDArray[np.int32]) -> dict[str, float]:
    """Accuracy, and cross-entropy (nats) against labels that are not smoothed."""
    scores = network.predict(mfcc, batch_size=256, verbose=0)
    of_truth = np.maximum(scores[np.arange(len(truth)), truth], _SMALLEST)
    return {
        "accuracy": float((scores.argmax(axis=1) == truth).mean()),
        "cross_entropy": float(-np.log(of_truth, dtype=np.float64).mean()),
    }
