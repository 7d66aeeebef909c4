"""Which word a window of sound holds: what an app on a Raspberry Pi imports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import config
from pipeline.device import audio, bundle
from pipeline.device.audio import Samples
from pipeline.device.interpreter import WAVEFORM, Array, Network
from pipeline.device.mfcc import mfcc
from pipeline.errors import AudioError, BundleError

DEFAULT_FILE = "commands.tflite"


@dataclass(frozen=True)
class Result:
    label: str
    score: float
    scores: dict[str, float]


class Recognizer:
    """Says which word a window of sound holds. `Recognizer.load(folder)` makes one."""

    def __init__(self, network: Network, description: Mapping[str, Any]) -> None:
        self._network = network
        self.labels: list[str] = description["labels"]
        self.thresholds: dict[str, float] = description["thresholds"]
        self.audio, self.features, self.listen = (
            config.build_section(name, description[name]) for name in ("audio", "features", "listen")
        )

    @classmethod
    def load(cls, folder: str | Path, file: str = DEFAULT_FILE) -> Recognizer:
        """Open one file of a bundle, the format, its hash and its own metadata checked.

        Of the bundle only `commands.json` and the file are read, so an app may do without the rest.

        Raises
        ------
        BundleError
            If the folder is no bundle, of another format, or the file is missing, was changed, or is not what the
            bundle's description says.
        """
        folder = Path(folder)
        description = bundle.read_description(folder)
        if file not in description["files"]:
            raise BundleError(f"{folder}: holds no {file}; it has: {', '.join(sorted(description['files']))}")
        bundle.check_hashes(folder, {file: description["sha256"][file]})
        return cls(bundle.open_network(folder, file, description), description)

    def classify(self, samples: Samples) -> Result:
        """Score one clip.

        Parameters
        ----------
        samples
            float32 `(n,)`, mono, in [-1, 1], at `self.audio.sample_rate_hz`. A clip shorter than the window is centred
            in silence; of a longer one the loudest part is scored.
        """
        if samples.ndim != 1 or not len(samples):
            raise AudioError(f"a clip must be a mono array of samples; its shape is {samples.shape}")
        audio.check(samples)
        scores = self.score(audio.fit(samples, self.audio.clip_samples))
        best = int(np.argmax(scores))
        named = dict(zip(self.labels, map(float, scores), strict=True))
        return Result(self.labels[best], float(scores[best]), named)

    def score(self, window: Samples) -> Array:
        """Scores `(labels,)` of one window, float32 `(clip_samples,)`."""
        if self._network.takes == WAVEFORM:
            return self._network.scores(window)
        return self._network.scores(mfcc(window, audio=self.audio, features=self.features))
