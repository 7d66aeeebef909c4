"""Sound without speech: noise of a given colour, recordings cut by time, clips of silence, noise never trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Settings
from pipeline.corpora.manifest import OTHERS, SPLITS
from pipeline.device import audio
from pipeline.device.audio import Samples, amplitude

Times = NDArray[np.float64]  # `(samples,)`, the time of each in seconds, or what is heard then

RECORDING_S = 30
RECORDING_DBFS = -26.0

# Clips of the silence class.
MAX_GAIN = 1.2  # of a slice of recorded noise
COLOURED_DBFS = (-80.0, -20.0)
RECORDED_SHARE, COLOURED_SHARE = 0.5, 0.4  # the rest is silence but for the last bit

# Clips of the kinds in `_NEVER_TRAINED_ON`.
CLIPS_OF_A_KIND = 20
NEVER_TRAINED_ON_DBFS = (-50.0, -15.0)

# 1/f noise has most of its power where nobody hears it: below this it is flat.
_CORNER_CYCLES_PER_SAMPLE = 1e-3


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


def coloured_noise(samples: int, exponent: float, generator: np.random.Generator) -> Samples:
    """Gaussian noise whose power spectral density falls as 1 / f**exponent, by shaping white noise.

    Below a thousandth of the sample rate it is flat; it has no constant part.

    Parameters
    ----------
    samples
        How many, at least 2.
    exponent
        0 is white, 1 pink, 2 brown.

    Returns
    -------
    noise
        float32 `(samples,)`, root mean square 1.
    """
    spectrum = np.fft.rfft(generator.standard_normal(samples))
    frequencies = np.maximum(np.fft.rfftfreq(samples), _CORNER_CYCLES_PER_SAMPLE)
    spectrum *= frequencies ** (-exponent / 2)
    spectrum[0] = 0
    return _unit_rms(np.fft.irfft(spectrum, samples))


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

    Parameters
    ----------
    pieces
        Noise that belongs to `split`, as `cut` gives it; with none, coloured noise takes its place.

    Returns
    -------
    clips
        `count` WAV files of one window in `folder/silence/<split>`.
    """
    rate_hz = settings.audio.sample_rate_hz
    recorded = [audio.read(piece, rate_hz) for piece in pieces]
    (folder / "silence" / split).mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(count):
        generator = seeded(settings.corpus.seed, "silence", split, index)
        paths.append(folder / "silence" / split / f"{index:05}.wav")
        audio.write(paths[-1], _silence(recorded, settings.audio.clip_samples, generator), rate_hz)
    return paths


def never_trained_on(folder: Path, settings: Settings) -> dict[str, list[Path]]:
    """Make clips of noise of kinds that no training is made of, to measure on.

    Returns
    -------
    clips
        For each kind `CLIPS_OF_A_KIND` WAV files of one window in `folder/silence/others`, at levels (root mean square)
        between those of `NEVER_TRAINED_ON_DBFS`, or as loud as full scale lets their peaks be.
    """
    made = folder / "silence" / OTHERS
    made.mkdir(parents=True, exist_ok=True)
    rate_hz = settings.audio.sample_rate_hz
    time_s = np.arange(settings.audio.clip_samples) / rate_hz
    paths: dict[str, list[Path]] = {}
    for kind, sound in _NEVER_TRAINED_ON.items():
        paths[kind] = [made / f"{kind}_{index:02}.wav" for index in range(CLIPS_OF_A_KIND)]
        for index, path in enumerate(paths[kind]):
            generator = seeded(settings.corpus.seed, OTHERS, kind, index)
            samples = _unit_rms(sound(time_s, generator))
            gain = min(amplitude(generator.uniform(*NEVER_TRAINED_ON_DBFS)), 1 / np.abs(samples).max())
            audio.write(path, samples * np.float32(gain), rate_hz)
    return paths


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
        noise = _unit_rms(noise) + _unit_rms(hum)
    swell_db = np.interp(
        time_s, np.arange(RECORDING_S + 1), background.swell_db * generator.standard_normal(RECORDING_S + 1)
    )
    return _unit_rms(noise * 10 ** (swell_db / 20))


