"""The phone's file: sound in, scores out, the LSTM written out step by step.

Only so does every runtime load it, and only so does it keep nothing from one call to the next: a fused LSTM holds
variable tensors, and WHILE loops are further subgraphs.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
from ai_edge_quantizer import quantizer
from ai_edge_quantizer.qtyping import TFLOperationName
from numpy.typing import NDArray

from pipeline.config import Audio, Features
from pipeline.network.engine import tf, tf_keras
from pipeline.network.frontend import Frontend
from pipeline.network.model import LOG_MEL, NORMALISED

# Name scopes: the front-end is never quantised, its numbers span twelve decades.
FRONTEND, CLASSIFIER = "frontend", "classifier"


def to_waveform(model: tf_keras.Model, audio: Audio, features: Features) -> bytes:
    """Float weights: float32 `[1, clip_samples]` in [-1, 1] → float32 `[1, labels]`, softmax."""
    frontend, log_mel, classify = Frontend(audio, features), _log_mel(model), _classifier(model)
    signature = [tf.TensorSpec((1, audio.clip_samples), tf.float32, name="audio")]

    def network(samples: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.name_scope(FRONTEND):
            spectrogram = log_mel(frontend(samples))
        with tf.name_scope(CLASSIFIER):
            return {"scores": classify(spectrogram)}

    function = tf.function(network, autograph=False, input_signature=signature).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], frontend)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter.convert()


def with_int8_weights(content: bytes) -> bytes:
    """The same file with the classifier's kernels as int8, a scale for each output channel; it computes in float."""
    recipe = quantizer.Quantizer(content)
    for operation in (TFLOperationName.FULLY_CONNECTED, TFLOperationName.CONV_2D):
        recipe.add_weight_only_config(regex=f".*{CLASSIFIER}.*", operation_name=operation, num_bits=8)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # its progress bars; faults are raised
        return bytes(recipe.quantize().quantized_model)


def _log_mel(model: tf_keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """The layers before the first convolution, of MFCC `(frames, n_mfcc)`; their weights stay float."""
    normaliser, (transform,) = model.get_layer(NORMALISED), model.get_layer(LOG_MEL).get_weights()
    mean, variance = (np.squeeze(value).astype(np.float32) for value in (normaliser.mean, normaliser.variance))
    return lambda mfcc: tf.matmul((mfcc - mean) / np.sqrt(variance), transform)


def _classifier(model: tf_keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """The other layers for a single window `(frames, bands)`, with their weights as constants."""
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    convolutions = [layer for layer in model.layers if isinstance(layer, tf_keras.layers.Conv2D)]
    folded = {name: _fold_norm(model, name) for name in [*(layer.name for layer in convolutions), "projection"]}
    recurrent = [weights[name] for name in weights if name.startswith("bilstm")]

    def classify(spectrogram: tf.Tensor) -> tf.Tensor:
        x = spectrogram[None, :, :, None]
        for layer in convolutions:
            kernel, bias = folded[layer.name]
            x = tf.nn.relu(tf.nn.conv2d(x, kernel, layer.strides, "SAME") + bias)
        x = tf.reshape(x, (x.shape[1], x.shape[2] * x.shape[3]))
        x = tf.nn.relu(_dense(x, folded["projection"]))
        for both in recurrent:
            x = _bilstm(x, both[:3], both[3:])
        energy = _dense(tf.tanh(_dense(x, weights["attention_hidden"])), weights["attention_energy"])
        summary = tf.reduce_sum(tf.nn.softmax(energy, axis=0) * x, 0, keepdims=True)
        return tf.nn.softmax(_dense(summary, weights["logits"]))

    return classify


def _dense(x: tf.Tensor, weights: Sequence[NDArray[np.float32]]) -> tf.Tensor:
    kernel, bias = weights
    return tf.matmul(x, kernel) + bias


def _fold_norm(model: tf_keras.Model, name: str) -> tuple[NDArray, NDArray]:
    """Kernel and bias of a layer with the batch normalisation after it."""
    (kernel,), norm = model.get_layer(name).get_weights(), model.get_layer(f"{name}_norm")
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return kernel * scale, beta - mean * scale


def _bilstm(x: tf.Tensor, forward: Sequence[NDArray], backward: Sequence[NDArray]) -> tf.Tensor:
    """Every step of both directions over `(steps, features)` → `(steps, 2 units)`; gates in Keras' order i, f, g, o.

    One product for each direction projects the inputs of all steps; each step adds that of the hidden state before it.
    The directions share their steps, a row for each, the second from the end: fewer operators, the same sums.
    """
    steps = x.shape[0]
    from_the_end = tf.concat(tf.split(x, steps)[::-1], 0)
    both = [_dense(x, (forward[0], forward[2])), _dense(from_the_end, (backward[0], backward[2]))]
    projected = tf.split(tf.reshape(tf.concat(both, 1), (2 * steps, -1)), steps)
    hidden: list[tf.Tensor] = []
    cell = None
    outputs = []
    for gates in projected:
        if hidden:
            gates = gates + tf.concat([tf.matmul(hidden[0], forward[1]), tf.matmul(hidden[1], backward[1])], 0)
        # Equal parts: a split of another kind would part the graph for XNNPACK at every step.
        i, f, g, o = tf.split(gates, 4, 1)
        new = tf.sigmoid(i) * tf.tanh(g)
        cell = new if cell is None else tf.sigmoid(f) * cell + new
        hidden = tf.split(tf.sigmoid(o) * tf.tanh(cell), 2)
        outputs.append(hidden)
    forwards, backwards = zip(*outputs, strict=True)
    return tf.concat([tf.concat(forwards, 0), tf.concat(backwards[::-1], 0)], 1)
