"""The LSTM in numpy, gate by gate: the reference for Keras' layer, for the phone file and for a port to a device.

With the input x_t of step t, and the hidden state h and the cell state c of the step before, which begin as zeros:

    i_t = σ(x_t W_i + h_{t-1} U_i + b_i)    input gate: how much of the candidate is let in
    f_t = σ(x_t W_f + h_{t-1} U_f + b_f)    forget gate: how much of the cell is kept
    g_t = tanh(x_t W_g + h_{t-1} U_g + b_g) candidate
    o_t = σ(x_t W_o + h_{t-1} U_o + b_o)    output gate: how much of the cell shows
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t         cell state
    h_t = o_t ⊙ tanh(c_t)                   hidden state

Cell, input and output gate: Hochreiter & Schmidhuber 1997 (doi:10.1162/neco.1997.9.8.1735). Forget gate: Gers,
Schmidhuber & Cummins 2000 (doi:10.1162/089976600300015015). There are no peepholes, and nothing clips the cell.
Keras has the four matrices side by side in the order i, f, g, o (it writes c for g), and so have the files.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


class Weights(NamedTuple):
    """What Keras' `get_weights()` gives of an LSTM."""

    kernel: Array  # W, (inputs, 4 · units)
    recurrent: Array  # U, (units, 4 · units)
    bias: Array  # b, (4 · units,)


class State(NamedTuple):
    """All that is computed in a step, each `(units,)`; of a whole sequence, each `(steps, units)`."""

    input_gate: Array
    forget_gate: Array
    candidate: Array
    output_gate: Array
    cell: Array
    hidden: Array


def step(x: Array, hidden: Array, cell: Array, weights: Weights) -> State:
    """One step: input `(inputs,)`, hidden and cell state of the step before, each `(units,)`."""
    i, f, g, o = np.split(x @ weights.kernel + hidden @ weights.recurrent + weights.bias, 4)
    input_gate, forget_gate, candidate, output_gate = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    cell = forget_gate * cell + input_gate * candidate
    return State(input_gate, forget_gate, candidate, output_gate, cell, output_gate * np.tanh(cell))


def run(inputs: Array, weights: Weights, *, backwards: bool = False) -> State:
    """Every step of a sequence `(steps, inputs)`.

    Parameters
    ----------
    backwards
        Read it from the end, as the second half of a bidirectional layer does.

    Returns
    -------
    states
        Each `(steps, units)`, in the order of `inputs` either way: row t is what was computed when x_t was read.
    """
    hidden = cell = np.zeros(len(weights.recurrent), inputs.dtype)
    states = []
    for x in inputs[::-1] if backwards else inputs:
        states.append(step(x, hidden, cell, weights))
        hidden, cell = states[-1].hidden, states[-1].cell
    return State(*(np.stack(rows[::-1] if backwards else rows) for rows in zip(*states, strict=True)))


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), written so that no exponential overflows."""
    return 0.5 * (1 + np.tanh(0.5 * x))