def _keyboard(time_s: Times, generator: np.random.Generator) -> Times:
    return _strokes(time_s, int(generator.integers(4, 12)), (0.002, 0.008), generator) * _white(time_s, generator)


def _clatter(time_s: Times, generator: np.random.Generator) -> Times:
    """Knocks that ring, as of a door or of dishes: each the same few resonances."""
    resonances_hz = generator.uniform(150, 3_000, (6, 1))
    ringing = _mix(np.sin(2 * np.pi * resonances_hz * time_s)) + _white(time_s, generator)
    return _strokes(time_s, int(generator.integers(1, 5)), (0.03, 0.15), generator) * ringing


def _crackle(time_s: Times, generator: np.random.Generator) -> Times:
    impulses = np.zeros(len(time_s))
    where = generator.integers(len(time_s), size=generator.integers(10, 200))
    impulses[where] = generator.standard_t(3, len(where))
    return impulses


def _alarm(time_s: Times, generator: np.random.Generator) -> Times:
    """A tone that comes and goes."""
    place = (time_s * generator.uniform(2, 8) + generator.random()) % 1
    return np.sin(2 * np.pi * generator.uniform(800, 3_500) * time_s) * (place < generator.uniform(0.3, 0.7))


def _music(time_s: Times, generator: np.random.Generator) -> Times:
    """Tonic, subdominant, dominant and tonic, plucked."""
    root_hz, beat_s = generator.uniform(110, 330), float(time_s[-1]) / 4
    chord = np.minimum(time_s // beat_s, 3).astype(int)
    semitones = np.array([[0, 4, 7], [5, 9, 12], [7, 11, 14], [0, 4, 7]])[chord].T
    pitches_hz = root_hz * 2 ** (semitones / 12)
    notes = _mix(np.array([np.sin(2 * np.pi * partial * pitches_hz * time_s) / partial for partial in range(1, 7)]))
    return _mix(notes) * np.exp(-(time_s % beat_s) / generator.uniform(0.1, 0.5))


def _engine(time_s: Times, generator: np.random.Generator) -> Times:
    """Harmonics of a speed that changes, the strokes heard in their level."""
    turns = generator.uniform(25, 90) * (time_s + generator.uniform(-0.3, 0.3) * np.square(time_s) / 2)
    harmonics = np.arange(1, 25)[:, np.newaxis]
    phases = generator.uniform(0, 2 * np.pi, harmonics.shape)
    tone = _mix(np.sin(2 * np.pi * harmonics * turns + phases) / np.sqrt(harmonics))
    return tone * (1 + generator.uniform(0.5, 1) * np.sin(np.pi * turns))


# Kinds of noise heard around devices that neither `_BACKGROUNDS` nor `coloured_noise` are like. They tell what a
# recogniser makes of noise it doesn't know: never train on them, nor choose anything by them.
_NEVER_TRAINED_ON: dict[str, Callable[[Times, np.random.Generator], Times]] = {
    "keyboard": _keyboard,
    "clatter": _clatter,
    "crackle": _crackle,
    "alarm": _alarm,
    "music": _music,
    "engine": _engine,
}


def _strokes(time_s: Times, count: int, decays_s: tuple[float, float], generator: np.random.Generator) -> Times:
    """Level of so many strokes at random times, each at once as loud as it gets and then decaying."""
    after_s = time_s - generator.uniform(0, 0.8 * time_s[-1], (count, 1))
    decays = np.exp(-np.maximum(after_s, 0) / generator.uniform(*decays_s, (count, 1)))
    return _mix(generator.uniform(0.3, 1, (count, 1)) * decays * (after_s >= 0))


def _mix(layers: Times) -> Times:
    """Sound of all layers `(n, …, samples)` at once."""
    return np.asarray(layers.sum(axis=0))


def _white(time_s: Times, generator: np.random.Generator) -> Times:
    return generator.standard_normal(len(time_s))


def _unit_rms(samples: NDArray[np.floating]) -> Samples:
    return np.asarray(samples / np.sqrt(np.mean(np.square(samples))), np.float32)
