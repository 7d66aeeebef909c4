"""Calibration: scores that are drawn with a known temperature, and networks that say the same more or less surely."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.special

from pipeline.config import Model
from pipeline.corpora import shards
from pipeline.network import calibrate, model

LABELS = 5


def drawn(clips: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn by their softmax: calibrated by construction."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (clips, LABELS))
    chances = scipy.special.softmax(logits, axis=1)
    truth = (chances.cumsum(axis=1) < generator.random((clips, 1))).sum(axis=1).astype(np.int32)
    return logits, truth


@pytest.mark.parametrize("true_temperature", [0.4, 1.0, 2.5])
def test_the_temperature_is_found_by_which_logits_are_off(true_temperature: float) -> None:
    logits, truth = drawn()
    scores = scipy.special.softmax(logits * true_temperature, axis=1).astype(np.float32)
    found = calibrate.temperature(scores, truth)
    assert found == pytest.approx(true_temperature, rel=0.03)
    mended = scipy.special.softmax(np.log(np.maximum(scores, 1e-30)) / found, axis=1).astype(np.float32)
    assert calibrate.expected_calibration_error(mended, truth) < 0.01
    if true_temperature != 1:
        assert calibrate.expected_calibration_error(scores, truth) > 0.03


def test_scores_of_exactly_nought_and_one_are_no_trouble() -> None:
    scores, truth = np.eye(LABELS, dtype=np.float32), np.arange(LABELS, dtype=np.int32)
    assert np.isfinite(calibrate.temperature(scores, truth))
    assert calibrate.expected_calibration_error(scores, truth) == 0
    assert calibrate.expected_calibration_error(scores, (truth + 1) % LABELS) == 1


def test_few_clips_that_are_all_right_make_no_network_sure_of_everything() -> None:
    scores, truth = np.full((20, LABELS), 0.1 / (LABELS - 1), np.float32), np.zeros(20, np.int32)
    scores[:, 0] = 0.9
    found = calibrate.temperature(scores, truth)
    assert scipy.special.softmax(np.log(scores[0]) / found)[0] == pytest.approx(21 / 25, abs=0.01)


def test_the_error_is_the_gap_between_scores_and_what_is_right_bin_by_bin() -> None:
    # Four clips at 0.9, of which three are right, and four at 0.5, of which all are: (4 * 0.15 + 4 * 0.5) / 8.
    scores = np.array([[0.9, 0.1]] * 4 + [[0.5, 0.25]] * 4, np.float32)
    truth = np.array([0, 0, 0, 1, 0, 0, 0, 0])
    assert calibrate.expected_calibration_error(scores, truth) == pytest.approx(0.325)
    low, high = calibrate.reliability(scores, truth)
    assert low == {"clips": 4, "score": pytest.approx(0.5), "right": 1.0}
    assert high == {"clips": 4, "score": pytest.approx(0.9), "right": 0.75}


def test_folded_in_it_changes_the_scores_as_dividing_logits_would_and_no_label() -> None:
    network = model.build(
        Model(conv_filters=(4,), projection_units=4, lstm_units=(4,), attention_units=4, dropout=0.0),
        frames=9, n_mfcc=6, labels=LABELS, mean=np.zeros(6), std=np.ones(6),
    )  # fmt: skip
    windows = np.random.default_rng(0).normal(0, 1, (7, 9, 6)).astype(np.float32)
    before = network.predict(windows, verbose=0)
    calibrate.fold(network, 0.25)
    after = network.predict(windows, verbose=0)
    np.testing.assert_allclose(after, scipy.special.softmax(4 * np.log(before), axis=1), atol=1e-5)
    assert np.ptp(after, axis=1).min() > np.ptp(before, axis=1).min()


def test_the_exported_model_is_calibrated_on_validation_and_says_what_was_trained(tiny_build: Path) -> None:
    clips, index = shards.read(tiny_build / "features" / "validation").originals()
    trained, exported = (
        model.load(tiny_build / stage / "model.keras").predict(clips, verbose=0) for stage in ("train", "quantize")
    )
    assert calibrate.temperature(exported, index[:, shards.LABEL]) == pytest.approx(1, abs=0.01)
    folded = json.loads((tiny_build / "quantize" / calibrate.TEMPERATURE).read_text())
    assert calibrate.temperature(trained, index[:, shards.LABEL]) == pytest.approx(folded, rel=0.01)
    np.testing.assert_array_equal(exported.argmax(axis=1), trained.argmax(axis=1))
