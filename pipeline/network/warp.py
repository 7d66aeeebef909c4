"""Speakers and tempos that no clip has: MFCC warped along frequency and along time, anew in each epoch."""

from __future__ import annotations

import librosa
import numpy as np
import scipy.fft
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.config import Features

_VOICES = 33  # lengths of the vocal tract to draw from

Array = NDArray[np.float32]


def voices(percent: float, features: Features) -> Array:
    """What another length of the vocal tract does to MFCC (Jaitly & Hinton 2013, "Vocal Tract Length Perturbation").

    Every frequency is divided by a factor between 1 - `percent` / 100 and 1 + `percent` / 100, the same in all of
    a clip. MFCC are a cosine transform of the mel bands' decibels; taken back, each band is read at its frequency
    times the factor, the outermost band going on beyond its end, and all are transformed again. All of it is linear.

    Returns
    -------
    matrices
        float32 `(voices, n_mfcc, n_mfcc)`, to multiply frames `(…, n_mfcc)` by from the right.
    """
    cosines = scipy.fft.dct(np.eye(features.n_mels), axis=0, norm="ortho")[: features.n_mfcc]
    hz = librosa.mel_frequencies(features.n_mels + 2, fmin=features.f_min_hz, fmax=features.f_max_hz)[1:-1]
    mels, bands = librosa.hz_to_mel(hz), np.eye(features.n_mels)
    factors = 1 + np.linspace(-percent, percent, _VOICES) / 100
    read = [[np.interp(librosa.hz_to_mel(hz * factor), mels, band) for band in bands] for factor in factors]
    return np.asarray(cosines @ np.array(read) @ cosines.T, np.float32)


def another_voice(batch: Array, matrices: Array, generator: Generator) -> Array:
    """Each clip of a batch `(clips, frames, n_mfcc)` by one of the `voices`."""
    return batch @ matrices[generator.integers(len(matrices), size=len(batch))]


def another_tempo(batch: Array, percent: float, generator: Generator) -> Array:
    """Each clip slower or faster around its middle by up to `percent`; at the ends its first or last frame goes on."""
    clips, frames, _ = batch.shape
    speed = 1 + generator.uniform(-percent, percent, (clips, 1)) / 100
    middle = (frames - 1) / 2
    place = np.clip(middle + (np.arange(frames) - middle) * speed, 0, frames - 1)
    before = np.minimum(place.astype(int), frames - 2)
    share = (place - before)[..., np.newaxis].astype(np.float32)
    clip = np.arange(clips)[:, np.newaxis]
    return batch[clip, before] * (1 - share) + batch[clip, before + 1] * share
