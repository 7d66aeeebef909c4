"""Words in sound that goes on: windows, smoothing and a trigger, whatever the size of the pieces it comes in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import config
from pipeline.config import SILENCE
from pipeline.device import audio
from pipeline.device.audio import Samples
from pipeline.device.interpreter import Array
from pipeline.device.recognizer import DEFAULT_FILE, Recognizer
from pipeline.errors import AudioError

_WORD_SHARE = 0.9  # of a window's energy: what is before and after it isn't the word


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


class Spotter:
    """Hears words in a stream: `feed` it pieces of any size, then `finish`; what it hears doesn't depend on the pieces.

    A window is scored at each hop, and scores are averaged over a few windows (Chen, Parada & Heigold 2014). Where the
    best average is that of a word, above its threshold and at its peak, the word is detected; then nothing is for a
    while, nor the same word before its average was below the threshold again. Nothing grows: it may listen for days.

    Parameters
    ----------
    score
        Gives scores `(labels,)` for one window, float32 `(clip_samples,)`.
    labels
        Names of the scores.
    thresholds
        The average that a word must exceed; a label that has none is never detected.
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
        self._score = score
        self._limits = np.array([thresholds.get(label, np.inf) for label in labels])
        self._silence = np.array([label == SILENCE for label in labels], np.float32)
        self._gate = 10 ** (listen.gate_dbfs / 20)
        self._hop = listen.hop_samples(audio)
        # The sound of all windows that are averaged, silent at first; the piece of a hop that is being filled.
        self._heard = np.zeros(audio.clip_samples + (listen.smoothing_hops - 1) * self._hop, np.float32)
        self._piece = np.zeros(self._hop, np.float32)
        self._filled = self._hops = 0
        self._recent = deque([self._silence] * listen.smoothing_hops, maxlen=listen.smoothing_hops)
        self._peak: _Peak | None = None
        self._rests_until = 0  # hop
        self._spent = np.zeros(len(self.labels), bool)  # words whose average has not been below the threshold since

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
        return (self._hops * self._hop + self._filled) / self.audio.sample_rate_hz

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
        if samples.ndim != 1:
            raise AudioError(f"a piece of sound must be a mono array of samples; its shape is {samples.shape}")
        audio.check(samples)
        detections = []
        while len(samples):
            taken = min(self._hop - self._filled, len(samples))
            self._piece[self._filled : self._filled + taken] = samples[:taken]
            self._filled, samples = self._filled + taken, samples[taken:]
            if self._filled == self._hop:
                self._filled = 0
                detections += self._step()
        return detections

    def finish(self) -> list[Detection]:
        """The sound has ended: let what is still in the windows pass, as if silence followed."""
        return self.feed(np.zeros(len(self._heard) + self._hop - self._filled, np.float32))

    def _step(self) -> list[Detection]:
        """One hop further: score, average, and see whether a peak was passed."""
        self._heard = np.concatenate([self._heard[self._hop :], self._piece])
        self._hops += 1
        window = self._heard[-self.audio.clip_samples :]
        self._recent.append(self._score(window) if np.abs(window).max() > self._gate else self._silence)
        average = np.mean(self._recent, axis=0)
        self._spent &= average > self._limits
        label = int(np.argmax(average))
        is_heard = average[label] > self._limits[label] and not self._spent[label] and self._hops > self._rests_until
        if is_heard and (self._peak is None or average[label] > self._peak.detection.score):
            place = self._place()
            self._peak = _Peak(label, self._hops, Detection(self.labels[label], *place, float(average[label])))
            return []
        return self._passed()

    def _passed(self) -> list[Detection]:
        """The averages are past their peak, if there was one."""
        if self._peak is None:
            return []
        peak, self._peak = self._peak, None
        self._rests_until = peak.hop + self.listen.rest_hops
        self._spent[peak.label] = True
        return [peak.detection]

    def _place(self) -> tuple[float, float]:
        """Start and end, in seconds, of what is loud in the middle one of the windows that are averaged."""
        first = (len(self._heard) - self.audio.clip_samples) // 2
        energy = np.cumsum(np.square(self._heard[first : first + self.audio.clip_samples], dtype=np.float64))
        outside = (1 - _WORD_SHARE) / 2
        within = np.searchsorted(energy, energy[-1] * np.array([outside, 1 - outside]))
        offset = self._hops * self._hop - len(self._heard) + first
        start, end = (max(0, offset + int(place)) / self.audio.sample_rate_hz for place in within)
        return start, end
