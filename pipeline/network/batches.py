"""Shards to training batches: shuffled and changed anew in each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.config import Features, Train
from pipeline.network import warp
from pipeline.network.engine import tf

POOL_ROWS = 500_000  # that are shuffled together; 4 GB of features as they are by default

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]


def training(
    mfcc: Sequence[NDArray[np.float32]],
    labels: NDArray[np.int32],
    mean: NDArray,
    *,
    classes: int,
    settings: Train,
    features: Features,
    first_epoch: int = 0,
    every: NDArray[np.int64] | None = None,
    others: int = 0,
) -> tf.data.Dataset:
    """Batches of one epoch, then of the next each time the dataset is gone through again.

    Parameters
    ----------
    mfcc
        Memory-mapped shards, each float32 `(rows, frames, n_mfcc)`. Where they hold more rows than `POOL_ROWS`, an
        epoch goes through some of them at a time, so that the rows it takes in turn fit into memory.
    labels
        int32 `(all rows,)`.
    mean
        `(n_mfcc,)`, put in the place of what is hidden.
    first_epoch
        Number of the epoch to begin with: the order of examples depends on it and on the seed alone.
    every
        Numbers of the rows that each epoch has; besides these it has so many `others`, drawn anew. None: all rows.
    """
    epochs = iter(range(first_epoch, settings.epochs))
    voices = warp.voices(settings.warp_percent, features)

    def changed(batch: NDArray[np.float32], generator: Generator) -> NDArray[np.float32]:
        if settings.warp_percent:
            batch = warp.another_voice(batch, voices, generator)
        if settings.stretch_percent:
            batch = warp.another_tempo(batch, settings.stretch_percent, generator)
        return _hide(batch, mean, settings, generator)

    ends = _ends(mfcc)
    always = np.arange(len(labels)) if every is None else every
    rest = np.setdiff1d(np.arange(len(labels)), always)

    def rows_of_epoch(generator: Generator) -> NDArray[np.int64]:
        drawn = generator.choice(rest, others, replace=len(rest) < others) if others else rest[:0]
        return _shuffled(np.concatenate([always, drawn]), ends, generator)

    def batches() -> Iterator[Batch]:
        generator = np.random.default_rng([settings.seed, next(epochs)])
        order = rows_of_epoch(generator)
        for start in range(0, len(order), settings.batch_clips):
            rows = order[start : start + settings.batch_clips]
            yield changed(_gather(mfcc, ends, rows), generator), np.eye(classes, dtype=np.float32)[labels[rows]]

    count = math.ceil((len(always) + others) / settings.batch_clips)
    return _dataset(batches, mfcc[0].shape[1:], classes, count).prefetch(4)


def validation(
    mfcc: NDArray[np.float32], labels: NDArray[np.int32], *, classes: int, batch_clips: int
) -> tf.data.Dataset:
    """The clips in order: `(clips, frames, n_mfcc)` and `(clips,)`."""
    data = tf.data.Dataset.from_tensor_slices((mfcc, np.eye(classes, dtype=np.float32)[labels]))
    return data.batch(batch_clips).with_options(_options())


def _dataset(
    batches: Callable[[], Iterator[Batch]], shape: tuple[int, ...], classes: int, count: int
) -> tf.data.Dataset:
    signature = (tf.TensorSpec((None, *shape), tf.float32), tf.TensorSpec((None, classes), tf.float32))
    data = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return data.apply(tf.data.experimental.assert_cardinality(count)).with_options(_options())


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    # There is nothing to tune, and the end of an epoch waits for the tuner, which may sleep half as long as that took.
    options.autotune.enabled = False
    return options


def timed(data: tf.data.Dataset, waited_s: tf.Variable) -> tf.data.Dataset:
    """The same batches; to `waited_s` is added how long each took to come, once it was asked for."""
    clock = tf.data.Dataset.from_tensors(0).repeat().map(lambda _: tf.timestamp())

    def add(began: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor], ended: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        waited_s.assign_add(ended - began)
        return batch

    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False  # or the next is asked for before it is needed
    return tf.data.Dataset.zip((clock, data, clock)).map(add).with_options(options)


def gather(mfcc: Sequence[NDArray[np.float32]], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Rows `(n,)`, counted over all shards, as one new array `(n, frames, n_mfcc)`; only they are read."""
    return _gather(mfcc, _ends(mfcc), rows)


def _gather(
    mfcc: Sequence[NDArray[np.float32]], ends: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    shard = np.searchsorted(ends, rows, side="right")
    starts = np.concatenate([[0], ends])
    out = np.empty((len(rows), *mfcc[0].shape[1:]), np.float32)
    for number in np.unique(shard):
        chosen = shard == number
        out[chosen] = mfcc[number][rows[chosen] - starts[number]]
    return out


def _ends(mfcc: Sequence[NDArray[np.float32]]) -> NDArray[np.int64]:
    """For each shard how many rows it and those before it have."""
    return np.cumsum([len(part) for part in mfcc])


def _shuffled(rows: NDArray[np.int64], ends: NDArray[np.int64], generator: Generator) -> NDArray[np.int64]:
    """Rows in random order; of more than `POOL_ROWS` those of some shards first, then those of others."""
    pools = math.ceil(len(rows) / POOL_ROWS)
    order = generator.permutation(len(rows))
    if pools == 1:
        return rows[order]
    pool_of_shard = generator.permutation(len(ends)) % pools
    pool = pool_of_shard[np.searchsorted(ends, rows[order], side="right")]
    return rows[order[np.argsort(pool, kind="stable")]]


def _hide(batch: NDArray[np.float32], mean: NDArray, settings: Train, generator: Generator) -> NDArray[np.float32]:
    """Hide a run of frames and a run of coefficients of each example (Park et al. 2019, arXiv:1904.08779)."""
    for axis, longest in ((1, settings.mask_frames), (2, settings.mask_coefficients)):
        size = batch.shape[axis]
        width = generator.integers(0, min(longest, size), len(batch), endpoint=True)
        start = generator.integers(0, size - width, endpoint=True)
        place = np.arange(size)
        hidden = (place >= start[:, None]) & (place < (start + width)[:, None])
        batch = np.where(np.expand_dims(hidden, 3 - axis), mean.astype(np.float32), batch)
    return batch
