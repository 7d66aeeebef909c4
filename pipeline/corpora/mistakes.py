"""Who and what a recogniser of clips errs on: sound that holds no keyword, by how new it is; labels and speakers."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from pipeline.config import SILENCE, UNKNOWN
from pipeline.corpora.manifest import OTHERS, TRAINING, Clip

NEW_WORDS, KNOWN_WORDS = "words never in training", "words also in training"
KNOWN_NOISE, NEW_NOISE = "noise as in training, a later part", "kinds of noise never in training"
GROUPS = (NEW_WORDS, KNOWN_WORDS, KNOWN_NOISE, NEW_NOISE)

MAX_SPEAKERS = 20  # listed

Taken = tuple[Clip, str]  # a clip, and the label that it was given


def wilson(count: int, total: int) -> list[float]:
    """95 % interval of a share, low and high (Wilson 1927)."""
    interval = scipy.stats.binomtest(count, total).proportion_ci(0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


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


def words_learnt(clips: Iterable[Clip]) -> set[str]:
    """Words of which a clip is in the training split; sentences of talk may hold others.

    Clips of unnamed words, as in a folder's `_unknown_`, count as one word.
    """
    return {clip.word for clip in clips if clip.split == TRAINING}


def without_keywords(clips: Sequence[Clip], found: Sequence[str], learnt: Collection[str]) -> dict[str, Any]:
    """What becomes of sound that holds no keyword, at the best label of one window.

    Parameters
    ----------
    clips, found
        Clips of the testing split and of `OTHERS`, and the label that each was given; those of keywords are left out.
    learnt
        Words in training, as `words_learnt` gives them.

    Returns
    -------
    figures
        For each of `GROUPS` that has clips: their number, recall and the share taken for a keyword with their Wilson
        intervals; `parts` has the same for each word or kind of noise.
    """
    groups: dict[str, list[Taken]] = {group: [] for group in GROUPS}
    for clip, label in zip(clips, found, strict=True):
        if clip.label in (SILENCE, UNKNOWN):
            groups[_group(clip, learnt)].append((clip, label))
    return {group: _shares(taken) | {"parts": _parts(taken)} for group, taken in groups.items() if taken}


def errors(clips: Sequence[Clip], found: Sequence[str]) -> dict[str, Any]:
    """Which labels and which speakers the errors are of.

    Returns
    -------
    figures
        `by_label`: the share of all errors, labels with most first. `speakers`: clips and errors of each with errors,
        most errors first, `MAX_SPEAKERS` at most. `worst_tenth`: the share of all speakers' errors that the tenth of
        the speakers with most errors has, None where there are none. Silence, and clips without a name, are of no
        speaker.
    """
    wrong = [clip for clip, label in zip(clips, found, strict=True) if clip.label != label]
    spoken = Counter(clip.speaker for clip in clips if is_spoken(clip))
    errs = Counter(clip.speaker for clip in wrong if is_spoken(clip))
    most = sorted(errs, key=lambda speaker: (-errs[speaker], spoken[speaker], speaker))
    tenth = sum(errs[speaker] for speaker in most[: math.ceil(len(spoken) / 10)])
    return {
        "by_label": {label: count / len(wrong) for label, count in Counter(clip.label for clip in wrong).most_common()},
        "speakers": [{"speaker": s, "clips": spoken[s], "errors": errs[s]} for s in most[:MAX_SPEAKERS]],
        "worst_tenth": tenth / errs.total() if errs else None,
    }


def is_spoken(clip: Clip) -> bool:
    """Whether a speaker is known; silence, and clips without a name, are of none."""
    return clip.label != SILENCE and clip.speaker != ""


def _group(clip: Clip, learnt: Collection[str]) -> str:
    if clip.label == UNKNOWN:
        return KNOWN_WORDS if clip.word in learnt else NEW_WORDS
    return NEW_NOISE if clip.split == OTHERS else KNOWN_NOISE


def _parts(taken: Iterable[Taken]) -> dict[str, Any]:
    parts = defaultdict(list)
    for clip, label in taken:
        parts[clip.word].append((clip, label))
    return {word: _shares(parts[word]) for word in sorted(parts)}


def _shares(taken: Sequence[Taken]) -> dict[str, Any]:
    right = sum(clip.label == label for clip, label in taken)
    keyword = sum(label not in (SILENCE, UNKNOWN) for _, label in taken)
    return {
        "clips": len(taken),
        "recall": right / len(taken),
        "recall_interval": wilson(right, len(taken)),
        "taken_for_keyword": keyword / len(taken),
        "taken_for_keyword_interval": wilson(keyword, len(taken)),
    }
