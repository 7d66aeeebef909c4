"""The peers' networks, from raw MFCC `(batch, frames, n_mfcc)` to softmax scores `(batch, labels)`.

Each is written from its paper, and a test compares its number of parameters with the published one. Only what training
changes counts as a parameter, as in the papers: not the statistics of a normalisation, not a fixed transform.

All take what `pipeline.network.model.build` takes after its settings: `frames`, `n_mfcc`, `labels`, and the
normaliser's `mean` and `std`, each `(n_mfcc,)`. Their first layer is the normaliser, as it is in ours: the int8 file is
cut after it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SettingsError
from pipeline.network.engine import tf_keras
from pipeline.network.model import NORMALISED, log_mel

HELLO_EDGE_UNITS = 118
BANDS = 5  # in which BC-ResNet normalises frequencies apart
STRIDES = 8  # BC-ResNet's over frequency, all together
TORCH_NORM = {"momentum": 0.9, "epsilon": 1e-5}  # what PyTorch, in which BC-ResNet was written, does by default

layers = tf_keras.layers

Array = NDArray[np.float32]
Tensor = Any  # TensorFlow carries no usable types


def attention_rnn(*, frames: int, n_mfcc: int, labels: int, mean: Array, std: Array) -> tf_keras.Model:
    """Convolutions over time, two bidirectional LSTMs, and attention that the middle frame asks for.

    De Andrade et al. 2018, arXiv:1808.08929, section 3: "202K trainable parameters" (abstract); 201 k in the authors'
    README, which is for 36 labels and 80 mel bands. The paper normalises each clip's spectrogram by itself; here it is
    normalised over the training split.
    """
    inputs, x = _log_mel(frames, n_mfcc, mean, std)
    x = layers.Reshape((frames, n_mfcc, 1))(x)
    x = layers.BatchNormalization()(layers.Conv2D(10, (5, 1), padding="same", activation="relu")(x))
    x = layers.BatchNormalization()(layers.Conv2D(1, (5, 1), padding="same", activation="relu")(x))
    x = layers.Reshape((frames, n_mfcc))(x)
    for _ in range(2):
        x = layers.Bidirectional(layers.LSTM(64, return_sequences=True))(x)
    middle = layers.Flatten()(layers.Cropping1D((frames // 2, frames - frames // 2 - 1))(x))
    energy = layers.Dot(axes=(1, 2))([layers.Dense(128)(middle), x])
    summary = layers.Dot(axes=(1, 1))([layers.Softmax()(energy), x])
    return _classifier(inputs, layers.Dense(32)(layers.Dense(64, activation="relu")(summary)), labels)


def ds_cnn(*, frames: int, n_mfcc: int, labels: int, mean: Array, std: Array) -> tf_keras.Model:
    """Four blocks of depthwise separable convolutions.

    DS-CNN of Zhang et al. 2017, arXiv:1711.07128, in the form of MLPerf Tiny (Banbury et al. 2021, arXiv:2106.07597),
    keyword spotting, whose reference code it follows, dropout and the penalty on kernels included: 23,756 parameters
    for 49 × 10 MFCC and 12 labels.
    """
    inputs, x = _mfcc(frames, n_mfcc, mean, std)
    penalty = tf_keras.regularizers.L2(1e-4)
    x = layers.Reshape((frames, n_mfcc, 1))(x)
    x = layers.Conv2D(64, (10, 4), strides=2, padding="same", kernel_regularizer=penalty)(x)
    x = layers.Dropout(0.2)(_norm_relu(x))
    for _ in range(4):
        x = _norm_relu(layers.DepthwiseConv2D(3, padding="same", depthwise_regularizer=penalty)(x))
        x = _norm_relu(layers.Conv2D(64, 1, kernel_regularizer=penalty)(x))
    return _classifier(inputs, layers.GlobalAveragePooling2D()(layers.Dropout(0.4)(x)), labels)


def bc_resnet_1(*, frames: int, n_mfcc: int, labels: int, mean: Array, std: Array) -> tf_keras.Model:
    """Residual blocks of a part over frequency and a part over time, which is broadcast back over all frequencies.

    Kim et al. 2021, arXiv:2106.04140, table 1 with τ = 1: 9.2 k parameters (table 2) for 40 mel bands and 12 labels.

    Raises
    ------
    SettingsError
        If the number of mel bands is no multiple of 40: five bands are normalised apart after strides of eight.
    """
    if n_mfcc % (BANDS * STRIDES):
        raise SettingsError(f"bc_resnet_1: features.n_mfcc is {n_mfcc}; give a multiple of {BANDS * STRIDES}")
    inputs, x = _log_mel(frames, n_mfcc, mean, std)
    x = layers.Reshape((frames, n_mfcc, 1))(x)
    x = _norm_relu(layers.Conv2D(16, 5, strides=(1, 2), padding="same", use_bias=False)(x), **TORCH_NORM)
    # Channels, blocks, stride over frequency and dilation over time of each stage.
    for channels, blocks, stride, dilation in ((8, 2, 1, 1), (12, 2, 2, 2), (16, 4, 2, 4), (20, 4, 1, 8)):
        for number in range(blocks):
            x = _broadcast_block(x, channels, stride if number == 0 else 1, dilation)
    x = layers.ZeroPadding2D((2, 0))(x)
    x = layers.DepthwiseConv2D(5, use_bias=False)(x)
    x = _norm_relu(layers.Conv2D(32, 1, use_bias=False)(x), **TORCH_NORM)
    return _classifier(inputs, layers.GlobalAveragePooling2D()(x), labels)


def lstm(*, frames: int, n_mfcc: int, labels: int, mean: Array, std: Array) -> tf_keras.Model:
    """One LSTM; its last state is scored.

    "Basic LSTM", the small one, of Zhang et al. 2017, arXiv:1711.07128: 118 units, 63.3 kB (table 1) of weights and
    activations at 8 bits, for 49 × 10 MFCC and 12 labels.
    """
    inputs, x = _mfcc(frames, n_mfcc, mean, std)
    return _classifier(inputs, layers.LSTM(HELLO_EDGE_UNITS)(x), labels)


def rnn(*, frames: int, n_mfcc: int, labels: int, mean: Array, std: Array) -> tf_keras.Model:
    """A plain recurrent network (Elman 1990) as wide as `lstm`: what its gates are worth.

    No paper has it: by hand 118 · (10 + 118 + 1) + (118 + 1) · 12 = 16,650. It is written out step by step, since the
    converter would make it a WHILE loop, which integer quantisation can't convert.
    """
    inputs, x = _mfcc(frames, n_mfcc, mean, std)
    return _classifier(inputs, layers.SimpleRNN(HELLO_EDGE_UNITS, unroll=True)(x), labels)


# --- parts ---


def _mfcc(frames: int, n_mfcc: int, mean: Array, std: Array) -> tuple[Tensor, Tensor]:
    """The input, and the same normalised."""
    inputs = layers.Input((frames, n_mfcc), name="mfcc")
    return inputs, layers.Normalization(mean=mean, variance=np.square(std), name=NORMALISED)(inputs)


def _log_mel(frames: int, n_mfcc: int, mean: Array, std: Array) -> tuple[Tensor, Tensor]:
    """The input, and the log-mel spectrogram of it, as ours has it."""
    inputs, normalised = _mfcc(frames, n_mfcc, mean, std)
    return inputs, log_mel(normalised, std)


def _classifier(inputs: Tensor, summary: Tensor, labels: int) -> tf_keras.Model:
    logits = layers.Dense(labels, name="logits")(summary)
    return tf_keras.Model(inputs, layers.Softmax(dtype="float32", name="scores")(logits))


def _norm_relu(x: Tensor, **norm: float) -> Tensor:
    return layers.ReLU()(layers.BatchNormalization(**norm)(x))


def _broadcast_block(x: Tensor, channels: int, stride: int, dilation: int) -> Tensor:
    """One block over `(batch, frames, frequencies, channels)`; where channels change, a transition without identity."""
    identity = [x] if x.shape[-1] == channels else []
    over_frequency = x if identity else _norm_relu(layers.Conv2D(channels, 1, use_bias=False)(x), **TORCH_NORM)
    over_frequency = layers.DepthwiseConv2D((1, 3), padding="same", use_bias=False)(over_frequency)
    if stride > 1:  # a depthwise convolution can't have different strides over time and frequency
        over_frequency = layers.MaxPooling2D(1, (1, stride))(over_frequency)
    over_frequency = _subspectral_norm(over_frequency)
    over_time = layers.AveragePooling2D((1, over_frequency.shape[2]))(over_frequency)
    over_time = layers.DepthwiseConv2D((3, 1), padding="same", dilation_rate=(dilation, 1), use_bias=False)(over_time)
    over_time = layers.Activation("swish")(layers.BatchNormalization(**TORCH_NORM)(over_time))
    over_time = layers.SpatialDropout2D(0.1)(layers.Conv2D(channels, 1, use_bias=False)(over_time))
    return layers.ReLU()(layers.Add()([over_frequency, over_time, *identity]))


def _subspectral_norm(x: Tensor) -> Tensor:
    """Batch normalisation of each band of frequencies apart (Chang et al. 2021, arXiv:2103.13620), as of channels."""
    _, frames, frequencies, channels = x.shape
    x = layers.Reshape((frames, BANDS, frequencies // BANDS, channels))(x)
    x = layers.Reshape((frames, frequencies // BANDS, BANDS * channels))(layers.Permute((1, 3, 2, 4))(x))
    x = layers.BatchNormalization(**TORCH_NORM)(x)
    x = layers.Permute((1, 3, 2, 4))(layers.Reshape((frames, frequencies // BANDS, BANDS, channels))(x))
    return layers.Reshape((frames, frequencies, channels))(x)
