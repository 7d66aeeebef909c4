"""Why an LSTM: recurrent networks of equal size, a task with a known gap, and how far back in time an error is felt.

An error at the end of a sequence reaches an earlier step as a product of one Jacobian for each step between, and such
a product vanishes or explodes with the distance (Hochreiter 1991; Bengio, Simard & Frasconi 1994,
doi:10.1109/72.279181). Gates that begin nearly open let it pass (Hochreiter & Schmidhuber 1997; forget gate: Gers,
Schmidhuber & Cummins 2000; GRU: Cho et al. 2014, arXiv:1406.1078), and clipping a gradient by its norm takes the harm
out of explosions, not out of vanishing (Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.config import Memory
from pipeline.network.engine import tf, tf_keras

# The cue: one of so many classes, shown for so many steps, 1 high, in noise of this standard deviation.
CUES, CUE_STEPS, NOISE = 8, 3, 0.3
HELD_OUT = 512  # sequences of the gap task that no training draws
MEASURED = 64  # of the held-out examples, by which the reach of an error is measured

Tensor = Any  # TensorFlow carries no usable types
Batch = tuple[NDArray[np.float32], NDArray[np.int32]]  # (examples, steps, inputs), (examples,)

layers = tf_keras.layers


@dataclass(frozen=True)
class Kind:
    """A recurrent layer, made from its units, the settings and a dtype."""

    title: str
    blocks: int  # of weights: the gates and the candidate
    layer: Callable[[int, Memory, str], Any]
    biases: int = 1  # of each unit and block
    reads_both_ways: bool = False

    def parameters(self, units: int, inputs: int, classes: int) -> int:
        """Of the layer and of the dense layer behind it."""
        halves = 2 if self.reads_both_ways else 1
        return halves * self.blocks * units * (inputs + units + self.biases) + (halves * units + 1) * classes


@tf_keras.utils.register_keras_serializable("pipeline")
class Keeping(tf_keras.initializers.Initializer):
    """Biases of zero, but for the gate that keeps the state: `block` of so many, in Keras' order.

    A class with a config, since `Bidirectional` makes its layers anew from theirs.
    """

    def __init__(self, bias: float, block: int, blocks: int) -> None:
        self.bias, self.block, self.blocks = bias, block, blocks

    def __call__(self, shape: Any, dtype: Any = None, **_: Any) -> Tensor:
        values = np.zeros(shape)
        rows = values.size // shape[-1]  # a GRU has two rows of biases, which add up
        np.split(values, self.blocks, axis=-1)[self.block][...] = self.bias / rows
        return tf.constant(values, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"bias": self.bias, "block": self.block, "blocks": self.blocks}


def _rnn(units: int, gain: float, dtype: str) -> Any:
    """Recurrent weights are an orthogonal matrix, as Keras begins, times `gain`: all its singular values."""
    orthogonal = tf_keras.initializers.Orthogonal(gain)
    return layers.SimpleRNN(units, recurrent_initializer=orthogonal, dtype=dtype)


def _gru(units: int, bias: float, dtype: str) -> Any:
    """Blocks are the update gate (at 1 the state stays), the reset gate and the candidate."""
    return layers.GRU(units, bias_initializer=Keeping(bias, block=0, blocks=3), dtype=dtype)


def _lstm(units: int, bias: float, dtype: str) -> Any:
    """Blocks are the input gate, the forget gate (at 1 the cell stays), the candidate and the output gate."""
    keeping = Keeping(bias, block=1, blocks=4)
    return layers.LSTM(units, bias_initializer=keeping, unit_forget_bias=False, dtype=dtype)


def _bilstm(units: int, bias: float, dtype: str) -> Any:
    return layers.Bidirectional(_lstm(units, bias, dtype), dtype=dtype)


KINDS = {
    "rnn": Kind("RNN", 1, lambda units, settings, dtype: _rnn(units, 1.0, dtype)),
    "rnn_large": Kind("RNN, large weights", 1, lambda units, settings, dtype: _rnn(units, settings.large_gain, dtype)),
    "gru": Kind("GRU", 3, lambda units, settings, dtype: _gru(units, settings.gate_bias, dtype), biases=2),
    "lstm": Kind("LSTM", 4, lambda units, settings, dtype: _lstm(units, settings.gate_bias, dtype)),
    "bilstm": Kind(
        "BiLSTM", 4, lambda units, settings, dtype: _bilstm(units, settings.gate_bias, dtype), reads_both_ways=True
    ),
    "lstm_bias_1": Kind("LSTM, bias 1", 4, lambda units, settings, dtype: _lstm(units, 1.0, dtype)),
}


def build(kind: str, units: int, inputs: int, classes: int, settings: Memory, dtype: str = "float32") -> Any:
    """Keras model from `(batch, steps, inputs)` to logits `(batch, classes)`, read from the last state alone.

    So an error enters at the end of each direction and nowhere else, and what a network says of an early step, it has
    remembered.
    """
    recurrent = KINDS[kind].layer(units, settings, dtype)
    return tf_keras.Sequential(
        [layers.Input((None, inputs), dtype=dtype), recurrent, layers.Dense(classes, dtype=dtype)]
    )


def units_for(kind: str, inputs: int, classes: int, settings: Memory) -> int:
    """Units by which a network comes as near to `settings.parameters` as whole units allow."""
    most = math.isqrt(settings.parameters) + 1  # the recurrent weights alone are the square of the units
    parameters = KINDS[kind].parameters
    return min(range(1, most), key=lambda units: abs(parameters(units, inputs, classes) - settings.parameters))


@dataclass(frozen=True)
class Task:
    """What is learnt: batches to train on, drawn anew each time, and examples that are in none of them."""

    inputs: int
    classes: int
    draw: Callable[[Generator, int], Batch]
    held_out: Batch


def gap_task(kind: str, gap_steps: int, seed: int) -> Task:
    """Say at the end which cue the first frames held, `gap_steps` frames of noise after them.

    The latch problem of Bengio et al. 1994 with more classes: cue and noise come by the same inputs, and only the
    size tells one from the other. A network that reads both ways would meet the cue last in its backward half and
    have nothing to remember; it gets as much noise before the cue, so that either half has the same gap.
    """
    before = gap_steps if KINDS[kind].reads_both_ways else 0

    def draw(generator: Generator, examples: int) -> Batch:
        cues = generator.integers(CUES, size=examples, dtype=np.int32)
        frames = NOISE * generator.standard_normal((examples, before + CUE_STEPS + gap_steps, CUES), np.float32)
        frames[:, before : before + CUE_STEPS] += np.eye(CUES, dtype=np.float32)[cues][:, None]
        return frames, cues

    return Task(CUES, CUES, draw, draw(np.random.default_rng([seed, 1]), HELD_OUT))


def clips_task(training: Batch, held_out: Batch, classes: int) -> Task:
    """Say which word a clip holds, by its normalised MFCC `(clips, frames, n_mfcc)`."""
    mfcc, labels = training

    def draw(generator: Generator, examples: int) -> Batch:
        rows = generator.integers(len(labels), size=examples)
        return mfcc[rows], labels[rows]

    return Task(mfcc.shape[2], classes, draw, held_out)


class Network:
    """A network whose graph is traced once; each training begins with fresh weights."""

    def __init__(self, kind: str, inputs: int, classes: int, settings: Memory) -> None:
        self.units = units_for(kind, inputs, classes, settings)
        self._shape = kind, self.units, inputs, classes, settings
        self.model, self._exact = (build(*self._shape, dtype=dtype) for dtype in ("float32", "float64"))
        self.parameters = int(self.model.count_params())
        frames, labels = tf.TensorSpec((None, None, inputs)), tf.TensorSpec((None,), tf.int32)
        graph = {"autograph": False, "jit_compile": False}
        self.gradient = tf.function(self._gradient, input_signature=[frames, labels], **graph)
        self.logits = tf.function(self.model, input_signature=[frames], **graph)

    def _gradient(self, frames: Tensor, labels: Tensor) -> tuple[list[Tensor], Tensor]:
        """Of the mean cross-entropy by each parameter, and its norm over all of them."""
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(_cross_entropy(labels, self.model(frames, training=True)))
        gradients = tape.gradient(loss, self.model.trainable_variables)
        return gradients, tf.linalg.global_norm(gradients)

    def begin(self, seed: int) -> None:
        tf_keras.utils.set_random_seed(seed)
        self.model.set_weights(build(*self._shape).get_weights())

    def accuracy(self, examples: Batch) -> float:
        frames, labels = examples
        return float(np.mean(np.argmax(self.logits(frames), axis=-1) == labels))

    def median_reach(self, examples: Batch) -> list[float]:
        """`reach`, its median over the examples, by the distance from the end in steps; 0 where none has an error."""
        self._exact.set_weights(self.model.get_weights())
        felt = reach(self._exact, examples)
        return (np.median(felt, axis=1) if felt.size else np.zeros(len(felt))).tolist()


@cache
def network(kind: str, inputs: int, classes: int, settings: Memory) -> Network:
    """The network of a kind and task; a process that trains it again doesn't trace it again."""
    return Network(kind, inputs, classes, settings)


