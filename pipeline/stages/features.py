"""Clips to MFCC: shards for each split; for training changed copies too, and windows of no word; the normaliser."""

from __future__ import annotations

import logging
import shutil
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from pipeline import receipt
from pipeline.config import BACKGROUND_NOISE, SILENCE, TALK, Settings
from pipeline.corpora import cluster, manifest, shards, windows
from pipeline.corpora.manifest import TRAINING, Clip
from pipeline.corpora.windows import Shard

_SUMMED_ROWS = 512  # at a time

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """A shard to be made: the manifest's numbers of its clips, which take less memory than the clips."""

    split: str
    number: int
    clips: NDArray[np.int32]


@dataclass(frozen=True)
class Plan:
    """What is to be made of a corpus, which may have millions of clips."""

    corpus: Path
    parts: list[Part]
    places: Sequence[int]  # of each clip's row in the manifest
    pieces: dict[int, int]  # windows cut from each sentence of the training split
    noise: tuple[Clip, ...]  # of the training split

    def shard(self, part: Part) -> Shard:
        clips = manifest.read_at(self.corpus, (self.places[n] for n in part.clips))
        numbered = dict(zip(part.clips.tolist(), clips, strict=True))
        pieces = {n: self.pieces[n] for n in numbered if n in self.pieces}
        return Shard(self.corpus, part.split, part.number, numbered, pieces, self.noise)


def run(settings: Settings, corpus: Path, out: Path, address: str = "") -> str:
    """Extract the features of every split; finished shards of an interrupted run are kept.

    Parameters
    ----------
    address
        Of a cluster's scheduler, see `cluster.workers`; what is made is the same.
    """
    inputs = receipt.require(settings, corpus=corpus)
    with receipt.making(out.absolute(), "features", settings, inputs) as work:
        plan = make_plan(corpus.absolute(), settings)
        pending = [part for part in plan.parts if not shards.is_finished(work / part.split, part.number)]
        if len(pending) < len(plan.parts):
            log.info("%d of %d shards were finished before", len(plan.parts) - len(pending), len(plan.parts))
        if pending:
            with cluster.workers(address) as count:
                _make_all(map(plan.shard, pending), len(pending), work, settings, min(count, len(pending)))
        shards.forget_unfinished(work)
        shards.write_normaliser(work, *_normaliser(shards.files(work / TRAINING)))
        shutil.copy(corpus / manifest.LABELS, work)
        rows = {split: sum(shards.rows(work / split)) for split in sorted({part.split for part in plan.parts})}
    shape = f"{settings.features.frames(settings.audio)} frames of {settings.features.n_mfcc} coefficients"
    return ", ".join(f"{split} {count:,}" for split, count in rows.items()) + f" examples; each {shape}"


def make_plan(corpus: Path, settings: Settings) -> Plan:
    """Divide each split into shards; training clips in seeded random order, so that every shard is a mixture."""
    places, sentences, noise, words = array("q"), [], [], 0
    examples: defaultdict[str, array[int]] = defaultdict(partial(array, "i"))
    for n, (place, clip) in enumerate(manifest.scan(corpus)):
        places.append(place)
        if manifest.is_example(clip):
            examples[clip.split].append(n)
            words += clip.split == TRAINING and clip.label != SILENCE
        elif clip.split == TRAINING:
            if clip.label == TALK:
                sentences.append(n)
            if clip.label == BACKGROUND_NOISE:
                noise.append(clip)
    pieces = _pieces(sentences, words, settings)
    examples[TRAINING].extend(pieces)
    parts = []
    for split, numbers in sorted(examples.items()):
        order = np.array(numbers, np.int32)
        if split == TRAINING:
            np.random.default_rng(settings.augment.seed).shuffle(order)
        size = settings.features.shard_clips
        parts += [Part(split, n, order[start : start + size]) for n, start in enumerate(range(0, len(order), size))]
    return Plan(corpus, parts, places, pieces, tuple(noise))


def _pieces(sentences: Sequence[int], words: int, settings: Settings) -> dict[int, int]:
    """How many windows are cut from each sentence: `augment.talk_percent` of words and their copies in all."""
    total = round(words * (1 + settings.augment.copies) * settings.augment.talk_percent / 100)
    counts = {n: (total + place) // len(sentences) for place, n in enumerate(sentences)}
    return {n: count for n, count in counts.items() if count}


def _make_all(pending: Iterable[Shard], count: int, work: Path, settings: Settings, workers: int) -> None:
    log.info("librosa starts; its first use in a new environment compiles for half a minute")
    # One shard at a time, so that little is lost with a worker.
    parallel = joblib.Parallel(n_jobs=workers, batch_size=1, return_as="generator_unordered")
    done = parallel(joblib.delayed(windows.make)(shard, work, settings) for shard in pending)
    for _ in track(done, "features", total=count, console=Console(stderr=True)):
        pass


def _normaliser(training: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation `(n_mfcc,)` of every coefficient over the training split."""
    count = sum(rows.shape[0] * rows.shape[1] for rows in _few(training))
    mean = sum(rows.sum(axis=(0, 1), dtype=np.float64) for rows in _few(training)) / count
    variance = sum(np.square(rows - mean).sum(axis=(0, 1)) for rows in _few(training)) / count
    return mean, np.sqrt(variance)


def _few(parts: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """So many rows of an array at a time that sums in double precision take little memory."""
    for part in parts:
        yield from (part[start : start + _SUMMED_ROWS] for start in range(0, len(part), _SUMMED_ROWS))
