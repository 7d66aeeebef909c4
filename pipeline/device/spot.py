"""Words in sound that goes on: windows, smoothing and a trigger, whatever the size of the pieces it comes in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import config
from pipeline.config import SILENCE
from pipeline.device import audio
from pipeline.device.audio import Samples, amplitude
from pipeline.device.interpreter import Array
from pipeline.device.recognizer import DEFAULT_FILE, Recognizer
from pipeline.errors import AudioError


@dataclass(frozen=True)
class Detection:
    """A word that was heard, and its smoothed score; times count from the first sample."""

    word: str
    start_s: float
    end_s: float
    score: float


@dataclass(frozen=True)
class _Peak:
    label: int
    hop: int
    detection: Detection


class Windows:
    """Cuts a stream into overlapping windows, one a hop, and scores each that isn't silent.

    Nothing grows: it may listen for days.

    Parameters
    ----------
    score
        Gives scores `(labels,)` for one window, float32 `(clip_samples,)`.
    """

    def __init__(
        self, score: Callable[[Samples], Array], labels: Sequence[str], audio: config.Audio, listen: config.Listen
    ) -> None:
        self._score, self._audio = score, audio
        self._silence = np.array([label == SILENCE for label in labels], np.float32)
        self._gate = amplitude(listen.gate_dbfs)
        self._hop = listen.hop_samples(audio)
        # The sound of all windows that are averaged, silent at first; the piece of a hop that is being filled.
        self._heard = np.zeros(audio.clip_samples + (listen.smoothing_hops - 1) * self._hop, np.float32)
        self._piece = np.zeros(self._hop, np.float32)
        self._filled = self._hops = 0

    @property
    def time_s(self) -> float:
        """How much it has listened to."""
        return (self._hops * self._hop + self._filled) / self._audio.sample_rate_hz

    def feed(self, samples: Samples) -> Iterator[Array]:
        """Yield the scores `(labels,)` of each window that these samples complete, while `place` is of that window."""
        if samples.ndim != 1:
            raise AudioError(f"a piece of sound must be a mono array of samples; its shape is {samples.shape}")
        audio.check(samples)
        while len(samples):
            taken = min(self._hop - self._filled, len(samples))
            self._piece[self._filled : self._filled + taken] = samples[:taken]
            self._filled, samples = self._filled + taken, samples[taken:]
            if self._filled == self._hop:
                self._filled, self._hops = 0, self._hops + 1
                self._heard = np.concatenate([self._heard[self._hop :], self._piece])
                window = self._heard[-self._audio.clip_samples :]
                yield self._score(window) if np.abs(window).max() > self._gate else self._silence

    def finish(self) -> Iterator[Array]:
        """Let what is still in the windows pass, as if silence followed."""
        return self.feed(np.zeros(len(self._heard) + self._hop - self._filled, np.float32))

    def place(self) -> tuple[float, float]:
        """Start and end, in seconds, of what is loud in the middle one of the windows that are averaged."""
        first = (len(self._heard) - self._audio.clip_samples) // 2
        start, end = audio.loud_part(self._heard[first : first + self._audio.clip_samples])
        offset = self._hops * self._hop - len(self._heard) + first
        return max(0, offset + start) / self._audio.sample_rate_hz, max(0, offset + end) / self._audio.sample_rate_hz


class Trigger:
    """Averages scores over a few windows (Chen, Parada & Heigold 2014), and finds the words in them.

    Where the best average is that of a word, above its threshold and at its peak, the word is detected; then nothing is
    for a while, nor the same word before its average was below the threshold again.

    Parameters
    ----------
    labels
        Names of the scores.
    thresholds
        The average that a word must exceed; a label that has none is never detected.
    """

    def __init__(self, labels: Sequence[str], thresholds: Mapping[str, float], listen: config.Listen) -> None:
        self._labels, self._rest_hops = list(labels), listen.rest_hops
        self._limits = np.array([thresholds.get(label, np.inf) for label in labels])
        # As float64, in which the order of a few float32 doesn't change their sum.
        self._recent = np.tile([label == SILENCE for label in labels], (listen.smoothing_hops, 1)).astype(np.float64)
        self._hops = 0
        self._peak: _Peak | None = None
        self._rests_until = 0  # hop
        self._spent = np.zeros(len(self._labels), bool)  # words whose average has not been below the threshold since

    def step(self, scores: Array, place: Callable[[], tuple[float, float]]) -> list[Detection]:
        """One hop further: what was a peak until now, if anything. `place` gives the start and end of a word."""
        self._recent[self._hops % len(self._recent)] = scores
        self._hops += 1
        average = self._recent.mean(axis=0)
        self._spent &= average > self._limits
        label = int(np.argmax(average))
        is_heard = average[label] > self._limits[label] and not self._spent[label] and self._hops > self._rests_until
        if is_heard and (self._peak is None or average[label] > self._peak.detection.score):
            detection = Detection(self._labels[label], *place(), float(average[label]))
            self._peak = _Peak(label, self._hops, detection)
            return []
        return self._passed()

    def _passed(self) -> list[Detection]:
        """The averages are past their peak, if there was one."""
        if self._peak is None:
            return []
        peak, self._peak = self._peak, None
        self._rests_until = peak.hop + self._rest_hops
        self._spent[peak.label] = True
        return [peak.detection]


class Spotter:
    """Hears words in a stream: `feed` it pieces of any size, then `finish`; what it hears doesn't depend on the pieces.

    Parameters
    ----------
    score, labels, audio, listen
        As `Windows` takes them.
    thresholds
        As `Trigger` takes them.
    """

    def __init__(
        self,
        score: Callable[[Samples], Array],
        labels: Sequence[str],
        thresholds: Mapping[str, float],
        audio: config.Audio,
        listen: config.Listen,
    ) -> None:
        self.labels, self.audio, self.listen = list(labels), audio, listen
        self._windows = Windows(score, labels, audio, listen)
        self._trigger = Trigger(labels, thresholds, listen)

    @classmethod
    def load(cls, folder: str | Path, file: str = DEFAULT_FILE) -> Spotter:
        """Open one file of a bundle, as `Recognizer.load` does.

        Raises
        ------
        BundleError
            As `Recognizer.load`.
        """
        recognizer = Recognizer.load(folder, file)
        return cls(recognizer.score, recognizer.labels, recognizer.thresholds, recognizer.audio, recognizer.listen)

    @property
    def time_s(self) -> float:
        """How much it has listened to."""
        return self._windows.time_s

    def feed(self, samples: Samples) -> list[Detection]:
        """Listen on.

        Parameters
        ----------
        samples
            float32 `(n,)` in [-1, 1], at `audio.sample_rate_hz`; any number of them.

        Returns
        -------
        detections
            What has become certain: that a word's peak was one is known a hop later.

        Raises
        ------
        AudioError
            For an array that is not mono sound.
        """
        return self._detect(self._windows.feed(samples))

    def finish(self) -> list[Detection]:
        """The sound has ended: let what is still in the windows pass, as if silence followed."""
        return self._detect(self._windows.finish())

    def _detect(self, windows: Iterator[Array]) -> list[Detection]:
        return [found for scores in windows for found in self._trigger.step(scores, self._windows.place)]