def _cross_entropy(labels: Tensor, logits: Tensor) -> Tensor:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def reach(model: Any, examples: Batch) -> NDArray[np.float64]:
    """How much of an error at the end is felt at each step before: ‖∂L/∂s_t‖ / ‖∂L/∂s_T‖.

    s_t is all that step t hands on to the next: the hidden state of an RNN or GRU, hidden and cell state of an LSTM.
    (∂L/∂h_t alone would leave out the way through the cells, for which the LSTM was made.) Of a network that reads both
    ways it is the states of both halves together, each as many steps before the end of its own reading. L is the
    cross-entropy of one example.

    It is a ratio, since the error itself differs from network to network and shrinks as they learn. It is ∂s_T/∂s_t
    (Pascanu et al. 2013) applied to the error that learning sends back, and so at most the largest singular value of
    that matrix, which may belong to a direction in which no error is sent.

    Parameters
    ----------
    model
        As `build` makes it, of dtype float64: in float32 whatever is below 1e-45 would be 0.

    Returns
    -------
    float64 `(steps, examples)`, by the distance T - t from 0, where it is 1. Examples whose error is 0 are left out.
    """
    frames, labels = tf.cast(examples[0], tf.float64), examples[1]
    layer, readout = model.layers
    with tf.GradientTape() as tape:
        handed_on = [_states(cell, ordered) for cell, ordered in _halves(layer, frames)]
        hidden = tf.concat([states[-1][0] for states in handed_on], axis=-1)
        loss = tf.reduce_sum(_cross_entropy(labels, readout(hidden)))  # a sum: no example changes another's gradient
    gradients = tape.gradient(loss, handed_on, unconnected_gradients="zero")
    squares = [[tf.reduce_sum(tf.square(tf.concat(state, -1)), -1) for state in half] for half in gradients]
    norms = np.sqrt(np.sum(squares, axis=0))[::-1]
    return norms[:, norms[0] > 0] / norms[0, norms[0] > 0]


