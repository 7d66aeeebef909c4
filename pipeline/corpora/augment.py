"""Changed copies of a training clip: other speeds, rooms, microphones, levels, positions and noises."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.signal
import soxr
from numpy.random import Generator

from pipeline.config import Audio, Augment
from pipeline.corpora.noise_kinds import coloured_noise
from pipeline.device.audio import Samples, amplitude, fit, loud_part, rms

_EQUALISER_BANDS = 6
_SEEN_SHARE = (0.15, 0.6)  # of a word that sticks out of the window
_QUIETEST_RMS = 1e-5  # noise is set against at least this, so that digital silence gets some too


def augment(
    samples: Samples, *, audio: Audio, settings: Augment, noise: Sequence[Samples], generator: Generator
) -> Samples:
    """One changed copy of a clip.

    Parameters
    ----------
    samples
        float32 `(clip_samples,)` in [-1, 1].
    noise
        Recorded noise, each float32 `(n,)`, gone through in a circle; coloured noise is used beside it.

    Returns
    -------
    window
        float32 `(clip_samples,)`, clipped to [-1, 1] as a sound card would.
    """
    samples = _change_speed(samples, settings.speed_percent, generator)
    if generator.random() < settings.room_probability:
        samples = _put_in_room(samples, audio.sample_rate_hz, generator)
    samples = _place(samples, audio.clip_samples, settings.shift_ms * audio.sample_rate_hz // 1000, generator)
    if generator.random() < settings.equaliser_probability:
        samples = _equalise(samples, settings.equaliser_db, generator)
    samples = samples * amplitude(generator.uniform(-settings.gain_db, settings.gain_db))
    if generator.random() < settings.noise_probability:
        samples = samples + _noise_for(samples, settings, noise, generator)
    return np.clip(samples, -1, 1).astype(np.float32)


def fragment(before: Samples, after: Samples, audio: Audio, generator: Generator) -> Samples:
    """A window between two words, as a stream has many: the end of one, the beginning of the other, or both.

    Parameters
    ----------
    before, after
        One word each, float32 `(clip_samples,)`.

    Returns
    -------
    window
        float32 `(clip_samples,)`; of a word's loud part it holds at most three fifths.
    """
    window = np.zeros(audio.clip_samples, np.float32)
    which = generator.integers(3)
    if which != 0:
        start, end = loud_part(before)
        rest = generator.uniform(0, 0.3) * audio.clip_samples  # what sounds on after the loud part
        tail = before[end - int(generator.uniform(*_SEEN_SHARE) * (end - start)) : end + int(rest)]
        window[: len(tail)] += tail
    if which != 1:
        start, end = loud_part(after)
        head = after[: start + int(generator.uniform(*_SEEN_SHARE) * (end - start))][-audio.clip_samples // 2 :]
        window[len(window) - len(head) :] += head
    return window


def piece(sentence: Samples, audio: Audio, generator: Generator) -> Samples:
    """A window from anywhere in a sentence float32 `(n,)`, its first and last half a second included."""
    apart = np.pad(sentence, audio.clip_samples // 2)
    start = int(generator.integers(len(apart) - audio.clip_samples, endpoint=True))
    return apart[start : start + audio.clip_samples]


def _change_speed(samples: Samples, percent: float, generator: Generator) -> Samples:
    """Faster or slower, pitch and formants with it, as a tape would."""
    speed = 1 + generator.uniform(-percent, percent) / 100
    return np.asarray(soxr.resample(samples, speed, 1.0, quality="LQ"), np.float32)


def _put_in_room(samples: Samples, sample_rate_hz: int, generator: Generator) -> Samples:
    """Convolve with the direct sound and a tail of noise that falls by 60 dB in the reverberation time."""
    reverberation_s = generator.uniform(0.05, 0.4)
    length = int(reverberation_s * sample_rate_hz)
    tail = generator.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    response = tail * generator.uniform(0.02, 0.2)
    response[0] = 1.0
    return np.asarray(scipy.signal.fftconvolve(samples, response)[: len(samples)], np.float32)


def _place(samples: Samples, clip_samples: int, shift: int, generator: Generator) -> Samples:
    """One window, the word whole in it and its middle up to `shift` samples from the window's; 0: nothing is moved."""
    moved = 0
    if shift:
        start, end = loud_part(samples)
        most = min(shift, max(0, clip_samples - (end - start)) // 2)
        moved = int(generator.integers(-most, most, endpoint=True)) + (len(samples) - start - end) // 2
    apart = np.pad(fit(samples, max(len(samples), clip_samples)), clip_samples)
    begin = (len(apart) - clip_samples) // 2 - moved
    return apart[begin : begin + clip_samples]


def _equalise(samples: Samples, decibels: float, generator: Generator) -> Samples:
    """Another microphone: a smooth random gain over frequency, in bands as wide as the ear's."""
    spectrum = np.fft.rfft(samples)
    position = np.sqrt(np.linspace(0, 1, len(spectrum)))
    gains_db = generator.uniform(-decibels, decibels, _EQUALISER_BANDS)
    gain = 10 ** (np.interp(position, np.linspace(0, 1, _EQUALISER_BANDS), gains_db) / 20)
    return np.fft.irfft(spectrum * gain, len(samples)).astype(np.float32)


def _noise_for(samples: Samples, settings: Augment, noise: Sequence[Samples], generator: Generator) -> Samples:
    """Recorded or coloured noise at a random ratio of clip to noise."""
    if noise and generator.random() < 0.6:
        recording = noise[int(generator.integers(len(noise)))]
        start = generator.integers(len(recording))
        added = np.take(recording, np.arange(start, start + len(samples)), mode="wrap")
    else:
        added = coloured_noise(len(samples), generator.uniform(0, 2), generator)
    wanted = max(rms(samples), _QUIETEST_RMS) / amplitude(generator.uniform(settings.min_snr_db, settings.max_snr_db))
    return np.asarray(added * (wanted / max(rms(added), _QUIETEST_RMS)), np.float32)
