"""Words of held-out voices as one stream, for the tests that play them into a microphone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.corpora import manifest
from pipeline.corpora.manifest import TESTING
from pipeline.device import Recognizer, audio
from pipeline.device.audio import Samples
from pipeline.errors import BundleError

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "synthetic"

NOISE_DBFS = -66
SILENCE_S = 2.0  # before the first word and after the last
LEAST_PAUSE_S, LONGEST_PAUSE_S = 1.5, 2.5
CANDIDATES = 12  # clips of a word that are looked at closely
PHASES = 4  # a stream's windows may begin anywhere in a hop


def built() -> Path:
    """The default build, which these tests need: a tiny one recognises nothing well enough."""
    try:
        Recognizer.load(BUILD / "bundle")
    except BundleError as reason:
        pytest.skip(f"the default build is needed ({reason}); run: make")
    return BUILD


def compose(build: Path, words: int = 6) -> tuple[Samples, list[tuple[str, float]]]:
    """The first keywords, each once, spoken by a voice of the testing split, with pauses in a quiet room.

    Of each word the clip is taken that the recogniser is surest of: tests of streams are not about accuracy.

    Parameters
    ----------
    build
        Folder with `corpus` and `bundle` in it.

    Returns
    -------
    samples
        float32 `(samples,)`, at the bundle's rate.
    spoken
        Each word, and where its clip begins, in seconds.
    """
    recognizer = Recognizer.load(build / "bundle")
    rate_hz, corpus, rng = recognizer.audio.sample_rate_hz, build / "corpus", np.random.default_rng(1)
    testing = manifest.examples(manifest.read(corpus), TESTING)
    pieces, spoken, length = [_silence(SILENCE_S, rate_hz)], [], round(SILENCE_S * rate_hz)
    for word in list(recognizer.thresholds)[:words]:
        clips = [audio.read(corpus / clip.path, rate_hz) for clip in testing if clip.label == word]
        clip, pause = _surest(recognizer, word, clips), _silence(rng.uniform(LEAST_PAUSE_S, LONGEST_PAUSE_S), rate_hz)
        spoken.append((word, length / rate_hz))
        pieces += [clip, pause]
        length += len(clip) + len(pause)
    return _in_a_room(np.concatenate([*pieces[:-1], pieces[0]])), spoken


def _surest(recognizer: Recognizer, word: str, clips: list[Samples]) -> Samples:
    """The clip that is told from other words best; of those with the highest scores, the one that is it anywhere."""
    clips = sorted(clips, key=lambda clip: recognizer.classify(clip).scores[word])[-CANDIDATES:]
    return max(clips, key=lambda clip: _margin(recognizer, word, clip))


def _margin(recognizer: Recognizer, word: str, clip: Samples) -> float:
    """By how much the average of `word` exceeds any other's at its peak, wherever windows begin: the least of that."""
    listen, window = recognizer.listen, recognizer.audio.clip_samples
    hop = listen.hop_samples(recognizer.audio)
    sound = _in_a_room(np.pad(clip, window + hop))
    words = [recognizer.labels.index(name) for name in recognizer.thresholds]
    margins = []
    for start in range(0, hop, hop // PHASES):
        scores = [recognizer.score(part) for part in sliding_window_view(sound[start:], window)[::hop]]
        averages = sliding_window_view(scores, listen.smoothing_hops, axis=0).mean(axis=-1)[:, words]
        best = averages.max(axis=0)
        mine = best[list(recognizer.thresholds).index(word)]
        margins.append(2 * mine - np.sort(best)[-2:].sum())  # below zero where another is better
    return float(min(margins))


def _in_a_room(samples: Samples) -> Samples:
    noise = 10 ** (NOISE_DBFS / 20) * np.random.default_rng(2).standard_normal(len(samples), np.float32)
    return np.clip(samples + noise, -1, 1).astype(np.float32)


def _silence(length_s: float, rate_hz: int) -> Samples:
    return np.zeros(round(length_s * rate_hz), np.float32)
