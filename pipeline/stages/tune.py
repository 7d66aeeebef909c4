"""A threshold for each keyword, chosen on validation clips only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from pipeline import receipt
from pipeline.config import SILENCE, UNKNOWN, Settings
from pipeline.corpora import manifest
from pipeline.device.bundle import EXPORTED, open_network
from pipeline.device.recognizer import DEFAULT_FILE

THRESHOLDS = "thresholds.json"


def run(settings: Settings, corpus: Path, export: Path, out: Path) -> str:
    """Let each keyword be taken for granted by at most the set share of validation clips that hold something else."""
    inputs = receipt.require(settings, corpus=corpus, export=export)
    with receipt.making(out, "tune", settings, inputs) as work:
        description = json.loads((export / EXPORTED).read_text(encoding="utf-8"))
        network, labels = open_network(export, DEFAULT_FILE, description), description["labels"]
        clips = manifest.examples(manifest.read(corpus), manifest.VALIDATION)
        progress = track(clips, "thresholds", console=Console(stderr=True))
        scores = np.stack([network.scores(manifest.window(corpus, clip, settings.audio)) for clip in progress])
        truth = np.array([labels.index(clip.label) for clip in clips], np.int32)
        found = thresholds(scores, truth, labels, settings.listen.false_accept_percent)
        (work / THRESHOLDS).write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")
    return "thresholds " + ", ".join(f"{word} {threshold:.2f}" for word, threshold in found.items())


def thresholds(
    scores: NDArray[np.float32], truth: NDArray[np.int32], labels: list[str], false_accept_percent: float
) -> dict[str, float]:
    """For each keyword the lowest score that no more than the given share of other clips is above.

    Parameters
    ----------
    scores
        `(clips, labels)`.
    truth
        `(clips,)`, numbers of the labels.
    """
    found = {}
    for number, label in enumerate(labels):
        if label not in (SILENCE, UNKNOWN):
            others = np.sort(scores[truth != number, number])[::-1]
            allowed = int(len(others) * false_accept_percent / 100)
            found[label] = float(others[allowed])
    return found
