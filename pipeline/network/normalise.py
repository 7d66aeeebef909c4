"""What batch normalisation knows of the windows, once a network is trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.network import batches
from pipeline.network.engine import tf_keras

WINDOWS = 40_000  # at most, drawn from all
BATCH_WINDOWS = 256


def settle(network: tf_keras.Model, mfcc: Sequence[NDArray[np.float32]], rows: NDArray[np.int64], seed: int) -> None:
    """Give each batch normalisation the mean and the variance of windows as they are; nothing is learnt.

    In training they follow windows of which parts are hidden, and whose voices are warped; what has only heard
    synthetic voices then recognises fewer people (docs/own-words.md). Averages over batches, each normalised by its own
    statistics ("precise" ones in Wu & Johnson 2021, arXiv:2105.07576).

    Parameters
    ----------
    mfcc
        Memory-mapped shards, each float32 `(rows, frames, n_mfcc)`.
    rows
        Numbers of the windows, counted over all shards.
    seed
        Of which windows come together.
    """
    layers = [layer for layer in network.layers if isinstance(layer, tf_keras.layers.BatchNormalization)]
    if not layers:  # as in some networks that ours is compared with
        return
    front = tf_keras.Model(network.inputs, [layer.output for layer in layers])  # what comes after has no say in them
    momentum = [layer.momentum for layer in layers]
    drawn = np.random.default_rng(seed).permutation(rows)[:WINDOWS]
    for number in range(max(1, len(drawn) // BATCH_WINDOWS)):
        for layer in layers:
            layer.momentum = number / (number + 1)  # so that the moving average is the mean of all batches
        batch = drawn[number * BATCH_WINDOWS : (number + 1) * BATCH_WINDOWS]
        front(batches.gather(mfcc, batch), training=True)
    for layer, own in zip(layers, momentum, strict=True):
        layer.momentum = own
