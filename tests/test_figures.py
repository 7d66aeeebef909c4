"""Figures that a person could work out by hand: thresholds, what an app sees at them, confusion and intervals."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from pipeline.stages.evaluate import _at_thresholds, _model_figures
from pipeline.stages.tune import thresholds

LABELS = ["_silence_", "_unknown_", "yes", "no"]
SILENCE, UNKNOWN, YES, NO = range(4)


def percent_above(values: np.ndarray, threshold: float) -> float:
    return 100 * float((values > threshold).mean())


# --- thresholds ---


@pytest.mark.parametrize(("percent", "expected"), [(1.0, 1.0), (19.9, 0.9), (20.0, 0.8), (29.9, 0.8), (99.0, 0.1)])
def test_the_threshold_leaves_the_set_share_of_other_clips_above(percent: float, expected: float) -> None:
    """A fifth of ten other clips is two, 0.9 and 1.0, even if those of the word itself are below or above."""
    others = [0.3, 0.9, 0.1, 0.5, 0.7, 0.2, 1.0, 0.8, 0.4, 0.6]
    scores = np.zeros((15, 4), np.float32)
    scores[:, YES] = [*others, 0.05, 0.65, 0.75, 0.95, 1.0]
    truth = np.array([SILENCE, UNKNOWN, NO, SILENCE, UNKNOWN, NO, SILENCE, UNKNOWN, NO, NO] + [YES] * 5, np.int32)
    assert thresholds(scores, truth, LABELS, percent)["yes"] == np.float32(expected)


@pytest.mark.parametrize("step", [0.0, 0.05], ids=["all scores differ", "many scores are equal"])
@pytest.mark.parametrize("percent", [0.3, 1.0, 7.0, 50.5, 99.0])
def test_no_lower_threshold_would_do(percent: float, step: float) -> None:
    generator = np.random.default_rng(0)
    drawn = generator.dirichlet(np.ones(4), 301)
    scores = (np.rint(drawn / step) * step if step else drawn).astype(np.float32)
    truth = generator.integers(0, 4, len(scores)).astype(np.int32)
    found = thresholds(scores, truth, LABELS, percent)
    assert list(found) == ["yes", "no"]
    for number, label in ((YES, "yes"), (NO, "no")):
        others = scores[truth != number, number]
        assert percent_above(others, found[label]) <= percent
        lower = others[others < found[label]]
        # The lowest score of all leaves the fewest clips to take for the word; there is nothing below it.
        assert not len(lower) or percent_above(others, float(lower.max())) > percent


# --- what an app sees ---


def test_what_is_missed_and_what_is_taken_at_the_thresholds() -> None:
    clips = [
        (YES, [0.0, 0.0, 0.75, 0.25], "taken"),
        (YES, [0.0, 0.25, 0.5, 0.25], "missed: at the threshold, not above it"),
        (YES, [0.0, 0.0, 0.125, 0.875], "missed: taken for another word"),
        (NO, [0.875, 0.0, 0.0, 0.125], "missed: silence has no threshold and is never taken"),
        (NO, [0.0, 0.0, 0.625, 0.375], "missed: above the lower threshold of its own word, but not the best"),
        (NO, [0.0, 0.25, 0.25, 0.5], "taken: above the lower threshold of its own word"),
        (UNKNOWN, [0.0, 0.0, 0.875, 0.125], "taken for a word"),
        (UNKNOWN, [0.0, 0.875, 0.125, 0.0], "not taken"),
        (SILENCE, [0.25, 0.125, 0.5, 0.125], "not taken: below the threshold"),
        (SILENCE, [0.875, 0.0, 0.0, 0.125], "not taken"),
    ]
    truth, scores = np.array([row[0] for row in clips], np.int32), np.array([row[1] for row in clips], np.float32)
    figures = _at_thresholds(scores, truth, LABELS, {"yes": 0.5, "no": 0.25})
    assert figures["keywords_missed"] == pytest.approx(4 / 6)
    assert figures["others_taken_for_keywords"] == pytest.approx(1 / 4)


def test_without_other_clips_none_is_taken() -> None:
    scores = np.array([[0.0, 0.0, 1.0, 0.0]], np.float32)
    figures = _at_thresholds(scores, np.array([YES], np.int32), LABELS, {"yes": 0.5, "no": 0.5})
    assert figures == {"keywords_missed": 0.0, "others_taken_for_keywords": 0.0}


# --- figures of a model ---

TRUTH = np.array([SILENCE, SILENCE, UNKNOWN, UNKNOWN, YES, YES, YES, YES])
FOUND = np.array([SILENCE, UNKNOWN, UNKNOWN, UNKNOWN, YES, NO, YES, UNKNOWN])
REFERENCE = np.array([SILENCE, SILENCE, UNKNOWN, NO, YES, NO, YES, UNKNOWN])


def test_confusion_has_a_row_for_each_true_label_and_recall_follows_from_it() -> None:
    figures = _model_figures(FOUND, TRUTH, REFERENCE, LABELS)
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
    assert json.loads(json.dumps(figures)) == figures


@pytest.mark.parametrize(("right", "clips"), [(0, 5), (5, 8), (90, 100), (4444, 4890), (7, 7)])
def test_the_interval_is_that_of_wilson(right: int, clips: int) -> None:
    """Wilson 1927, the closed form; it stays within 0 and 1, and is an interval even where all or none are right."""
    truth = np.full(clips, YES)
    found = np.where(np.arange(clips) < right, YES, NO)
    low, high = _model_figures(found, truth, truth, LABELS)["accuracy_interval"]
    share, z = right / clips, 1.959963984540054
    middle = (share + z**2 / (2 * clips)) / (1 + z**2 / clips)
    half = z / (1 + z**2 / clips) * math.sqrt(share * (1 - share) / clips + z**2 / (4 * clips**2))
    assert low == pytest.approx(middle - half, abs=1e-9)
    assert high == pytest.approx(middle + half, abs=1e-9)
    assert 0 <= low <= share <= high <= 1
    assert high - low > 0.01
