"""Sounds without speech that are computed: noise of a given colour, and kinds of noise, each a function of time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.device.audio import Samples

Times = NDArray[np.float64]  # `(samples,)`, the time of each in seconds, or what is heard then
Kind = Callable[[Times, Generator], Times]

# 1/f noise has most of its power where nobody hears it: below this it is flat.
_CORNER_CYCLES_PER_SAMPLE = 1e-3


def coloured_noise(samples: int, exponent: float, generator: Generator) -> Samples:
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
    return unit_rms(np.fft.irfft(spectrum, samples))


# --- kinds that silence in training is made of ---


def _whistle(time_s: Times, generator: Generator) -> Times:
    """A tone that glides from one pitch to another."""
    start_hz, end_hz = generator.uniform(300, 4_000, 2)
    pitch_hz = np.geomspace(start_hz, end_hz, len(time_s))
    return np.asarray(np.sin(2 * np.pi * np.cumsum(pitch_hz) * (time_s[1] - time_s[0])))


def _hum(time_s: Times, generator: Generator) -> Times:
    harmonics = np.arange(1, 13)[:, np.newaxis]
    levels, phases = generator.random(harmonics.shape) / harmonics, generator.uniform(0, 2 * np.pi, harmonics.shape)
    return _mix(levels * np.sin(2 * np.pi * generator.uniform(40, 400) * harmonics * time_s + phases))


def _gusts(time_s: Times, generator: Generator) -> Times:
    """Noise whose level comes and goes."""
    swell = np.sin(2 * np.pi * (generator.uniform(0.5, 4) * time_s + generator.random()))
    return coloured_noise(len(time_s), generator.uniform(0, 2), generator) * (1 + generator.uniform(0.5, 1) * swell)


def _rustle(time_s: Times, generator: Generator) -> Times:
    """Strokes of noise that begin and end softly."""
    strokes = (int(generator.integers(1, 6)), 1)
    place = (time_s - generator.uniform(0, time_s[-1], strokes)) / generator.uniform(0.05, 0.4, strokes)
    level = _mix(generator.uniform(0.3, 1, strokes) * np.square(np.cos(np.pi * np.clip(place, -0.5, 0.5))))
    return level * coloured_noise(len(time_s), generator.uniform(0, 1), generator)


TRAINED_ON: tuple[Kind, ...] = (_whistle, _hum, _gusts, _rustle)


# --- kinds to measure on ---


def _keyboard(time_s: Times, generator: Generator) -> Times:
    return _strokes(time_s, int(generator.integers(4, 12)), (0.002, 0.008), generator) * _white(time_s, generator)


def _clatter(time_s: Times, generator: Generator) -> Times:
    """Knocks that ring, as of a door or of dishes: each the same few resonances."""
    resonances_hz = generator.uniform(150, 3_000, (6, 1))
    ringing = _mix(np.sin(2 * np.pi * resonances_hz * time_s)) + _white(time_s, generator)
    return _strokes(time_s, int(generator.integers(1, 5)), (0.03, 0.15), generator) * ringing


def _crackle(time_s: Times, generator: Generator) -> Times:
    impulses = np.zeros(len(time_s))
    where = generator.integers(len(time_s), size=generator.integers(10, 200))
    impulses[where] = generator.standard_t(3, len(where))
    return impulses


def _alarm(time_s: Times, generator: Generator) -> Times:
    """A tone that comes and goes; it is on at the beginning, that no window is silent."""
    share_on = generator.uniform(0.3, 0.7)
    place = (time_s * generator.uniform(2, 8) + generator.uniform(0, share_on)) % 1
    return np.sin(2 * np.pi * generator.uniform(800, 3_500) * time_s) * (place < share_on)


def _music(time_s: Times, generator: Generator) -> Times:
    """Tonic, subdominant, dominant and tonic, plucked."""
    root_hz, beat_s = generator.uniform(110, 330), float(time_s[-1]) / 4
    chord = np.minimum(time_s // beat_s, 3).astype(int)
    semitones = np.array([[0, 4, 7], [5, 9, 12], [7, 11, 14], [0, 4, 7]])[chord].T
    pitches_hz = root_hz * 2 ** (semitones / 12)
    notes = _mix(np.array([np.sin(2 * np.pi * partial * pitches_hz * time_s) / partial for partial in range(1, 7)]))
    return _mix(notes) * np.exp(-(time_s % beat_s) / generator.uniform(0.1, 0.5))


def _engine(time_s: Times, generator: Generator) -> Times:
    """Harmonics of a speed that changes, the strokes heard in their level."""
    turns = generator.uniform(25, 90) * (time_s + generator.uniform(-0.3, 0.3) * np.square(time_s) / 2)
    harmonics = np.arange(1, 25)[:, np.newaxis]
    phases = generator.uniform(0, 2 * np.pi, harmonics.shape)
    tone = _mix(np.sin(2 * np.pi * harmonics * turns + phases) / np.sqrt(harmonics))
    return tone * (1 + generator.uniform(0.5, 1) * np.sin(np.pi * turns))


def _bell(time_s: Times, generator: Generator) -> Times:
    """A bell struck once or a few times; the partials are those that founders tune (Rossing 1984)."""
    partials_hz = generator.uniform(300, 1_200) * np.array([[0.5], [1.0], [1.2], [1.5], [2.0], [2.5], [3.0]])
    levels = generator.uniform(0.3, 1, partials_hz.shape)
    ringing = _mix(levels * np.sin(2 * np.pi * partials_hz * time_s))
    return _strokes(time_s, int(generator.integers(1, 4)), (0.15, 0.6), generator) * ringing


def _birds(time_s: Times, generator: Generator) -> Times:
    """Chirps, each a short sweep up or down."""
    chirps = (int(generator.integers(3, 12)), 1)
    lasts_s = generator.uniform(0.03, 0.12, chirps)
    after_s = time_s - generator.uniform(0, time_s[-1] - lasts_s)
    place = np.clip(after_s / lasts_s, 0, 1)
    start_hz, end_hz = generator.uniform(2_000, 6_000, (2, *chirps))
    turns = (start_hz * place + (end_hz - start_hz) * np.square(place) / 2) * lasts_s
    return _mix(np.square(np.sin(np.pi * place)) * np.sin(2 * np.pi * turns))


def _rain(time_s: Times, generator: Generator) -> Times:
    """Drops, each a resonance of some thousandths of a second; most are faint."""
    drops = np.zeros((8, len(time_s)))  # of so many pitches
    where = generator.integers(drops.size, size=generator.integers(300, 2_000))
    drops.flat[where] = generator.exponential(size=len(where))
    pitches_hz, decays_s = generator.uniform(1_000, 6_000, (8, 1)), generator.uniform(0.0005, 0.003, (8, 1))
    drop = np.exp(-time_s / decays_s) * np.sin(2 * np.pi * pitches_hz * time_s)
    # Convolved in a circle: rain has no beginning.
    return _mix(np.fft.irfft(np.fft.rfft(drops) * np.fft.rfft(drop), len(time_s)))


# Kinds of noise heard around devices, of which no training is made. They tell what a
# recogniser makes of noise it doesn't know: never train on them, nor choose anything by them.
# Some have relatives above: a key's stroke is a short rustle, an engine a hum that throbs.
# The first six were looked at when training's kinds were chosen, the last three came after that.
NEVER_TRAINED_ON: dict[str, Kind] = {
    "keyboard": _keyboard,
    "clatter": _clatter,
    "crackle": _crackle,
    "alarm": _alarm,
    "music": _music,
    "engine": _engine,
    "bell": _bell,
    "birds": _birds,
    "rain": _rain,
}


def _strokes(time_s: Times, count: int, decays_s: tuple[float, float], generator: Generator) -> Times:
    """Level of so many strokes at random times, each at once as loud as it gets and then decaying."""
    after_s = time_s - generator.uniform(0, 0.8 * time_s[-1], (count, 1))
    decays = np.exp(-np.maximum(after_s, 0) / generator.uniform(*decays_s, (count, 1)))
    return _mix(generator.uniform(0.3, 1, (count, 1)) * decays * (after_s >= 0))


def _mix(layers: Times) -> Times:
    """Sound of all layers `(n, …, samples)` at once."""
    return np.asarray(layers.sum(axis=0))


def _white(time_s: Times, generator: Generator) -> Times:
    return generator.standard_normal(len(time_s))


def unit_rms(samples: NDArray[np.floating]) -> Samples:
    """The same at a root mean square of 1, float32 `(samples,)`."""
    return np.asarray(samples / np.sqrt(np.mean(np.square(samples))), np.float32)
