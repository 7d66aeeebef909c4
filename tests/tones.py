"""A build of tones, as far as the benchmarks that train need it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import receipt
from pipeline.config import SILENCE, UNKNOWN, Audio, load
from pipeline.corpora import manifest
from pipeline.corpora.manifest import SPLITS, Clip, Found
from pipeline.device import audio
from pipeline.stages import features, train

RATE_HZ = Audio().sample_rate_hz
CLIPS = {SILENCE: 2, UNKNOWN: 2, "low": 4, "high": 4}  # in each split
PITCH_HZ = {UNKNOWN: 900, "low": 200, "high": 3_000}


def tone(pitch_hz: float, generator: np.random.Generator) -> np.ndarray:
    """A second of it, with a little noise."""
    time_s = np.arange(RATE_HZ) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * pitch_hz * time_s) + generator.normal(0, 0.01, RATE_HZ)).astype(np.float32)


def make_build(
    folder: Path,
    splits: Sequence[str] = SPLITS,
    *,
    train_by: Mapping[str, Any] | None = None,
    speaker_of: Callable[[int], str] = lambda take: "someone",
) -> Path:
    settings = load(
        corpus={"sentences": 0},
        augment={"copies": 1, "fragments": 0, "talk_percent": 0.0},
        model={"conv_filters": [4], "projection_units": 4, "lstm_units": [3], "attention_units": 2},
        train=train_by or {"epochs": 1},
    )
    generator, clips = np.random.default_rng(0), []
    with receipt.making(folder / "corpus", "corpus", settings) as work:
        for split in splits:
            for label, count in CLIPS.items():
                for take in range(count):
                    path = work / f"{split}-{label}-{take}.wav"
                    audio.write(path, tone(PITCH_HZ.get(label, 0), generator), RATE_HZ)
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    clips.append(Clip(path.name, label, speaker_of(take), split, "made", label, digest))
        manifest.write(work, clips, list(CLIPS))
        manifest.write_about(work, Found(("low", "high"), [], licence="none"))
    features.run(settings, folder / "corpus", folder / "features")
    train.run(settings, folder / "features", folder / "train")
    return folder
