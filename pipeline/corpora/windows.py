"""Windows of sound as the network takes them: clips, their changed copies, windows of no word; and the MFCC of all."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from pipeline.config import SILENCE, TALK, UNKNOWN, Audio, Augment, Settings
from pipeline.corpora import manifest, shards
from pipeline.corpora.augment import augment, fragment, piece
from pipeline.corpora.manifest import Clip
from pipeline.device.audio import Samples
from pipeline.device.mfcc import mfcc

BATCH_CLIPS = 64  # decoded, or transformed, at a time: what bounds a worker's memory

Batch = dict[int, Samples]  # the manifest's number of a clip → its sound
Row = tuple[int, int, int]  # number of the label, of the clip, of the copy


@dataclass(frozen=True)
class Shard:
    """What a worker needs to make one file, so that it reads no manifest, which may have millions of rows.

    Clips of the training split get changed copies and windows of no word.
    """

    corpus: Path
    split: str
    number: int
    clips: Mapping[int, Clip]  # by their numbers in the manifest
    pieces: Mapping[int, int]  # how many windows are cut from each sentence of talk among them
    noise: tuple[Clip, ...]  # recordings to mix into the copies


def make(shard: Shard, work: Path, settings: Settings) -> None:
    """Write a shard into the folder of its split in `work`; one that is there was made by a worker that got lost."""
    if shards.is_finished(work / shard.split, shard.number):
        return
    # A matrix product is summed in another order by another number of threads, and its last bit would differ.
    with _matrix_threads().limit(limits=1):
        rows = {n: _rows(n, shard, settings) for n in shard.clips}
        index = np.array(list(itertools.chain.from_iterable(rows.values())), np.int32)
        shards.write(work / shard.split, shard.number, index, _features(rows, shard, settings))


@functools.cache
def _matrix_threads() -> ThreadpoolController:
    """Those of NumPy's matrix products; to look for them anew for each shard would take as long as ten clips."""
    return ThreadpoolController()


def _rows(n: int, shard: Shard, settings: Settings) -> list[Row]:
    """What is made of a clip: itself and, for training, its changed copies and then windows of no word."""
    clip, numbers = shard.clips[n], _numbers(shard.corpus)
    is_talk, unknown = clip.label == TALK, numbers[UNKNOWN]
    own = [] if is_talk else [(numbers[clip.label], n, 0)]
    if shard.split != manifest.TRAINING:
        return own
    copies = _copies(clip, settings)
    others = {SILENCE: 0, TALK: shard.pieces.get(n, 0)}.get(clip.label, settings.augment.fragments)
    changed = [(numbers[clip.label], n, copy) for copy in range(1, copies + 1)]
    return own + changed + [(unknown, n, copy) for copy in range(copies + 1, copies + others + 1)]


def _features(rows: Mapping[int, list[Row]], shard: Shard, settings: Settings) -> Iterator[NDArray[np.float32]]:
    """MFCC of all rows in their order, a batch at a time."""
    numbers = list(shard.clips)
    for start in range(0, len(numbers), BATCH_CLIPS):
        batch = _read_batch(shard, numbers[start : start + BATCH_CLIPS], settings)
        windows = (_window(row, batch, shard, settings) for n in batch for row in rows[n])
        while some := list(itertools.islice(windows, BATCH_CLIPS)):
            yield mfcc(np.stack(some), audio=settings.audio, features=settings.features)


def _read_batch(shard: Shard, numbers: Sequence[int], settings: Settings) -> Batch:
    """Sound by the number of its clip: a sentence of talk as it is, everything else as one window."""
    rate_hz = settings.audio.sample_rate_hz
    return {
        n: manifest.sound(shard.corpus, shard.clips[n], rate_hz)
        if shard.clips[n].label == TALK
        else manifest.window(shard.corpus, shard.clips[n], settings.audio)
        for n in numbers
    }


def _window(row: Row, batch: Batch, shard: Shard, settings: Settings) -> Samples:
    """The window of a row; the seed of one that is changed comes from the clip's content."""
    _, n, copy = row
    if copy == 0:
        return batch[n]
    clip, sound, changes = shard.clips[n], settings.audio, settings.augment
    generator = np.random.default_rng([changes.seed, copy - 1, int(clip.sha256[:16], 16)])
    window = batch[n]
    if copy > _copies(clip, settings):
        window = _no_word(n, batch, shard, sound, generator)
        changes = _in_place(changes)
    noise = _read_noise(shard.corpus, shard.noise, sound.sample_rate_hz)
    return augment(window, audio=sound, settings=changes, noise=noise, generator=generator)


def _copies(clip: Clip, settings: Settings) -> int:
    return 0 if clip.label == TALK else settings.augment.copies


@functools.lru_cache(maxsize=1)
def _in_place(changes: Augment) -> Augment:
    """Without those that move a window: what its edge cuts off must stay there."""
    return dataclasses.replace(changes, shift_ms=0, speed_percent=0.0)


def _no_word(n: int, batch: Batch, shard: Shard, audio: Audio, generator: Generator) -> Samples:
    """A window from a sentence, or one between a word and another of the batch."""
    if shard.clips[n].label == TALK:
        return piece(batch[n], audio, generator)
    words = [m for m in batch if shard.clips[m].label not in (SILENCE, TALK)]
    return fragment(batch[n], batch[words[int(generator.integers(len(words)))]], audio, generator)


@functools.lru_cache(maxsize=1)
def _numbers(corpus: Path) -> dict[str, int]:
    """Label → number."""
    return {label: n for n, label in enumerate(manifest.read_labels(corpus))}


@functools.lru_cache(maxsize=1)
def _read_noise(corpus: Path, recordings: tuple[Clip, ...], sample_rate_hz: int) -> list[Samples]:
    return [manifest.sound(corpus, clip, sample_rate_hz) for clip in recordings]
