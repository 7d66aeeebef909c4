"""Model to what is exported: pruned and clustered where the settings say so, its scores calibrated; clips for int8."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import shutil
from pathlib import Path

import numpy as np

from pipeline import receipt
from pipeline.config import MIN_CALIBRATION_CLIPS, Settings
from pipeline.corpora import manifest, shards
from pipeline.network import batches, calibrate, compress, model, normalise, tuning
from pipeline.network.engine import tf_keras

MODEL = "model.keras"
CALIBRATION = "calibration.npy"
CALIBRATION_CLIPS = "calibration.csv"

log = logging.getLogger(__name__)


def run(settings: Settings, corpus: Path, features: Path, train: Path, out: Path) -> str:
    """Choose clips to calibrate int8 with; prune and cluster the kernels if so set; calibrate the scores."""
    inputs = receipt.require(settings, corpus=corpus, features=features, train=train)
    quantize = settings.quantize
    with receipt.making(out, "quantize", settings, inputs) as work:
        tf_keras.utils.set_random_seed(quantize.seed)
        training = shards.read(features / manifest.TRAINING)
        chosen = _calibrate(training, manifest.read(corpus), work, settings)
        network = model.load(train / MODEL)
        if quantize.sparsity_percent:
            network = _compress(network, training, features, settings)
        temperature = _set_temperature(network, features)
        network.save(work / MODEL)
        (work / calibrate.TEMPERATURE).write_text(json.dumps(temperature), encoding="utf-8")
        shutil.copy(train / manifest.LABELS, work)
    smaller = f"kernels {quantize.sparsity_percent:g} % zeros and at most {quantize.clusters} values"
    kernels = smaller if quantize.sparsity_percent else "kernels as trained"
    return f"{chosen} calibration clips; {kernels}; temperature {temperature:.2f}"


def _set_temperature(network: tf_keras.Model, features: Path) -> float:
    """Calibrate the scores on the validation split."""
    held_out, index = shards.read(features / manifest.VALIDATION).originals()
    found = calibrate.temperature(network.predict(held_out, batch_size=256, verbose=0), index[:, shards.LABEL])
    calibrate.fold(network, found)
    return found


def _calibrate(training: shards.Shards, clips: list[manifest.Clip], work: Path, settings: Settings) -> int:
    """Draw clips of the training split, copies only where clips are too few; keep both their MFCC and their names."""
    index = training.index
    drawn = np.random.default_rng(settings.quantize.seed).permutation(len(index))
    rows = drawn[np.argsort(index[drawn, shards.COPY] > 0, kind="stable")][: settings.quantize.calibration_clips]
    if len(rows) < MIN_CALIBRATION_CLIPS:
        log.warning("only %d clips to calibrate int8 with; its figures may be poor", len(rows))
    np.save(work / CALIBRATION, batches.gather(training.mfcc, rows), allow_pickle=False)
    listed = [(clips[n].path, clips[n].label, copy) for _, n, copy in index[rows]]
    manifest.write_rows(work / CALIBRATION_CLIPS, ["path", "label", "copy"], listed)
    return len(rows)


def _compress(trained: tf_keras.Model, training: shards.Shards, features: Path, settings: Settings) -> tf_keras.Model:
    """Prune, then cluster, training on after each on the same examples."""
    quantize = settings.quantize
    after = dataclasses.replace(
        settings.train, epochs=quantize.epochs, seed=quantize.seed, learning_rate=quantize.learning_rate
    )
    mean, _ = shards.read_normaliser(features)
    steps = math.ceil(len(training.index) / after.batch_clips)

    def fit(network: tf_keras.Model, callbacks: list[tf_keras.callbacks.Callback]) -> None:
        labels, classes = training.index[:, shards.LABEL], trained.output_shape[-1]
        examples = batches.training(
            training.mfcc, labels, mean, classes=classes, settings=after, features=settings.features
        )
        tuning.train_on(network, examples, after, callbacks=callbacks)

    pruned = compress.prune(trained, fit, sparsity=quantize.sparsity_percent / 100, steps=steps * after.epochs)
    clustered = compress.share_weights(pruned, fit, clusters=quantize.clusters)
    if settings.hears_no_people:
        rows = training.unspliced(settings.augment.copies)
        normalise.settle(clustered, training.mfcc, rows, quantize.seed)
    return clustered
