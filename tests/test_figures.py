"""Figures of a model that a person could work out by hand: confusion and intervals."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from pipeline.stages.evaluate import _model_figures

LABELS = ["_silence_", "_unknown_", "yes", "no"]
SILENCE, UNKNOWN, YES, NO = range(4)

TRUTH = np.array([SILENCE, SILENCE, UNKNOWN, UNKNOWN, YES, YES, YES, YES])
FOUND = np.array([SILENCE, UNKNOWN, UNKNOWN, UNKNOWN, YES, NO, YES, UNKNOWN])
REFERENCE = np.array([SILENCE, SILENCE, UNKNOWN, NO, YES, NO, YES, UNKNOWN])


def scores(found: np.ndarray) -> np.ndarray:
    """Of a model that is sure of itself."""
    return np.eye(len(LABELS), dtype=np.float32)[found]


def test_confusion_has_a_row_for_each_true_label_and_recall_follows_from_it() -> None:
    figures = _model_figures(scores(FOUND), TRUTH, REFERENCE, LABELS)
    assert figures["confusion"] == [
        [1, 1, 0, 0],
        [0, 2, 0, 0],
        [0, 1, 2, 1],
        [0, 0, 0, 0],
    ]
    assert figures["recall"] == {"_silence_": 0.5, "_unknown_": 1.0, "yes": 0.5, "no": None}  # no clip says no
    assert figures["clips"] == 8
    assert figures["accuracy"] == 5 / 8
    assert figures["labels_changed"] == 2 / 8
    assert figures["expected_calibration_error"] == 3 / 8  # sure of all, right in five
    assert json.loads(json.dumps(figures)) == figures


@pytest.mark.parametrize(("right", "clips"), [(0, 5), (5, 8), (90, 100), (4444, 4890), (7, 7)])
def test_the_interval_is_that_of_wilson(right: int, clips: int) -> None:
    """Wilson 1927, the closed form; it stays within 0 and 1, and is an interval even where all or none are right."""
    truth = np.full(clips, YES)
    found = np.where(np.arange(clips) < right, YES, NO)
    low, high = _model_figures(scores(found), truth, truth, LABELS)["accuracy_interval"]
    share, z = right / clips, 1.959963984540054
    middle = (share + z**2 / (2 * clips)) / (1 + z**2 / clips)
    half = z / (1 + z**2 / clips) * math.sqrt(share * (1 - share) / clips + z**2 / (4 * clips**2))
    assert low == pytest.approx(middle - half, abs=1e-9)
    assert high == pytest.approx(middle + half, abs=1e-9)
    assert 0 <= low <= share <= high <= 1
    assert high - low > 0.01
