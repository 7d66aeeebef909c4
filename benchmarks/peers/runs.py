"""One run: a network trained by a recipe from a seed, scored once, and a small file of what came out."""

from __future__ import annotations

import dataclasses
import multiprocessing
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import trainings
from benchmarks.peers.recipes import PEERS
from benchmarks.trainings import Build
from pipeline import config
from pipeline.config import Model, Settings, Train
from pipeline.corpora import manifest, mistakes, shards
from pipeline.corpora.process import in_fresh_process
from pipeline.device.interpreter import WAVEFORM, Network
from pipeline.network import batches, convert, history, model, waveform
from pipeline.stages import evaluate, train
from pipeline.stages.evaluate import Examples
from pipeline.stages.train import Architecture, Optimizer

OURS, PUBLISHED = "ours", "published"  # recipes; `ours` is also the name of our network
SMALL, LARGE = "small", "large"  # ours in other sizes
OWN = (OURS, SMALL, LARGE)
NAMES = (*OWN, *PEERS)
Row = tuple[str, str]  # of the table: name of a network, and a recipe
ROWS: list[Row] = [*((name, OURS) for name in OWN), *((name, recipe) for name in PEERS for recipe in (PUBLISHED, OURS))]
WORK = "peers"  # the folder in BUILD for what is between the runs
PARAMS = Path(__file__).parents[2] / "params"
FLOAT, DYNAMIC, INT8, PHONE = "float", "dynamic", "int8", "phone"  # files; `phone` takes sound, and is of our networks
FORMAT = 3  # raise it when a network, a recipe's optimiser or what is measured changes
_CALIBRATION_CLIPS = 500
_BROKEN_OFF = "the TFLite converter broke off; is the disk full, or the folder for temporary files? run it again"


@dataclass(frozen=True)
class Run:
    name: str
    recipe: str
    seed: int

    def __str__(self) -> str:
        return f"{self.name}-{self.recipe}-{self.seed}"


def inputs_of(run: Run, build: Build) -> dict[str, str]:
    """Digests of all that a run's figures depend on, but for its seed."""
    # The section `model` is of our networks alone.
    sections = ("audio", "features", "augment", "train", *(["model"] if run.name in OWN else []))
    settings = trainings.digest(settings_of(run, build), sections, FORMAT)
    return {"clips": build.clips, "settings": settings}


def make(run: Run, build: Build, results: Path) -> dict[str, Any]:
    """Train, score, and write `results/<run>.json`; what an interrupted run had finished is taken up.

    The trained network is deleted: what it was made by is code too, which no receipt knows.
    """
    settings, folder = settings_of(run, build), build.folder / WORK / "train" / str(run)
    examples = _features_of(run, build, settings)
    with trainings.alone_at(folder, wait=False):
        trainings.make_network(settings, examples, folder, architecture_of(run, settings), optimizer_of(run))
        figures = _figures(run, build.folder / "corpus", settings, examples, folder)
        result = trainings.write_result(results, run, inputs_of(run, build), figures)
        shutil.rmtree(folder)
    return result


def size(name: str) -> Model:
    """Our network as `params/<name>.toml` has it."""
    return config.load(PARAMS / f"{name}.toml").model


def settings_of(run: Run, build: Build) -> Settings:
    """The build's settings, with another size of our network where asked; or those of a paper."""
    settings = build.settings
    if run.name in (SMALL, LARGE):
        settings = dataclasses.replace(settings, model=size(run.name))
    if run.recipe == PUBLISHED:
        clips = {name: settings.section(name) for name in ("audio", "corpus")}
        settings = config.load(PEERS[run.name].published.path, **clips)
    elif run.name in PEERS and PEERS[run.name].slow:
        settings = dataclasses.replace(settings, train=_half_as_long(settings.train))
    return trainings.with_seed(settings, run.seed)


def architecture_of(run: Run, settings: Settings) -> Architecture:
    return partial(model.build, settings.model) if run.name in OWN else PEERS[run.name].architecture


def optimizer_of(run: Run) -> Optimizer:
    return train.adamw if run.recipe == OURS else PEERS[run.name].published.optimizer


# --- parts ---


