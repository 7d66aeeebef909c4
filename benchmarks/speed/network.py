"""The network beside the attention RNN and DS-CNN: a step of training, a window in each file, and mere arithmetic.

Neither depends on what a network has learnt: weights and windows are random.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.recipes import PEERS
from benchmarks.speed import figures
from benchmarks.speed.figures import Figure, alternate, beside
from pipeline.config import Settings
from pipeline.device.interpreter import MFCC, WAVEFORM, Network
from pipeline.network import convert, model, waveform
from pipeline.network.engine import tf, tf_keras
from pipeline.network.frontend import Frontend
from pipeline.stages.train import Architecture

SETTINGS = Settings()
LABELS = 12
_BATCHES = 2  # of a measured training
WINDOWS = 50  # of a measured file
_PRODUCT = 512  # rows and columns of the matrices whose product tells how fast this core multiplies


def measure(repeats: int) -> list[Figure]:
    figures.on_one_core()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf_keras.utils.set_random_seed(1)
    networks = {"ours": our_network()} | {
        name: _built(PEERS[name].architecture) for name in ("attention_rnn", "ds_cnn")
    }
    return _training(networks, repeats) + _files(networks, repeats)


def our_network() -> tf_keras.Model:
    """Our network as it is by default, with random weights."""
    return _built(partial(model.build, SETTINGS.model))


def _built(build: Architecture) -> tf_keras.Model:
    frames, n_mfcc = SETTINGS.features.frames(SETTINGS.audio), SETTINGS.features.n_mfcc
    return build(frames=frames, n_mfcc=n_mfcc, labels=LABELS, mean=np.zeros(n_mfcc), std=np.ones(n_mfcc))


def _training(networks: dict[str, tf_keras.Model], repeats: int) -> list[Figure]:
    clips = SETTINGS.train.batch_clips
    x, y = noise(clips, networks["ours"].input_shape[1:]), np.eye(LABELS, dtype=np.float32)[np.arange(clips) % LABELS]

    def train(network: tf_keras.Model) -> None:
        for _ in range(_BATCHES):
            network.train_on_batch(x, y)

    tasks = {}
    for name, network in networks.items():
        network.compile("adam", "categorical_crossentropy", jit_compile=False)
        network.train_on_batch(x, y)  # the first step is slow
        tasks[f"a step of training: {name}, {network.count_params():,} parameters"] = partial(train, network)
    return beside(alternate(repeats, tasks, time.perf_counter), next(iter(tasks)), _BATCHES, "ms a step")


def _files(networks: dict[str, tf_keras.Model], repeats: int) -> list[Figure]:
    """Every file of the bundle and the peers' float files; and the multiply-adds alone, by a matrix product."""
    ours = networks["ours"]
    sound = waveform.to_waveform(ours, SETTINGS.audio, SETTINGS.features)
    calibration = noise(200, ours.input_shape[1:])
    normaliser = np.zeros(ours.input_shape[-1], np.float32), np.ones(ours.input_shape[-1], np.float32)
    files = {
        "commands.tflite": Network(waveform.with_int8_weights(sound), "phone", WAVEFORM),
        "commands_float.tflite": Network(sound, "float phone", WAVEFORM),
        "commands_features_float.tflite": Network(convert.to_float(ours), "float"),
        "commands_features_dynamic.tflite": Network(convert.to_dynamic_range(ours), "dynamic range"),
        "commands_features_int8.tflite": Network(
            convert.to_int8(model.after_normaliser(ours), calibration), "int8", MFCC, normaliser
        ),
        "attention RNN, float, sound in": Network(
            convert.to_float(_hearing(networks["attention_rnn"])), "attention RNN", WAVEFORM
        ),
        "attention RNN, float, MFCC in": Network(convert.to_float(networks["attention_rnn"]), "attention RNN"),
        "DS-CNN, float, MFCC in": Network(convert.to_float(networks["ds_cnn"]), "DS-CNN"),
    }
    given = {WAVEFORM: noise(WINDOWS, (SETTINGS.audio.clip_samples,)), MFCC: calibration[:WINDOWS]}

    def run(file: Network) -> None:
        for window in given[file.takes]:
            file.scores(window)

    matrix = noise(_PRODUCT, (_PRODUCT,))
    tasks: dict[str, Any] = {f"a window: {name}": partial(run, file) for name, file in files.items()}
    for task in tasks.values():
        task()
    product = "matrix product"
    seconds = alternate(repeats, {**tasks, product: lambda: matrix @ matrix}, time.perf_counter)
    rate = _PRODUCT**3 / seconds.pop(product)
    sums = multiply_adds(ours)
    floor_s = WINDOWS * sums / rate
    floor = f"a window: its {sums / 1e6:.1f} million multiply-adds alone"
    return beside({**seconds, floor: floor_s}, floor, WINDOWS, "ms a window")


def _hearing(network: tf_keras.Model) -> tf_keras.Model:
    """The network behind our front-end, as it would have to be on a phone; of one window."""
    frontend = Frontend(SETTINGS.audio, SETTINGS.features)
    sound = tf_keras.layers.Input(batch_shape=(1, SETTINGS.audio.clip_samples))
    return tf_keras.Model(sound, network(tf_keras.layers.Lambda(lambda samples: frontend(samples)[None])(sound)))


def multiply_adds(network: tf_keras.Model) -> int:
    """Multiplications of weights for one window; the front-end and what is added or squashed don't count."""
    return sum(_of_layer(layer) for layer in network.layers)


def _of_layer(layer: Any) -> int:
    shapes = [tuple(weight.shape) for weight in layer.get_weights()]
    if isinstance(layer, tf_keras.layers.Bidirectional):
        steps, kernels = layer.input_shape[1], [shape for shape in shapes if len(shape) == 2]
        return int(steps * sum(map(np.prod, kernels)))
    if isinstance(layer, tf_keras.layers.Conv2D):
        return int(np.prod(layer.output_shape[1:3]) * np.prod(shapes[0]))
    if isinstance(layer, tf_keras.layers.Dense):
        return int(np.prod(layer.output_shape[1:-1], dtype=int) * np.prod(shapes[0]))
    return 0


def noise(count: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Random numbers `(count, *shape)` of deviation 1, the same every time."""
    return np.random.default_rng(1).normal(size=(count, *shape)).astype(np.float32)


if __name__ == "__main__":
    figures.answer(measure)