def _halves(layer: Any, frames: Tensor) -> list[tuple[Any, Tensor]]:
    """Each cell of a layer, with the frames in the order in which it reads them."""
    if isinstance(layer, layers.Bidirectional):
        return [(layer.forward_layer.cell, frames), (layer.backward_layer.cell, frames[:, ::-1])]
    return [(layer.cell, frames)]


def _states(cell: Any, frames: Tensor) -> list[list[Tensor]]:
    """What each step hands on, the hidden state first, as tensors of their own: a gradient by one is not by another."""
    state = tf.nest.flatten(cell.get_initial_state(batch_size=frames.shape[0], dtype=frames.dtype))
    states = []
    for frame in tf.unstack(frames, axis=1):
        _, state = cell(frame, state)
        state = [tf.identity(part) for part in tf.nest.flatten(state)]
        states.append(state)
    return states


@dataclass(frozen=True)
class Outcome:
    """What came of one training."""

    units: int
    parameters: int
    accuracy: float  # on the held-out examples
    gradient_norms: list[float]  # of every update, before clipping; short if one was not finite, which ended it
    reach_before: list[float]  # before training, by the distance from the end in steps
    reach_after: list[float]


def train(kind: str, task: Task, settings: Memory, *, updates: int, clip_norm: float | None, seed: int) -> Outcome:
    """Train by plain stochastic gradient descent, which hides neither a small gradient nor a large one.

    Adam divides by the size of recent gradients, and momentum adds them up. Where `clip_norm` is given, a gradient
    whose norm is larger is scaled down to it (Pascanu et al. 2013).
    """
    trained = network(kind, task.inputs, task.classes, settings)
    trained.begin(seed)
    measured = task.held_out[0][:MEASURED], task.held_out[1][:MEASURED]
    before = trained.median_reach(measured)
    generator = np.random.default_rng([seed, 0])
    norms: list[float] = []
    for _ in range(updates):
        gradients, norm = trained.gradient(*task.draw(generator, settings.batch_examples))
        if not math.isfinite(norm):
            break
        norms.append(float(norm))
        scale = min(1.0, clip_norm / norms[-1]) if clip_norm and norms[-1] else 1.0
        for variable, gradient in zip(trained.model.trainable_variables, gradients, strict=True):
            variable.assign_sub(settings.learning_rate * scale * gradient)
    accuracy = trained.accuracy(task.held_out)
    return Outcome(trained.units, trained.parameters, accuracy, norms, before, trained.median_reach(measured))
