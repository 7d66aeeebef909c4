"""Scores that mean what they say: divided by one temperature before the softmax (Guo et al. 2017, arXiv:1706.04599)."""

from __future__ import annotations

import numpy as np
import scipy.optimize
import scipy.special
from numpy.typing import NDArray

from pipeline.network.engine import tf_keras

TEMPERATURE = "temperature.json"  # what the exported model has been calibrated by
_TEMPERATURES = (0.05, 20.0)
_BINS = 15
_SMALLEST = np.finfo(np.float32).tiny


def temperature(scores: NDArray[np.float32], truth: NDArray[np.int32]) -> float:
    """The temperature that makes the true labels likeliest.

    Each clip counts as if its label were only nearly sure, the less so the fewer clips there are (Platt 1999): where
    all are recognised, nothing else would keep the scores from being all or nothing.

    Parameters
    ----------
    scores
        Softmax scores `(clips, labels)`; the logits are known from them but for a constant that changes nothing.
    truth
        Numbers of the true labels `(clips,)`.
    """
    logits = np.log(np.maximum(scores, _SMALLEST), dtype=np.float64)
    clips, labels = scores.shape
    sure = (np.eye(labels)[truth] * clips + 1) / (clips + labels)

    def surprise(log_temperature: float) -> float:
        return -float((sure * scipy.special.log_softmax(logits / np.exp(log_temperature), axis=1)).sum(axis=1).mean())

    found = scipy.optimize.minimize_scalar(surprise, bounds=np.log(_TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def fold(network: tf_keras.Model, temperature: float) -> None:
    """Divide the network's logits by a temperature for good: no label changes, and no file has an operator more."""
    logits = network.get_layer("logits")
    logits.set_weights([weights / temperature for weights in logits.get_weights()])


def reliability(scores: NDArray[np.float32], truth: NDArray[np.int32]) -> list[dict[str, float]]:
    """The clips by their best score, in 15 equal bins: how many, their mean best score, and the share that is right.

    Parameters as for `temperature`; bins without a clip are left out. Guo et al. 2017, arXiv:1706.04599, section 2.
    """
    best, right = scores.max(axis=1).astype(np.float64), scores.argmax(axis=1) == truth
    bins = np.minimum((best * _BINS).astype(int), _BINS - 1)
    here = [bins == number for number in np.unique(bins)]
    return [{"clips": int(h.sum()), "score": float(best[h].mean()), "right": float(right[h].mean())} for h in here]


def expected_calibration_error(scores: NDArray[np.float32], truth: NDArray[np.int32]) -> float:
    """How far the best scores are from the share of them that is right: the mean over all bins, by their clips.

    Parameters as for `temperature`; the bins are those of `reliability`.
    """
    off = [row["clips"] * abs(row["score"] - row["right"]) for row in reliability(scores, truth)]
    return sum(off) / len(truth)
