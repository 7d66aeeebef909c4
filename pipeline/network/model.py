"""The classifier: MFCC → log-mel spectrogram → convolutions → bidirectional LSTMs → attention over time → scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from pipeline.config import Model
from pipeline.network.engine import tf_keras

NORMALISED, LOG_MEL = "normalised", "log_mel"

Tensor = Any  # TensorFlow carries no usable types

layers = tf_keras.layers


def build(settings: Model, *, frames: int, n_mfcc: int, labels: int, mean: NDArray, std: NDArray) -> tf_keras.Model:
    """The Keras model, from raw MFCC `(batch, frames, n_mfcc)` to softmax scores `(batch, labels)`.

    Convolutions over time and frequency see the same pattern wherever it is, as the formants of a voice that is higher
    or lower; so they take a spectrogram and not MFCC (Abdel-Hamid et al. 2014, doi:10.1109/TASLP.2014.2339736).
    Bidirectional LSTM: Graves & Schmidhuber 2005. Attention pooling: Raffel & Ellis 2015, arXiv:1512.08756.
    The LSTM's arguments are those that cuDNN's kernel asks for; a test holds them to it.

    Parameters
    ----------
    mean, std
        The normaliser, each `(n_mfcc,)`.
    """
    inputs = layers.Input((frames, n_mfcc), name="mfcc")
    x = layers.Normalization(mean=mean, variance=np.square(std), name=NORMALISED)(inputs)
    x = layers.Reshape((frames, n_mfcc, 1), name="image")(log_mel(x, std))
    for number, filters in enumerate(settings.conv_filters, 1):
        size, stride = ((settings.conv_frames, 5), settings.conv_stride) if number == 1 else ((3, 3), 1)
        conv = layers.Conv2D(filters, size, (stride, 2), padding="same", use_bias=False, name=f"conv_{number}")
        x = _norm_relu(conv(x), f"conv_{number}")
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name="bands")(x)
    x = _norm_relu(layers.Dense(settings.projection_units, use_bias=False, name="projection")(x), "projection")
    for number, units in enumerate(settings.lstm_units, 1):
        x = layers.Dropout(settings.dropout, name=f"dropout_{number}")(x)
        x = layers.Bidirectional(layers.LSTM(units, return_sequences=True), name=f"bilstm_{number}")(x)
    hidden = layers.Dense(settings.attention_units, activation="tanh", name="attention_hidden")(x)
    weights = layers.Softmax(axis=1, name="attention")(layers.Dense(1, name="attention_energy")(hidden))
    summary = layers.Flatten(name="summary")(layers.Dot(axes=1, name="weighted")([weights, x]))
    summary = layers.Dropout(settings.dropout, name="dropout_summary")(summary)
    logits = layers.Dense(labels, name="logits")(summary)
    return tf_keras.Model(inputs, layers.Softmax(dtype="float32", name="scores")(logits), name="commands")


def log_mel(normalised: Tensor, std: NDArray) -> Tensor:
    """The log-mel spectrogram `(batch, frames, n_mfcc)` of normalised MFCC: each band less its mean in training.

    librosa's MFCC are an orthonormal cosine transform of the log-mel spectrogram, in decibels: where there are as many
    MFCC as mel bands, the inverse gives it back exactly, and where there are fewer, a smoother one of as many bands.
    All bands are divided by one number, their standard deviation taken together, which an orthonormal transform leaves
    as it is. Training doesn't change it.
    """
    cosines = scipy.fft.idct(np.eye(len(std)), norm="ortho")
    transform = layers.Dense(len(std), use_bias=False, trainable=False, name=LOG_MEL)
    transform.build(normalised.shape)
    transform.set_weights([std[:, None] * cosines / np.sqrt(np.mean(np.square(std)))])
    return transform(normalised)


def _norm_relu(x: Tensor, name: str) -> Tensor:
    return layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(name=f"{name}_norm")(x))


def after_normaliser(model: tf_keras.Model) -> tf_keras.Model:
    """The same model from MFCC that are already normalised: what an integer-only target runs."""
    return tf_keras.Model(model.get_layer(NORMALISED).output, model.output, name="commands_normalised")


def load(path: Path) -> tf_keras.Model:
    """Read a saved model without running code that it may carry."""
    return tf_keras.models.load_model(path, compile=False, safe_mode=True)
