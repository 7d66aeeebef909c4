"""Windows of sound as the network takes them: clips, their changed copies, windows of no word; and the MFCC of all."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pipeline.config import BACKGROUND_NOISE, SILENCE, TALK, UNKNOWN, Audio, Settings
from pipeline.corpora import manifest, shards
from pipeline.corpora.augment import augment, fragment, piece
from pipeline.device.audio import Samples
from pipeline.device.mfcc import mfcc

BATCH_CLIPS = 64  # decoded at a time: what bounds a worker's memory

Batch = dict[int, Samples]  # the manifest's number of a clip → its sound
Row = tuple[int, int, int]  # number of the label, of the clip, of the copy


@dataclass(frozen=True)
class Shard:
    """What a worker needs to make one file; `clips` are the manifest's numbers of its clips.

    Those of the training split get changed copies and windows of no word.
    """

    corpus: Path
    split: str
    number: int
    clips: list[int]


def make(shard: Shard, work: Path, settings: Settings) -> None:
    """Write a shard into the folder of its split in `work`."""
    # A matrix product is summed in another order by another number of threads, and its last bit would differ.
    with threadpool_limits(1):
        _make_on_one_thread(shard, work, settings)


def _make_on_one_thread(shard: Shard, work: Path, settings: Settings) -> None:
    parts: list[NDArray[np.float32]] = []
    index: list[Row] = []
    for start in range(0, len(shard.clips), BATCH_CLIPS):
        batch = _read_batch(shard.corpus, shard.clips[start : start + BATCH_CLIPS], settings)
        windows, rows = zip(*_examples(shard, batch, settings), strict=True)
        parts.append(mfcc(np.stack(windows), audio=settings.audio, features=settings.features))
        index += rows
    shards.write(work / shard.split, shard.number, np.concatenate(parts), np.array(index, np.int32))


def _read_batch(corpus: Path, numbers: Sequence[int], settings: Settings) -> Batch:
    """Sound by the number of its clip: a sentence of talk as it is, everything else as one window."""
    clips, _ = _read_corpus(corpus)
    rate_hz = settings.audio.sample_rate_hz
    return {
        n: manifest.sound(corpus, clips[n], rate_hz)
        if clips[n].label == TALK
        else manifest.window(corpus, clips[n], settings.audio)
        for n in numbers
    }


def _examples(shard: Shard, batch: Batch, settings: Settings) -> Iterator[tuple[Samples, Row]]:
    """Windows, and what each is: the clips themselves and, for training, what is made of them."""
    clips, numbers = _read_corpus(shard.corpus)
    for n, sound in batch.items():
        if clips[n].label != TALK:
            yield sound, (numbers[clips[n].label], n, 0)
        if shard.split == manifest.TRAINING:
            for copy, (window, label) in enumerate(_changed(shard.corpus, n, batch, settings), 1):
                yield window, (numbers[label], n, copy)


def _changed(corpus: Path, n: int, batch: Batch, settings: Settings) -> Iterator[tuple[Samples, str]]:
    """Changed copies of a clip, then windows of no word; the seed of each comes from the clip's content."""
    clips, _ = _read_corpus(corpus)
    clip, copied = clips[n], settings.augment
    in_place = dataclasses.replace(copied, shift_ms=0, speed_percent=0.0)  # what the edge cuts off must stay there
    noise = _read_noise(corpus, settings.audio.sample_rate_hz)
    copies = 0 if clip.label == TALK else copied.copies
    others = {SILENCE: 0, TALK: talk_windows(corpus, settings).get(n, 0)}.get(clip.label, copied.fragments)
    for copy in range(copies + others):
        generator = np.random.default_rng([copied.seed, copy, int(clip.sha256[:16], 16)])
        is_copy = copy < copies
        sound = batch[n] if is_copy else _no_word(clips, n, batch, settings.audio, generator)
        changes = copied if is_copy else in_place
        window = augment(sound, audio=settings.audio, settings=changes, noise=noise, generator=generator)
        yield window, clip.label if is_copy else UNKNOWN


def _no_word(clips: Sequence[manifest.Clip], n: int, batch: Batch, audio: Audio, generator: Generator) -> Samples:
    """A window from a sentence, or one between a word and another of the batch."""
    if clips[n].label == TALK:
        return piece(batch[n], audio, generator)
    words = [m for m in batch if clips[m].label not in (SILENCE, TALK)]
    return fragment(batch[n], batch[words[int(generator.integers(len(words)))]], audio, generator)


@functools.lru_cache(maxsize=1)
def _read_corpus(corpus: Path) -> tuple[list[manifest.Clip], dict[str, int]]:
    """The manifest, and label → number; read once by each worker."""
    return manifest.read(corpus), {label: n for n, label in enumerate(manifest.read_labels(corpus))}


@functools.lru_cache(maxsize=1)
def talk_windows(corpus: Path, settings: Settings) -> dict[int, int]:
    """How many windows are cut from each sentence of the training split: many enough for `augment.talk_percent`."""
    clips, _ = _read_corpus(corpus)
    words = sum(clip.label != SILENCE for clip in manifest.examples(clips, manifest.TRAINING))
    total = round(words * (1 + settings.augment.copies) * settings.augment.talk_percent / 100)
    sentences = [n for n, clip in enumerate(clips) if (clip.split, clip.label) == (manifest.TRAINING, TALK)]
    return {n: (total + place) // len(sentences) for place, n in enumerate(sentences)}


@functools.lru_cache(maxsize=1)
def _read_noise(corpus: Path, sample_rate_hz: int) -> list[Samples]:
    clips, _ = _read_corpus(corpus)
    chosen = manifest.recordings(clips, manifest.TRAINING, BACKGROUND_NOISE)
    return [manifest.sound(corpus, clip, sample_rate_hz) for clip in chosen]
