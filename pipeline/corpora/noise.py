"""Sound without speech: noise of a given colour, recordings cut by time, clips of silence, noise never trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Settings
from pipeline.corpora import noise_kinds
from pipeline.corpora.manifest import OTHERS, SPLITS, TRAINING
from pipeline.corpora.noise_kinds import coloured_noise, unit_rms
from pipeline.device import audio
from pipeline.device.audio import Samples, amplitude

RECORDING_S = 30
RECORDING_DBFS = -26.0

# Clips of the silence class.
MAX_GAIN = 1.2  # of a slice of recorded noise
COLOURED_DBFS = (-80.0, -20.0)
RECORDED_SHARE, COLOURED_SHARE = 0.5, 0.4  # the rest is silence but for the last bit

# So many of training's clips of silence are of `noise_kinds.TRAINED_ON` instead.
KINDS_SHARE = 0.4
KINDS_DBFS = (-50.0, -15.0)
CLIPS_OF_A_KIND = 20  # of those that are never trained on


@dataclass(frozen=True)
class _Background:
    """A kind of noise found where people talk to devices."""

    name: str
    exponent: float
    band_hz: tuple[float, float] | None = None
    swell_db: float = 0.0  # standard deviation of its slowly changing level
    hum_hz: float = 0.0


_BACKGROUNDS = (
    _Background("white", 0.0),
    _Background("pink", 1.0),
    _Background("brown", 2.0),
    _Background("hiss", 0.0, (2_000.0, 7_000.0), swell_db=4.0),
    _Background("rain", 0.3, (500.0, 6_000.0), swell_db=2.0),
    _Background("wind", 1.5, (60.0, 1_500.0), swell_db=8.0),
    _Background("traffic", 2.0, (40.0, 600.0), swell_db=6.0),
    _Background("fan", 1.0, (80.0, 2_500.0), swell_db=1.0, hum_hz=117.0),
    _Background("mains_50_hz", 1.0, hum_hz=50.0),
    _Background("mains_60_hz", 1.0, hum_hz=60.0),
)


def seeded(*parts: int | str) -> np.random.Generator:
    """Random numbers that depend on `parts` alone, not on what was drawn elsewhere."""
    return np.random.default_rng(list(hashlib.sha256(repr(parts).encode()).digest()))


def recordings(settings: Settings, folder: Path) -> list[Path]:
    """Make long recordings of background noise, for a corpus that brings none.

    Returns
    -------
    recordings
        WAV files in `folder/noise/made`, each `RECORDING_S` long.
    """
    made = folder / "noise" / "made"
    made.mkdir(parents=True, exist_ok=True)
    rate_hz = settings.audio.sample_rate_hz
    paths = []
    for background in _BACKGROUNDS:
        samples = _record(background, rate_hz, seeded(settings.corpus.seed, "noise", background.name))
        paths.append(made / f"{background.name}.wav")
        audio.write(paths[-1], samples * np.float32(amplitude(RECORDING_DBFS)), rate_hz)
    return paths


def cut(recordings: Sequence[Path], folder: Path, settings: Settings) -> dict[str, list[Path]]:
    """Cut each recording by time, so that no split hears the noise of another.

    Training gets the first part, then come validation and testing.

    Parameters
    ----------
    recordings
        Sound files of any format and rate.

    Returns
    -------
    pieces
        For each split, WAV files in `folder/noise/<split>` at the pipeline's rate, in the order of the sorted
        recordings.

    Raises
    ------
    AudioError
        If a recording can't be read or is shorter than one window; it names the file.
    """
    corpus, rate_hz = settings.corpus, settings.audio.sample_rate_hz
    training_percent = 100 - corpus.validation_percent - corpus.testing_percent
    shares = np.cumsum([0, training_percent, corpus.validation_percent, corpus.testing_percent]) / 100
    pieces: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for split in SPLITS:
        (folder / "noise" / split).mkdir(parents=True, exist_ok=True)
    for index, recording in enumerate(sorted(recordings)):
        samples = audio.read(recording, rate_hz, settings.audio.clip_ms)
        bounds = np.rint(shares * len(samples)).astype(int)
        for split, (start, end) in zip(SPLITS, pairwise(bounds), strict=True):
            if end > start:
                # The number keeps apart recordings of one name from several folders.
                pieces[split].append(folder / "noise" / split / f"{index:02}_{recording.stem}.wav")
                audio.write(pieces[split][-1], samples[start:end], rate_hz)
    return pieces


def silence_clips(count: int, pieces: Sequence[Path], folder: Path, split: str, settings: Settings) -> list[Path]:
    """Make clips of the silence class: slices of recorded noise, coloured noise, and next to nothing.

    Six recordings are not all the noise there is: training gets `noise_kinds.TRAINED_ON` besides.

    Parameters
    ----------
    pieces
        Noise that belongs to `split`, as `cut` gives it; with none, coloured noise takes its place.

    Returns
    -------
    clips
        `count` WAV files of one window in `folder/silence/<split>`.
    """
    rate_hz, time_s = settings.audio.sample_rate_hz, _times(settings)
    recorded = [audio.read(piece, rate_hz) for piece in pieces]
    kinds = noise_kinds.TRAINED_ON if split == TRAINING else ()
    (folder / "silence" / split).mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(count):
        generator = seeded(settings.corpus.seed, "silence", split, index)
        paths.append(folder / "silence" / split / f"{index:05}.wav")
        if kinds and generator.random() < KINDS_SHARE:
            samples = _of_kind(kinds[int(generator.integers(len(kinds)))], time_s, generator)
        else:
            samples = _silence(recorded, len(time_s), generator)
        audio.write(paths[-1], samples, rate_hz)
    return paths


def never_trained_on(folder: Path, settings: Settings) -> dict[str, list[Path]]:
    """Make clips of noise of kinds that no training is made of, to measure on.

    Returns
    -------
    clips
        For each kind `CLIPS_OF_A_KIND` WAV files of one window in `folder/silence/others`, at levels (root mean square)
        between those of `KINDS_DBFS`, or as loud as full scale lets their peaks be.
    """
    made = folder / "silence" / OTHERS
    made.mkdir(parents=True, exist_ok=True)
    time_s = _times(settings)
    paths: dict[str, list[Path]] = {}
    for name, kind in noise_kinds.NEVER_TRAINED_ON.items():
        paths[name] = [made / f"{name}_{index:02}.wav" for index in range(CLIPS_OF_A_KIND)]
        for index, path in enumerate(paths[name]):
            generator = seeded(settings.corpus.seed, OTHERS, name, index)
            audio.write(path, _of_kind(kind, time_s, generator), settings.audio.sample_rate_hz)
    return paths


def _times(settings: Settings) -> NDArray[np.float64]:
    return np.arange(settings.audio.clip_samples) / settings.audio.sample_rate_hz


def _of_kind(kind: noise_kinds.Kind, time_s: NDArray[np.float64], generator: np.random.Generator) -> Samples:
    samples = unit_rms(kind(time_s, generator))
    return samples * np.float32(min(amplitude(generator.uniform(*KINDS_DBFS)), 1 / np.abs(samples).max()))


def _silence(recorded: Sequence[Samples], samples: int, generator: np.random.Generator) -> Samples:
    kind = generator.random()
    if recorded and kind < RECORDED_SHARE:
        piece = recorded[int(generator.integers(len(recorded)))]
        start = generator.integers(max(1, len(piece) - samples + 1))
        # A piece shorter than the window is repeated.
        return np.resize(piece[start : start + samples], samples) * np.float32(generator.uniform(0, MAX_GAIN))
    if kind < RECORDED_SHARE + COLOURED_SHARE:
        gain = amplitude(generator.uniform(*COLOURED_DBFS))
        return coloured_noise(samples, generator.uniform(0, 2), generator) * np.float32(gain)
    last_bit = generator.integers(2) / 32768
    return (generator.integers(-1, 2, samples) * last_bit).astype(np.float32)


def _record(background: _Background, rate_hz: int, generator: np.random.Generator) -> Samples:
    count = RECORDING_S * rate_hz
    noise: NDArray[np.floating] = coloured_noise(count, background.exponent, generator)
    time_s = np.arange(count) / rate_hz
    if background.band_hz:
        # The magnitude of a Butterworth high-pass and low-pass of second order.
        low_hz, high_hz = background.band_hz
        frequencies_hz = np.maximum(np.fft.rfftfreq(count, 1 / rate_hz), 1.0)
        skirts = np.hypot(1, (low_hz / frequencies_hz) ** 2) * np.hypot(1, (frequencies_hz / high_hz) ** 2)
        noise = np.fft.irfft(np.fft.rfft(noise) / skirts, count)
    if background.hum_hz:
        harmonics = np.arange(1, 11)[:, np.newaxis]
        levels = generator.uniform(0.2, 1, harmonics.shape) / harmonics
        phases = generator.uniform(0, 2 * np.pi, harmonics.shape)
        hum = (levels * np.sin(2 * np.pi * background.hum_hz * harmonics * time_s + phases)).sum(axis=0)
        noise = unit_rms(noise) + unit_rms(hum)
    swell_db = np.interp(
        time_s, np.arange(RECORDING_S + 1), background.swell_db * generator.standard_normal(RECORDING_S + 1)
    )
    return unit_rms(noise * 10 ** (swell_db / 20))
