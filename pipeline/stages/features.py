"""Clips to MFCC: shards for each split, augmented copies for training, and the normaliser."""

from __future__ import annotations

import functools
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from threadpoolctl import threadpool_limits

from pipeline import receipt
from pipeline.config import BACKGROUND_NOISE, Settings
from pipeline.corpora import manifest, shards
from pipeline.corpora.augment import augment
from pipeline.device.audio import Samples, decode
from pipeline.device.mfcc import mfcc

_BATCH_CLIPS = 64  # decoded at a time: what bounds a worker's memory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """What a worker needs to make one file; `clips` are the manifest's numbers of its clips."""

    corpus: Path
    split: str
    number: int
    clips: list[int]


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
    done = parallel(joblib.delayed(_make)(shard, work, settings) for shard in pending)
    for _ in track(done, "features", total=len(pending), console=Console(stderr=True)):
        pass


def _make(shard: Shard, work: Path, settings: Settings) -> None:
    # A matrix product is summed in another order by another number of threads, and its last bit would differ.
    with threadpool_limits(1):
        _make_on_one_thread(shard, work, settings)


def _make_on_one_thread(shard: Shard, work: Path, settings: Settings) -> None:
    clips, numbers = _read_corpus(shard.corpus)
    copies = settings.augment.copies if shard.split == manifest.TRAINING else 0
    noise = _read_noise(shard.corpus, settings.audio.sample_rate_hz) if copies else []
    parts = []
    for start in range(0, len(shard.clips), _BATCH_CLIPS):
        batch = [clips[n] for n in shard.clips[start : start + _BATCH_CLIPS]]
        windows = [window for clip in batch for window in _windows(shard.corpus, clip, copies, noise, settings)]
        parts.append(mfcc(np.stack(windows), audio=settings.audio, features=settings.features))
    index = [(numbers[clips[n].label], n, copy) for n in shard.clips for copy in range(1 + copies)]
    shards.write(work / shard.split, shard.number, np.concatenate(parts), np.array(index, np.int32))


def _windows(
    corpus: Path, clip: manifest.Clip, copies: int, noise: Sequence[Samples], settings: Settings
) -> Iterator[Samples]:
    """The clip, then its copies. The seed comes from the clip's content: no other clip and no worker changes it."""
    window = manifest.window(corpus, clip, settings.audio)
    yield window
    for copy in range(copies):
        generator = np.random.default_rng([settings.augment.seed, copy, int(clip.sha256[:16], 16)])
        yield augment(window, audio=settings.audio, settings=settings.augment, noise=noise, generator=generator)


@functools.lru_cache(maxsize=1)
def _read_corpus(corpus: Path) -> tuple[list[manifest.Clip], dict[str, int]]:
    """The manifest, and label → number; read once by each worker."""
    return manifest.read(corpus), {label: n for n, label in enumerate(manifest.read_labels(corpus))}


@functools.lru_cache(maxsize=1)
def _read_noise(corpus: Path, sample_rate_hz: int) -> list[Samples]:
    clips, _ = _read_corpus(corpus)
    chosen = [clip for clip in clips if clip.label == BACKGROUND_NOISE and clip.split == manifest.TRAINING]
    return [decode(manifest.content(corpus, clip), sample_rate_hz) for clip in chosen]


def _normaliser(training: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation `(n_mfcc,)` of every coefficient over the training split."""
    count = sum(part.shape[0] * part.shape[1] for part in training)
    mean = sum(part.sum(axis=(0, 1), dtype=np.float64) for part in training) / count
    variance = sum(np.square(part - mean, dtype=np.float64).sum(axis=(0, 1)) for part in training) / count
    return mean, np.sqrt(variance)
