"""How far a mean over clips may be off, where clips of one speaker tend to be right or wrong together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy.stats
from numpy.typing import NDArray


def margin(values: NDArray[np.float64], speakers: Sequence[str]) -> float:
    """Half of the 95 % interval of a mean over clips, those of one speaker taken together.

    One without a speaker stands for itself. Cluster-robust variance: Cameron & Miller 2015,
    doi:10.3368/jhr.50.2.317, section II.

    Parameters
    ----------
    values
        `(clips,)`.
    speakers
        Who says each clip; empty where nobody does.
    """
    _, cluster = np.unique([name or f"clip {number}" for number, name in enumerate(speakers)], return_inverse=True)
    sums = np.bincount(cluster, values - values.mean())
    if (clusters := len(sums)) == 1:
        return math.inf
    variance = clusters / (clusters - 1) * np.sum(np.square(sums)) / len(values) ** 2
    return float(scipy.stats.t.ppf(0.975, clusters - 1) * np.sqrt(variance))
