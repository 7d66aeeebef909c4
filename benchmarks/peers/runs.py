"""One run: a network trained by a recipe from a seed, scored once, and a small file of what came out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import multiprocessing
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import cpu
from benchmarks.peers.recipes import PEERS
from pipeline import config, receipt
from pipeline.config import Settings
from pipeline.corpora import manifest, shards
from pipeline.corpora.process import in_fresh_process
from pipeline.device.interpreter import Network
from pipeline.errors import PipelineError, StaleInput
from pipeline.network import batches, convert, model
from pipeline.network.engine import tf_keras
from pipeline.receipt import Receipt
from pipeline.stages import evaluate, features, train

OURS, PUBLISHED = "ours", "published"  # recipes; `ours` is also the name of our network
NAMES = (OURS, *PEERS)
FORMAT = 1  # raise it when a network, a recipe's optimiser or what is measured changes
_CALIBRATION_CLIPS = 500
_BROKEN_OFF = "the TFLite converter broke off; is the disk full, or the folder for temporary files? run it again"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    name: str
    recipe: str
    seed: int

    def __str__(self) -> str:
        return f"{self.name}-{self.recipe}-{self.seed}"


@dataclass(frozen=True)
class Build:
    """A finished build of ours: its clips and features are what all runs are made from."""

    folder: Path
    settings: Settings
    corpus: Receipt

    @property
    def work(self) -> Path:
        return self.folder / "peers"


def open_build(folder: Path) -> Build:
    """The build with the settings that it was trained by.

    Raises
    ------
    StaleInput
        If its corpus, its features or its training are missing or don't go together.
    """
    sections = receipt.read(folder / "train", "train").settings
    settings = Settings(**{name: config.build_section(name, values) for name, values in sections.items()})
    corpus, _ = receipt.require(settings, corpus=folder / "corpus", features=folder / "features")
    return Build(folder, settings, corpus)


def inputs_of(run: Run, build: Build) -> dict[str, str]:
    """Digests of all that a run's figures depend on, but for its seed."""
    settings = _settings_of(dataclasses.replace(run, seed=0), build)
    # The section `model` is of our network alone.
    sections = ("audio", "features", "augment", "train", *(["model"] if run.name == OURS else []))
    content = {
        "formats": [FORMAT, *(receipt.STAGES[stage].format for stage in ("features", "train"))],
        **{name: settings.section(name) for name in sections},
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return {"corpus": build.corpus.digest, "settings": digest}


def read(path: Path) -> tuple[Run, dict[str, Any]]:
    """A result file.

    Raises
    ------
    PipelineError
        If it is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Run(content["name"], content["recipe"], content["seed"]), content
    except (ValueError, TypeError, KeyError) as error:
        raise PipelineError(f"{path}: no result of a run ({error!r}); delete it") from None


def make(run: Run, build: Build, results: Path) -> dict[str, Any]:
    """Train, score, and write `results/<run>.json`; what an interrupted run had finished is taken up.

    The trained network is deleted: what it was made by is code too, which no receipt knows.
    """
    settings, folder = _settings_of(run, build), build.work / "train" / str(run)
    examples = _features_of(run, build, settings)
    if not _is_made(settings, features=examples, train=folder):
        tf_keras.backend.clear_session()  # of the networks trained before in this process
        architecture = partial(model.build, settings.model) if run.name == OURS else PEERS[run.name].architecture
        optimizer = train.adamw if run.recipe == OURS else PEERS[run.name].published.optimizer
        train.train_network(settings, examples, folder, architecture, optimizer)
    result = {**dataclasses.asdict(run), "inputs": inputs_of(run, build), **_figures(run, settings, examples, folder)}
    _write_whole(results / f"{run}.json", json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    shutil.rmtree(folder)
    return result


# --- parts ---


def _settings_of(run: Run, build: Build) -> Settings:
    """The build's settings, or those of a paper for the build's clips."""
    settings = build.settings
    if run.recipe == PUBLISHED:
        clips = {name: settings.section(name) for name in ("audio", "corpus")}
        settings = config.load(PEERS[run.name].published.path, **clips)
    return dataclasses.replace(settings, train=dataclasses.replace(settings.train, seed=run.seed))


def _features_of(run: Run, build: Build, settings: Settings) -> Path:
    """Folder of the features that a recipe asks for; made where they aren't there."""
    if run.recipe == OURS:
        return build.folder / "features"
    folder = build.work / "features" / PEERS[run.name].published.settings
    if not _is_made(settings, corpus=build.folder / "corpus", features=folder):
        log.info("%s: %s", folder, features.run(settings, build.folder / "corpus", folder))
    return folder


def _is_made(settings: Settings, **folders: Path) -> bool:
    try:
        receipt.require(settings, **folders)
    except StaleInput:
        return False
    return True


def _figures(run: Run, settings: Settings, examples: Path, folder: Path) -> dict[str, Any]:
    """All that the tables show. The test split is looked at here, and nowhere else."""
    network = model.load(folder / train.MODEL)
    clips, index = shards.read(examples / manifest.TESTING).originals()
    found = network.predict(clips, batch_size=256, verbose=0).argmax(axis=1)
    history = train.read_history(folder)
    best = history[train.best_epoch(history)]
    files = in_fresh_process(
        multiprocessing.get_context("spawn"), _BROKEN_OFF, _convert, folder / train.MODEL, examples, run.seed
    )
    published = PEERS[run.name].published if run.recipe == PUBLISHED else None
    return {
        "labels": manifest.read_labels(examples),
        "clips": {"validation": len(shards.read(examples / manifest.VALIDATION).index), "testing": len(clips)},
        "windows": len(shards.read(examples / manifest.TRAINING).index),
        "epochs": len(history),
        "epochs_at_most": settings.train.epochs,
        "published": [published.epochs, published.clips] if published else None,
        "validation_accuracy": best["val_accuracy"],
        "test_accuracy": float((found == index[:, shards.LABEL]).mean()),
        "parameters": parameters(network),
        "bytes": {name: len(content) for name, content in files.items()},
        "latency_ms": evaluate.latency_ms(Network(files["float"], str(run)), list(clips)),
        "training_s": sum(epoch["seconds"] for epoch in history),
        "cpu": cpu(),
    }


def parameters(network: tf_keras.Model) -> int:
    """Number of the weights that training changes."""
    return sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)


def _convert(path: Path, examples: Path, seed: int) -> dict[str, bytes]:
    """The files that take MFCC, as the stage `export` makes them."""
    network, training = model.load(path), shards.read(examples / manifest.TRAINING)
    mean, std = shards.read_normaliser(examples)
    originals = np.flatnonzero(training.index[:, shards.COPY] == 0)
    rows = np.random.default_rng(seed).permutation(originals)[:_CALIBRATION_CLIPS]
    calibration = (batches.gather(training.mfcc, rows) - mean) / std
    return {
        "float": convert.to_float(network),
        "dynamic": convert.to_dynamic_range(network),
        "int8": convert.to_int8(model.after_normaliser(network), calibration),
    }


def _write_whole(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(content, encoding="utf-8")
    part.rename(path)
