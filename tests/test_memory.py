"""Recurrent networks of equal size, and how far back an error is felt: held to products that can be written down."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipeline.config import Memory
from pipeline.network import memory
from pipeline.network.engine import tf, tf_keras
from pipeline.network.memory import CUE_STEPS, CUES, KINDS, build, clips_task, gap_task, reach, train, units_for

SMALL = Memory(parameters=500, batch_examples=8)
INPUTS, CLASSES, STEPS = 3, 4, 12


def examples(count: int = 5, steps: int = STEPS) -> memory.Batch:
    generator = np.random.default_rng(0)
    frames = generator.standard_normal((count, steps, INPUTS), np.float32)
    return frames, generator.integers(CLASSES, size=count, dtype=np.int32)


def network(kind: str, units: int = 4, settings: Memory = SMALL) -> tf_keras.Model:
    tf_keras.utils.set_random_seed(1)
    return build(kind, units, INPUTS, CLASSES, settings, "float64")


# --- equal size ---


@pytest.mark.parametrize(("inputs", "classes"), [(CUES, CUES), (40, 10)])
def test_networks_are_of_equal_size_as_nearly_as_whole_units_go(inputs: int, classes: int) -> None:
    settings = Memory()
    for kind in KINDS:
        units = units_for(kind, inputs, classes, settings)
        sizes = [KINDS[kind].parameters(number, inputs, classes) for number in (units - 1, units, units + 1)]
        assert sizes[1] == build(kind, units, inputs, classes, settings).count_params()
        less, off, more = (abs(size - settings.parameters) for size in sizes)
        assert off < min(less, more)
        assert off / settings.parameters < 0.011


# --- the gates before training ---


@pytest.mark.parametrize("kind", ["lstm", "bilstm", "gru"])
def test_gates_begin_as_open_as_is_set(kind: str) -> None:
    """With weights of zero a state decays by the gate alone, step by step; so does an error at the end."""
    settings = Memory(gate_bias=2.0)
    model = network(kind, settings=settings)
    recurrent, readout = model.layers[0], model.layers[1]
    recurrent.set_weights([w if w.shape[-1] == w.size or len(w) == 2 else 0 * w for w in recurrent.get_weights()])
    assert readout.get_weights()[0].any()
    felt = reach(model, examples())
    np.testing.assert_allclose(felt[4] / felt[3], 1 / (1 + np.exp(-2.0)), rtol=1e-6)


# --- how far an error is felt ---


def test_in_an_rnn_the_error_at_each_step_is_the_product_of_its_jacobians() -> None:
    model, (frames, labels) = network("rnn"), examples()
    kernel, recurrent, bias, readout, readout_bias = model.get_weights()
    for example, label in enumerate(labels):
        states = [np.zeros(4)]
        for frame in frames[example]:
            states.append(np.tanh(frame @ kernel + states[-1] @ recurrent + bias))
        scores = np.exp(states[-1] @ readout + readout_bias)
        errors = [readout @ (scores / scores.sum() - np.eye(CLASSES)[label])]
        for state in reversed(states[2:]):
            errors.append(recurrent @ ((1 - state**2) * errors[-1]))
        norms = np.linalg.norm(errors, axis=1)
        np.testing.assert_allclose(reach(model, (frames, labels))[:, example], norms / norms[0], rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_felt_as_finite_differences_say(kind: str) -> None:
    """A change of what is handed on at one step changes the loss by the gradient that is measured there."""
    model, (frames, labels) = network(kind), examples(2, 6)
    layer, readout = model.layers
    halves = [layer.forward_layer, layer.backward_layer] if kind == "bilstm" else [layer]

    parts = 2 if "lstm" in kind else 1  # hidden state, and cell state

    def losses(half: int, step: int, part: int, unit: int, change: float) -> np.ndarray:
        """Of each example, with one number changed that one half hands on after one step."""
        ends = []
        for number, (recurrent, ordered) in enumerate(zip(halves, (frames, frames[:, ::-1]), strict=False)):
            state = [tf.zeros((2, 4), tf.float64)] * parts
            for place in range(6):
                _, state = recurrent.cell(tf.constant(ordered[:, place], tf.float64), state)
                state = tf.nest.flatten(state)
                if (number, place) == (half, step):
                    state[part] += change * tf.one_hot(unit, 4, dtype=tf.float64)
            ends.append(state[0])
        logits = readout(tf.concat(ends, -1)).numpy()
        return np.log(np.exp(logits).sum(-1)) - logits[np.arange(2), labels]

    def slopes(step: int) -> np.ndarray:
        changed = itertools.product(range(len(halves)), (step,), range(parts), range(4))
        return np.array([(losses(*place, 1e-5) - losses(*place, -1e-5)) / 2e-5 for place in changed])

    at_end, earlier = (np.linalg.norm(slopes(step), axis=0) for step in (5, 2))
    np.testing.assert_allclose(reach(model, (frames, labels))[3], earlier / at_end, rtol=1e-6)


def test_large_recurrent_weights_explode_and_small_ones_vanish() -> None:
    steps = examples(steps=60)
    quiet = steps[0] * 0.01, steps[1]
    large = np.median(reach(network("rnn_large", 30, Memory(large_gain=1.5)), quiet), axis=1)
    small = np.median(reach(network("rnn_large", 30, Memory(large_gain=0.5)), quiet), axis=1)
    assert large[50] > 30
    assert small[50] < 0.5**45


# --- the task ---


def test_the_cue_is_the_only_thing_to_know_and_has_the_gap_that_is_said() -> None:
    frames, cues = gap_task("lstm", 20, 1).held_out
    assert frames.shape[1:] == (CUE_STEPS + 20, CUES)
    means = np.array([frames[cues == cue].mean(axis=0) for cue in range(CUES)])  # (cues, steps, inputs)
    np.testing.assert_allclose(means[:, :CUE_STEPS], np.broadcast_to(np.eye(CUES)[:, None], (CUES, 3, CUES)), atol=0.2)
    np.testing.assert_allclose(means[:, CUE_STEPS:], 0, atol=0.2)


def test_a_network_that_reads_both_ways_has_the_gap_on_both_sides() -> None:
    frames, _ = gap_task("bilstm", 20, 1).held_out
    loudest = np.argmax(np.abs(frames.mean(axis=0)).sum(axis=-1) * np.ones(43))
    assert 20 <= loudest < 20 + CUE_STEPS
    assert frames.shape[1] == 20 + CUE_STEPS + 20


def test_clips_are_drawn_from_training_alone() -> None:
    training, held_out = examples(6), examples(9)
    drawn, labels = clips_task(training, held_out, CLASSES).draw(np.random.default_rng(3), 50)
    rows = [np.flatnonzero((training[0] == clip).all(axis=(1, 2))) for clip in drawn]
    assert [training[1][row].tolist() for row in rows] == [[label] for label in labels]
    assert {int(row[0]) for row in rows} == set(range(6))


# --- training ---


def test_the_experiment_reproduces_from_its_seed() -> None:
    def once(seed: int) -> memory.Outcome:
        return train("lstm", gap_task("lstm", 4, seed), SMALL, updates=6, clip_norm=None, seed=seed)

    first, other = once(1), once(2)
    assert once(1) == first
    assert other.gradient_norms != first.gradient_norms
    assert other.reach_before != first.reach_before
    memory.network.cache_clear()  # as in another process
    assert once(1) == first


def test_a_short_gap_is_learnt() -> None:
    settings = Memory(parameters=1_000)
    outcome = train("lstm", gap_task("lstm", 3, 1), settings, updates=150, clip_norm=1.0, seed=1)
    assert outcome.accuracy > 0.9
    assert outcome.reach_after != outcome.reach_before


def test_no_update_is_larger_than_the_clip_norm() -> None:
    settings = Memory(parameters=500, learning_rate=1.0)
    trained = memory.network("rnn", CUES, CUES, settings)
    trained.begin(1)
    before = trained.model.get_weights()
    outcome = train("rnn", gap_task("rnn", 4, 1), settings, updates=1, clip_norm=1e-3, seed=1)
    moved = [new - old for new, old in zip(trained.model.get_weights(), before, strict=True)]
    assert outcome.gradient_norms[0] > 1e-2
    np.testing.assert_allclose(np.sqrt(sum(np.square(part).sum() for part in moved)), 1e-3, rtol=1e-2)


def test_a_gradient_that_is_not_finite_ends_the_training() -> None:
    frames, labels = examples(8)
    task = clips_task((frames * np.float32(np.inf), labels), (frames, labels), CLASSES)
    outcome = train("rnn", task, SMALL, updates=5, clip_norm=None, seed=1)
    assert outcome.gradient_norms == []
    assert np.isfinite(outcome.reach_after).all()
