"""The classifier: MFCC → convolution → bidirectional LSTMs → attention over time → a score for each label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Model
from pipeline.network.engine import tf_keras

NORMALISED = "normalised"

layers = tf_keras.layers


def build(settings: Model, *, frames: int, n_mfcc: int, labels: int, mean: NDArray, std: NDArray) -> tf_keras.Model:
    """The Keras model, from raw MFCC `(batch, frames, n_mfcc)` to softmax scores `(batch, labels)`.

    Bidirectional LSTM: Graves & Schmidhuber 2005. Attention pooling: Raffel & Ellis 2015, arXiv:1512.08756.
    The LSTM's arguments are those that cuDNN's kernel asks for; a test holds them to it.

    Parameters
    ----------
    mean, std
        The normaliser, each `(n_mfcc,)`.
    """
    inputs = layers.Input((frames, n_mfcc), name="mfcc")
    x = layers.Normalization(mean=mean, variance=np.square(std), name=NORMALISED)(inputs)
    x = layers.Conv1D(
        settings.conv_filters, settings.conv_frames, settings.conv_stride, padding="same", use_bias=False, name="conv"
    )(x)
    x = layers.BatchNormalization(name="conv_norm")(x)
    x = layers.ReLU(name="conv_relu")(x)
    for number, units in enumerate(settings.lstm_units, 1):
        x = layers.Dropout(settings.dropout, name=f"dropout_{number}")(x)
        x = layers.Bidirectional(layers.LSTM(units, return_sequences=True), name=f"bilstm_{number}")(x)
    hidden = layers.Dense(settings.attention_units, activation="tanh", name="attention_hidden")(x)
    weights = layers.Softmax(axis=1, name="attention")(layers.Dense(1, name="attention_energy")(hidden))
    summary = layers.Flatten(name="summary")(layers.Dot(axes=1, name="weighted")([weights, x]))
    summary = layers.Dropout(settings.dropout, name="dropout_summary")(summary)
    logits = layers.Dense(labels, name="logits")(summary)
    return tf_keras.Model(inputs, layers.Softmax(dtype="float32", name="scores")(logits), name="commands")


def after_normaliser(model: tf_keras.Model) -> tf_keras.Model:
    """The same model from MFCC that are already normalised: what an integer-only target runs."""
    return tf_keras.Model(model.get_layer(NORMALISED).output, model.output, name="commands_normalised")


def load(path: Path) -> tf_keras.Model:
    """Read a saved model without running code that it may carry."""
    return tf_keras.models.load_model(path, compile=False, safe_mode=True)
