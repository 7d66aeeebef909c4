"""Model to TFLite files, their description, and golden clips with the scores that each file must give."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import pipeline
from pipeline import receipt
from pipeline.config import Settings
from pipeline.corpora import manifest, shards
from pipeline.corpora.process import in_fresh_process
from pipeline.device import audio, metadata
from pipeline.device.bundle import EXPORTED, GOLDEN, GOLDEN_SCORES, open_network
from pipeline.device.interpreter import MFCC, WAVEFORM, Normaliser
from pipeline.device.metadata import Metadata
from pipeline.device.mfcc import mfcc
from pipeline.device.recognizer import DEFAULT_FILE
from pipeline.errors import PipelineError
from pipeline.network import convert, model, waveform
from pipeline.network.engine import tf_keras


@dataclass(frozen=True)
class File:
    """What a file takes, and how far its scores may be from the golden ones in another runtime.

    Where only weights are quantised, sums still are in float. Where activations are too, a sum in another order may be
    rounded the other way.
    """

    takes: str
    tolerance: float
    normalised_outside: bool = False


PHONE, PHONE_FLOAT = DEFAULT_FILE, "commands_float.tflite"
FLOAT, DYNAMIC, INT8 = (f"commands_features_{kind}.tflite" for kind in ("float", "dynamic", "int8"))
FILES = {
    PHONE: File(WAVEFORM, 5e-3),
    PHONE_FLOAT: File(WAVEFORM, 1e-4),
    FLOAT: File(MFCC, 1e-4),
    DYNAMIC: File(MFCC, 2e-2),
    INT8: File(MFCC, 2e-2, normalised_outside=True),
}
# How far a float file may be from Keras; both compute in float32, in another order.
_FLOAT_TOLERANCE = 1e-3
BROKEN_OFF = "the TFLite converter broke off; is the disk full, or the folder for temporary files? run: make export"


def run(settings: Settings, corpus: Path, features: Path, quantize: Path, out: Path) -> str:
    """Convert, describe, and record what every file says of a few clips of the validation split."""
    inputs = receipt.require(settings, corpus=corpus, features=features, quantize=quantize)
    with receipt.making(out, "export", settings, inputs) as work:
        normaliser, labels = shards.read_normaliser(features), manifest.read_labels(quantize)
        # Where the converter can't write, as in a full folder for temporary files, it ends the process it runs in.
        context = multiprocessing.get_context("spawn")
        contents = in_fresh_process(context, BROKEN_OFF, _convert, quantize, normaliser, settings)
        contents[PHONE] = waveform.with_int8_weights(contents[PHONE_FLOAT])
        about = manifest.read_about(corpus)
        packed = _metadata(labels, about, settings)
        for name, content in contents.items():
            takes_sound = FILES[name].takes == WAVEFORM
            (work / name).write_bytes(metadata.pack(content, packed) if takes_sound else content)
        shutil.copy(quantize / manifest.LABELS, work)
        description = _describe(settings, labels, normaliser, about)
        _write_json(work / EXPORTED, description, indent=1)
        clips = _golden(corpus, work, description, settings)
        tolerance = {name: file.tolerance for name, file in FILES.items()}
        _write_json(work / GOLDEN_SCORES, {"tolerance": tolerance, "clips": clips})
        _check_float(model.load(quantize / "model.keras"), clips)
    return ", ".join(f"{name} {(out / name).stat().st_size / 1e3:.0f} kB" for name in FILES)


def _write_json(path: Path, content: dict[str, Any], indent: int | None = None) -> None:
    path.write_text(json.dumps(content, indent=indent, ensure_ascii=False), encoding="utf-8")


def _convert(quantize: Path, normaliser: Normaliser, settings: Settings) -> dict[str, bytes]:
    network, (mean, std) = model.load(quantize / "model.keras"), normaliser
    calibration = (np.load(quantize / "calibration.npy", allow_pickle=False) - mean) / std
    return {
        PHONE_FLOAT: waveform.to_waveform(network, settings.audio, settings.features),
        FLOAT: convert.to_float(network),
        DYNAMIC: convert.to_dynamic_range(network),
        INT8: convert.to_int8(model.after_normaliser(network), calibration),
    }


def _metadata(labels: list[str], about: dict[str, Any], settings: Settings) -> Metadata:
    """What the files for phones say of themselves, to readers that know nothing of this project."""
    return Metadata(
        name="Speech commands",
        description="A score for each label, for one window of sound; MODEL_CARD.md beside the file says more",
        version=pipeline.__version__,
        license=f"That of the model is for its maker to say; that of the data: {about['licence']}",
        sample_rate_hz=settings.audio.sample_rate_hz,
        channels=1,
        labels=tuple(labels),
    )


def _describe(settings: Settings, labels: list[str], normaliser: Normaliser, about: dict[str, Any]) -> dict[str, Any]:
    """What a reader of the files must know, and whatever else of it is in the settings stays there."""
    return {
        "labels": labels,
        "language": about["language"],
        "pronunciations": about["pronunciations"],
        "audio": settings.section("audio"),
        "features": settings.section("features"),
        "normaliser": {"mean": normaliser[0].tolist(), "std": normaliser[1].tolist()},
        "files": {
            name: {"takes": file.takes, "normalised_outside": file.normalised_outside} for name, file in FILES.items()
        },
    }


def _golden(corpus: Path, work: Path, description: dict[str, Any], settings: Settings) -> list[dict[str, Any]]:
    """The first validation clip of each label: its sound, its MFCC, and the scores of each file."""
    (work / GOLDEN).mkdir(exist_ok=True)
    networks = {name: open_network(work, name, description) for name in FILES}
    rate_hz = settings.audio.sample_rate_hz
    golden = []
    for number, clip in enumerate(_one_of_each(corpus, description["labels"])):
        path = work / GOLDEN / f"{number:02d}.wav"
        audio.write(path, manifest.window(corpus, clip, settings.audio), rate_hz)
        samples = audio.read(path, rate_hz)
        coefficients = mfcc(samples, audio=settings.audio, features=settings.features)
        inputs = {WAVEFORM: samples, MFCC: coefficients}
        scores = {name: network.scores(inputs[network.takes]).tolist() for name, network in networks.items()}
        golden.append({"file": path.name, "label": clip.label, "mfcc": coefficients.tolist(), "scores": scores})
    return golden


def _one_of_each(corpus: Path, labels: list[str]) -> list[manifest.Clip]:
    clips = manifest.examples(manifest.read(corpus), manifest.VALIDATION)
    first = {clip.label: clip for clip in reversed(clips)}
    return [first[label] for label in labels if label in first]


def _check_float(network: tf_keras.Model, golden: list[dict[str, Any]]) -> None:
    """The same clips through Keras: a float file that differs was converted wrongly."""
    expected = network.predict(np.array([clip["mfcc"] for clip in golden], np.float32), verbose=0)
    for name in (PHONE_FLOAT, FLOAT):
        difference = np.abs(expected - np.array([clip["scores"][name] for clip in golden])).max()
        if not difference <= _FLOAT_TOLERANCE:  # true for NaN too
            raise PipelineError(f"{name} differs from the Keras model by {difference:.2g}; it was not exported")