def _half_as_long(settings: Train) -> Train:
    return dataclasses.replace(settings, epochs=(settings.epochs + 1) // 2)


def _features_of(run: Run, build: Build, settings: Settings) -> Path:
    """Folder of the features that a recipe asks for."""
    if run.recipe == OURS:
        return build.folder / "features"
    name = PEERS[run.name].published.settings
    return trainings.make_features(build.folder / "corpus", settings, build.folder / WORK / "features" / name)


def _figures(run: Run, corpus: Path, settings: Settings, examples: Path, folder: Path) -> dict[str, Any]:
    """All that the tables show. The test split is looked at here, and nowhere else."""
    context, path = multiprocessing.get_context("spawn"), folder / train.MODEL
    contents = in_fresh_process(context, _BROKEN_OFF, _convert, run, path, examples, settings)
    networks = _networks(run, contents, examples)
    network, test = model.load(path), evaluate.examples_of(corpus, examples / manifest.TESTING, settings)
    found = network.predict(test.mfcc, batch_size=256, verbose=0).argmax(axis=1)
    epochs = history.read(folder)
    best = epochs[history.best_epoch(epochs)]
    published = PEERS[run.name].published if run.recipe == PUBLISHED else None
    return {
        "clips": {"validation": len(shards.read(examples / manifest.VALIDATION).index), "testing": len(test.clips)},
        "windows": len(shards.read(examples / manifest.TRAINING).index),
        "epochs": len(epochs),
        "epochs_at_most": settings.train.epochs,
        "published": [published.epochs, published.clips] if published else None,
        "validation_accuracy": best["val_accuracy"],
        "test_accuracy": float((found == test.truth).mean()),
        "parameters": trainings.parameters(network),
        "files": {kind: _file_figures(len(contents[kind]), file, test, found) for kind, file in networks.items()},
        **_errors(test, found, manifest.read_labels(examples)),
    }


def _networks(run: Run, contents: dict[str, bytes], examples: Path) -> dict[str, Network]:
    """The files in TFLite's interpreter, each told what it takes."""
    normaliser = shards.read_normaliser(examples)
    takes: dict[str, dict[str, Any]] = {INT8: {"normaliser": normaliser}, PHONE: {"takes": WAVEFORM}}
    return {kind: Network(content, f"{run}, {kind}", **takes.get(kind, {})) for kind, content in contents.items()}


def _file_figures(size_bytes: int, file: Network, test: Examples, keras: NDArray) -> dict[str, Any]:
    """Size and accuracy of a file, and to how many clips it gives another label than Keras does."""
    found = np.array([file.scores(window).argmax() for window in test.windows(file.takes)])
    accuracy, changed = float((found == test.truth).mean()), int((found != keras).sum())
    return {"bytes": size_bytes, "test_accuracy": accuracy, "labels_changed": changed}


def _errors(test: Examples, found: NDArray, labels: list[str]) -> dict[str, Any]:
    """Each wrong clip as its number, word, speaker and the label that was found, and what gives rates of them.

    `labels` has how many clips there are of each, `speakers` who says each clip, empty where nobody does.
    """
    counts = np.bincount(test.truth, minlength=len(labels)).tolist()
    wrong = np.flatnonzero(found != test.truth)
    return {
        "labels": dict(zip(labels, counts, strict=True)),
        "speakers": [clip.speaker if mistakes.is_spoken(clip) else "" for clip in test.clips],
        "errors": [[int(n), test.clips[n].word, test.clips[n].speaker, labels[found[n]]] for n in wrong],
    }


def _convert(run: Run, path: Path, examples: Path, settings: Settings) -> dict[str, bytes]:
    """The files as the stage `export` makes them, of scores that are not calibrated: that changes no label."""
    network, training = model.load(path), shards.read(examples / manifest.TRAINING)
    mean, std = shards.read_normaliser(examples)
    originals = np.flatnonzero(training.index[:, shards.COPY] == 0)
    rows = np.random.default_rng(run.seed).permutation(originals)[:_CALIBRATION_CLIPS]
    calibration = (batches.gather(training.mfcc, rows) - mean) / std
    files = {
        FLOAT: convert.to_float(network),
        DYNAMIC: convert.to_dynamic_range(network),
        INT8: convert.to_int8(model.after_normaliser(network), calibration),
    }
    if run.name in OWN:
        files[PHONE] = waveform.with_int8_weights(waveform.to_waveform(network, settings.audio, settings.features))
    return files
