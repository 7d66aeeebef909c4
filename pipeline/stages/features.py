"""Clips to MFCC: shards for each split; for training changed copies too, and windows of no word; the normaliser."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from pipeline import receipt
from pipeline.config import Settings
from pipeline.corpora import manifest, shards, windows
from pipeline.corpora.windows import Shard

log = logging.getLogger(__name__)


def run(settings: Settings, corpus: Path, out: Path) -> str:
    """Extract the features of every split; finished shards of an interrupted run are kept."""
    inputs = receipt.require(settings, corpus=corpus)
    with receipt.making(out, "features", settings, inputs) as work:
        plan = _plan(corpus, settings)
        pending = [shard for shard in plan if not shards.is_finished(work / shard.split, shard.number)]
        if len(pending) < len(plan):
            log.info("%d of %d shards were finished before", len(plan) - len(pending), len(plan))
        _make_all(pending, work, settings)
        shards.write_normaliser(work, *_normaliser(shards.read(work / manifest.TRAINING).mfcc))
        shutil.copy(corpus / manifest.LABELS, work)
        rows = {split: len(shards.read(work / split).index) for split in sorted({shard.split for shard in plan})}
    shape = f"{settings.features.frames(settings.audio)} frames of {settings.features.n_mfcc} coefficients"
    return ", ".join(f"{split} {count:,}" for split, count in rows.items()) + f" examples; each {shape}"


def _plan(corpus: Path, settings: Settings) -> list[Shard]:
    """Divide each split into shards; training clips in seeded random order, so that every shard is a mixture."""
    clips = manifest.read(corpus)
    numbered = {clip: number for number, clip in enumerate(clips)}
    plan = []
    for split in sorted({clip.split for clip in clips}):
        numbers = [numbered[clip] for clip in manifest.examples(clips, split)]
        if split == manifest.TRAINING:
            numbers += [n for n, count in windows.talk_windows(corpus, settings).items() if count]
            np.random.default_rng(settings.augment.seed).shuffle(numbers)
        size = settings.features.shard_clips
        starts = range(0, len(numbers), size)
        plan += [Shard(corpus, split, n, numbers[start : start + size]) for n, start in enumerate(starts)]
    return plan


def _make_all(pending: Sequence[Shard], work: Path, settings: Settings) -> None:
    workers = min(joblib.cpu_count(), len(pending))
    if not workers:
        return
    log.info("librosa starts; its first use in a new environment compiles for half a minute")
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")
    done = parallel(joblib.delayed(windows.make)(shard, work, settings) for shard in pending)
    for _ in track(done, "features", total=len(pending), console=Console(stderr=True)):
        pass


def _normaliser(training: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation `(n_mfcc,)` of every coefficient over the training split."""
    count = sum(part.shape[0] * part.shape[1] for part in training)
    mean = sum(part.sum(axis=(0, 1), dtype=np.float64) for part in training) / count
    variance = sum(np.square(part - mean, dtype=np.float64).sum(axis=(0, 1)) for part in training) / count
    return mean, np.sqrt(variance)
