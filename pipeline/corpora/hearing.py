"""What a recogniser hears in a stream, set against what was said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import scipy.stats
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from pipeline import config
from pipeline.config import SILENCE, UNKNOWN
from pipeline.corpora import streams
from pipeline.corpora.mistakes import wilson
from pipeline.corpora.streams import Said, Segment
from pipeline.device.audio import Samples
from pipeline.device.interpreter import Array, Network
from pipeline.device.spot import Detection, Trigger, Windows

ON_VALIDATION = "validation.json"  # figures of the streams that thresholds were chosen on
# How far the middle of a detection may be from that of a word: as the published streaming test of Speech Commands.
TOLERANCE_S = 1.5
# Thresholds to try, evenly spaced in log odds; label smoothing keeps most scores below 0.985, above there are few.
GRID = tuple(float(1 / (1 + np.exp(-odds))) for odds in [*np.linspace(-1.0, 4.2, 19), 5.0, 6.0])


@dataclass(frozen=True)
class Heard:
    """Scores of each window of a stream, kept so that thresholds can be tried without scoring again.

    `scores` is float32 `(hops, labels)`; `places` `(hops, 2)`: start and end in seconds of a word detected then.
    """

    labels: tuple[str, ...]
    listen: config.Listen
    clip_s: float
    scores: Array
    places: NDArray[np.float64]
    said: tuple[Said, ...]
    hours: float

    @property
    def hop_s(self) -> float:
        return self.listen.hop_ms / 1000


@dataclass(frozen=True)
class Known:
    """A detection, and when it was known."""

    detection: Detection
    time_s: float


@dataclass(frozen=True)
class Judged:
    """Detections of a word that was said, of another than was said (or the same again), and where none was said."""

    matched: tuple[tuple[Said, Known], ...]
    wrong: tuple[tuple[Said, Known], ...]
    false: tuple[Known, ...]


def hear_all(
    corpus: Path, split: str, open_network: Callable[[], Network], labels: Sequence[str], settings: config.Settings
) -> dict[str, Heard]:
    """Listen to all streams of a split, each in a process of its own.

    Parameters
    ----------
    open_network
        Gives the file to listen with; it is called in those processes.
    """
    names = list(streams.of(corpus, split, settings))
    parallel = joblib.Parallel(n_jobs=-1, return_as="generator")
    heard = parallel(joblib.delayed(_hear)(name, corpus, split, open_network, labels, settings) for name in names)
    return dict(zip(names, track(heard, "listening", len(names), console=Console(stderr=True)), strict=True))


def _hear(
    name: str,
    corpus: Path,
    split: str,
    open_network: Callable[[], Network],
    labels: Sequence[str],
    settings: config.Settings,
) -> Heard:
    stream = streams.of(corpus, split, settings)[name]
    return hear(stream, open_network().scores, labels, settings.audio, settings.listen)


def hear(
    segments: Iterable[Segment],
    score: Callable[[Samples], Array],
    labels: Sequence[str],
    sound: config.Audio,
    listen: config.Listen,
) -> Heard:
    """Listen to a whole stream."""
    windows = Windows(score, labels, sound, listen)
    rows, said, counted = [], [], 0
    for segment in segments:
        said += [segment.said] if segment.said else []
        counted += 0 if segment.is_pause else len(segment.samples)
        rows += [(scores, windows.place()) for scores in windows.feed(segment.samples)]
    rows += [(scores, windows.place()) for scores in windows.finish()]
    scores, places = map(np.array, zip(*rows, strict=True))
    hours = counted / sound.sample_rate_hz / 3600
    return Heard(tuple(labels), listen, sound.clip_ms / 1000, scores, places, tuple(said), hours)


def detect(heard: Heard, thresholds: Mapping[str, float]) -> list[Known]:
    """What `Spotter` detects with these thresholds."""
    trigger = Trigger(heard.labels, thresholds, heard.listen)
    return [
        Known(detection, hop * heard.hop_s)
        for hop, (scores, place) in enumerate(zip(heard.scores, heard.places.tolist(), strict=True), 1)
        for detection in trigger.step(scores, partial(tuple, place))
    ]


def best_of_each_window(heard: Heard) -> list[Known]:
    """What a loop hears that takes the best label of each window for granted; windows in a row that agree are one."""
    best = heard.scores.argmax(axis=1)
    words = ["" if heard.labels[n] in (SILENCE, UNKNOWN) else heard.labels[n] for n in best]
    found = []
    for hop, word in enumerate(words):
        if word and (hop == 0 or words[hop - 1] != word):
            end_s = (hop + 1) * heard.hop_s
            score = float(heard.scores[hop].max())
            found.append(Known(Detection(word, end_s - heard.clip_s, end_s, score), end_s))
    return found


def judge(found: Sequence[Known], said: Sequence[Said]) -> Judged:
    """Set each detection against the first word in tolerance: matched; wrong if that is another, or taken before.

    So does `accuracy_utils` of TensorFlow's speech commands example; here the middles of words are compared.
    """
    middles_s = np.array([(word.start_s + word.end_s) / 2 for word in said])
    taken: set[int] = set()
    matched: list[tuple[Said, Known]] = []
    wrong: list[tuple[Said, Known]] = []
    false: list[Known] = []
    for known in found:
        middle_s = (known.detection.start_s + known.detection.end_s) / 2
        near = np.flatnonzero(np.abs(middles_s - middle_s) <= TOLERANCE_S)
        if not len(near):
            false.append(known)
            continue
        first = int(near[0])
        is_it = said[first].word == known.detection.word and first not in taken
        (matched if is_it else wrong).append((said[first], known))
        taken.add(first)
    return Judged(tuple(matched), tuple(wrong), tuple(false))


def judge_at(heard: Heard, thresholds: Mapping[str, float]) -> Judged:
    """Judge what `Spotter` detects with these thresholds."""
    return judge(detect(heard, thresholds), heard.said)


def sweep(heard: Heard) -> list[Judged]:
    """Judge the stream once for each threshold of `GRID`, the same for all words."""
    parallel = joblib.Parallel(n_jobs=-1)
    return list(parallel(joblib.delayed(_at)(threshold, heard) for threshold in GRID))


def _at(threshold: float, heard: Heard) -> Judged:
    words = [label for label in heard.labels if label not in (SILENCE, UNKNOWN)]
    return judge_at(heard, dict.fromkeys(words, threshold))


def figures(judged: Judged, heard: Heard) -> dict[str, Any]:
    """Misses with their Wilson interval, false alarms an hour with their exact Poisson interval (Garwood 1936)."""
    matched, words, false = len(judged.matched), len(heard.said), len(judged.false)
    low = scipy.stats.chi2.ppf(0.025, 2 * false) / 2 if false else 0.0
    high = scipy.stats.chi2.ppf(0.975, 2 * false + 2) / 2
    delays_ms = [1000 * (known.time_s - said.end_s) for said, known in judged.matched]
    return {
        "hours": heard.hours,
        "words": words,
        "matched": matched,
        "wrong": len(judged.wrong),
        "false": false,
        "missed": 1 - matched / words if words else None,
        "missed_interval": wilson(words - matched, words) if words else None,
        "false_alarms_per_hour": false / heard.hours,
        "false_alarms_per_hour_interval": [low / heard.hours, high / heard.hours],
        "delay_ms": dict(zip(("median", "percentile_95"), np.percentile(delays_ms, [50, 95]), strict=True))
        if delays_ms
        else None,
    }
