"""The LSTM in numpy: what its gates do, and that Keras' layer and the phone's file compute the same."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.network import lstm, waveform
from pipeline.network.engine import tf, tf_keras
from pipeline.network.lstm import Weights

INPUTS, UNITS, STEPS = 5, 4, 30


def weights(seed: int = 0, size: float = 1.0) -> Weights:
    generator = np.random.default_rng(seed)
    shapes = (INPUTS, 4 * UNITS), (UNITS, 4 * UNITS), (4 * UNITS,)
    return Weights(*(size * generator.standard_normal(shape).astype(np.float32) for shape in shapes))


def sequence(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((STEPS, INPUTS)).astype(np.float32)


def biased(**biases: float) -> Weights:
    """Weights by which gates stand still, whatever is read."""
    order = ("input_gate", "forget_gate", "candidate", "output_gate")
    bias = np.repeat([biases[name] for name in order], UNITS)
    return Weights(np.zeros((INPUTS, 4 * UNITS)), np.zeros((UNITS, 4 * UNITS)), bias)


def test_a_closed_input_gate_and_an_open_forget_gate_keep_the_cell_whatever_comes() -> None:
    shut = biased(input_gate=-50, forget_gate=50, candidate=1, output_gate=50)
    cell = np.array([-2.0, -0.5, 0.5, 2.0])
    hidden = np.zeros(UNITS)
    for x in sequence():
        state = lstm.step(x, hidden, cell, shut)
        np.testing.assert_allclose(state.cell, [-2.0, -0.5, 0.5, 2.0], atol=1e-12)
        np.testing.assert_allclose(state.hidden, np.tanh(cell), atol=1e-12)
        hidden, cell = state.hidden, state.cell


def test_a_cell_adds_up_what_is_let_in_and_loses_what_is_forgotten() -> None:
    counting = biased(input_gate=50, forget_gate=50, candidate=50, output_gate=0)
    np.testing.assert_allclose(lstm.run(sequence(), counting).cell[:, 0], np.arange(1, STEPS + 1))
    leaking = biased(input_gate=50, forget_gate=0, candidate=50, output_gate=0)
    np.testing.assert_allclose(lstm.run(sequence(), leaking).cell[:, 0], 2 - 0.5 ** np.arange(STEPS))


def test_a_closed_output_gate_shows_nothing_of_the_cell() -> None:
    hidden = lstm.run(sequence(), biased(input_gate=50, forget_gate=50, candidate=50, output_gate=-50)).hidden
    np.testing.assert_allclose(hidden, 0, atol=1e-20)


def test_backwards_is_forwards_through_the_reversed_sequence() -> None:
    forwards, backwards = lstm.run(sequence()[::-1], weights()), lstm.run(sequence(), weights(), backwards=True)
    for one, other in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(one[::-1], other)


@pytest.mark.filterwarnings("error")
def test_numbers_of_any_size_saturate_without_a_warning() -> None:
    values = np.array([-1e30, -800, -1, 0, 1, 800, 1e30], np.float32)
    np.testing.assert_allclose(lstm.sigmoid(values), [0, 0, 0.268941, 0.5, 0.731059, 1, 1], atol=1e-6)


@pytest.mark.parametrize("size", [0.3, 1.0, 3.0])
def test_both_directions_are_those_of_keras(size: float) -> None:
    layer = tf_keras.layers.Bidirectional(tf_keras.layers.LSTM(UNITS, return_sequences=True))
    layer.build((None, STEPS, INPUTS))
    forwards, backwards = weights(2, size), weights(3, size)
    layer.set_weights([*forwards, *backwards])
    ours = [lstm.run(sequence(), forwards).hidden, lstm.run(sequence(), backwards, backwards=True).hidden]
    np.testing.assert_allclose(layer(sequence()[None])[0], np.concatenate(ours, axis=1), atol=1e-5)


def test_the_cell_at_the_end_is_that_of_keras() -> None:
    layer = tf_keras.layers.LSTM(UNITS, return_state=True)
    layer.build((None, STEPS, INPUTS))
    layer.set_weights(list(weights()))
    _, hidden, cell = layer(sequence()[None])
    ours = lstm.run(sequence(), weights())
    np.testing.assert_allclose(hidden[0], ours.hidden[-1], atol=1e-5)
    np.testing.assert_allclose(cell[0], ours.cell[-1], atol=1e-5)


def test_the_phone_file_is_written_out_from_the_same_equations() -> None:
    forward, backward = weights(2), weights(3)
    written_out = waveform._bilstm(tf.constant(sequence()), forward, backward)
    ours = [lstm.run(sequence(), forward).hidden, lstm.run(sequence(), backward, backwards=True).hidden]
    np.testing.assert_allclose(written_out, np.concatenate(ours, axis=1), atol=1e-5)
