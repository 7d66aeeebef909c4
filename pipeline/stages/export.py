"""Model to TFLite files, their description, and golden clips with the scores that each file must give."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import receipt
from pipeline.config import BACKGROUND_NOISE, Settings
from pipeline.corpora import manifest, shards
from pipeline.corpora.process import in_fresh_process
from pipeline.device import audio
from pipeline.device.mfcc import mfcc
from pipeline.device.recognizer import Normaliser, open_network
from pipeline.errors import PipelineError
from pipeline.network import convert, model
from pipeline.network.engine import tf_keras

DESCRIPTION = "description.json"
GOLDEN = "golden"
FLOAT, DYNAMIC, INT8 = (f"commands_features_{kind}.tflite" for kind in ("float", "dynamic", "int8"))

# Whether the normaliser is to be applied before the file, for each file.
FILES = {FLOAT: False, DYNAMIC: False, INT8: True}
# How far the float file may be from Keras; both compute in float32, in another order.
_FLOAT_TOLERANCE = 1e-3
BROKEN_OFF = "the TFLite converter broke off; is the disk full, or the folder for temporary files? run: make export"


def run(settings: Settings, corpus: Path, features: Path, quantize: Path, out: Path) -> str:
    """Convert, describe, and record what every file says of a few clips of the validation split."""
    inputs = receipt.require(settings, corpus=corpus, features=features, quantize=quantize)
    with receipt.making(out, "export", settings, inputs) as work:
        normaliser = shards.read_normaliser(features)
        # Where the converter can't write, as in a full folder for temporary files, it ends the process it runs in.
        in_fresh_process(multiprocessing.get_context("spawn"), BROKEN_OFF, _convert, quantize, work, normaliser)
        shutil.copy(quantize / manifest.LABELS, work)
        description = _describe(settings, manifest.read_labels(quantize), normaliser)
        (work / DESCRIPTION).write_text(json.dumps(description, indent=1, ensure_ascii=False), encoding="utf-8")
        golden = _golden(corpus, work, description, settings)
        (work / GOLDEN / "golden.json").write_text(json.dumps({"clips": golden}, ensure_ascii=False), encoding="utf-8")
        _check_float(model.load(quantize / "model.keras"), golden)
    return ", ".join(f"{name} {(out / name).stat().st_size / 1e3:.0f} kB" for name in FILES)


def _convert(quantize: Path, work: Path, normaliser: Normaliser) -> None:
    network, (mean, std) = model.load(quantize / "model.keras"), normaliser
    calibration = (np.load(quantize / "calibration.npy", allow_pickle=False) - mean) / std
    (work / FLOAT).write_bytes(convert.to_float(network))
    (work / DYNAMIC).write_bytes(convert.to_dynamic_range(network))
    (work / INT8).write_bytes(convert.to_int8(model.after_normaliser(network), calibration))


def _describe(settings: Settings, labels: list[str], normaliser: Normaliser) -> dict[str, Any]:
    """What a reader of the files must know, and whatever else of it is in the settings stays there."""
    return {
        "labels": labels,
        "audio": settings.section("audio"),
        "features": settings.section("features"),
        "normaliser": {"mean": normaliser[0].tolist(), "std": normaliser[1].tolist()},
        "files": {name: {"input": "mfcc", "normalised_outside": outside} for name, outside in FILES.items()},
    }


def _golden(corpus: Path, work: Path, description: dict[str, Any], settings: Settings) -> list[dict[str, Any]]:
    """The first validation clip of each label: its sound, its MFCC, and the scores of each file."""
    (work / GOLDEN).mkdir(exist_ok=True)
    networks = {name: open_network(work, name, description) for name in FILES}
    rate_hz = settings.audio.sample_rate_hz
    golden = []
    for number, clip in enumerate(_one_of_each(corpus, description["labels"])):
        path = work / GOLDEN / f"{number:02d}.wav"
        samples = audio.decode(manifest.content(corpus, clip), rate_hz)
        audio.write(path, audio.fit(samples, settings.audio.clip_samples), rate_hz)
        coefficients = mfcc(audio.read(path, rate_hz), audio=settings.audio, features=settings.features)
        scores = {name: network.scores(coefficients).tolist() for name, network in networks.items()}
        golden.append({"file": path.name, "label": clip.label, "mfcc": coefficients.tolist(), "scores": scores})
    return golden


def _one_of_each(corpus: Path, labels: list[str]) -> list[manifest.Clip]:
    clips = [
        clip for clip in manifest.read(corpus) if clip.split == manifest.VALIDATION and clip.label != BACKGROUND_NOISE
    ]
    first = {clip.label: clip for clip in reversed(clips)}
    return [first[label] for label in labels if label in first]


def _check_float(network: tf_keras.Model, golden: list[dict[str, Any]]) -> None:
    """The same clips through Keras: a float file that differs was converted wrongly."""
    expected = network.predict(np.array([clip["mfcc"] for clip in golden], np.float32), verbose=0)
    difference = np.abs(expected - np.array([clip["scores"][FLOAT] for clip in golden])).max()
    if not difference <= _FLOAT_TOLERANCE:  # true for NaN too
        raise PipelineError(f"{FLOAT} differs from the Keras model by {difference:.2g}; it was not exported")
