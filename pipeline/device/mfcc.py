"""The one feature function: training, evaluation and the device use it alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Audio, Features
from pipeline.device.audio import Samples
from pipeline.errors import AudioError, MissingExtra


def mfcc(samples: Samples, *, audio: Audio, features: Features) -> NDArray[np.float32]:
    """Mel-frequency cepstral coefficients of one window or a batch of them, as librosa computes them.

    The decibels are not clipped against the loudest value (librosa's `top_db`), which would make a clip depend
    on its neighbours in the batch and can't be known on a stream.

    Parameters
    ----------
    samples
        float32 `(clip_samples,)` or `(batch, clip_samples)` in [-1, 1].

    Returns
    -------
    coefficients
        float32 `(frames, n_mfcc)` or `(batch, frames, n_mfcc)`.

    Raises
    ------
    AudioError
        If the last axis is not one window long.
    MissingExtra
        If librosa isn't installed.
    """
    if samples.shape[-1] != audio.clip_samples:
        raise AudioError(f"a window has {audio.clip_samples} samples, {samples.shape[-1]} were given")
    try:
        import librosa
    except ImportError:
        raise MissingExtra("this file takes MFCC, which need librosa; run: pip install 'librosa~=0.11.0'") from None
    mel = librosa.feature.melspectrogram(
        y=samples,
        sr=audio.sample_rate_hz,
        n_fft=features.n_fft,
        win_length=features.window_samples(audio),
        hop_length=features.hop_samples(audio),
        center=False,
        n_mels=features.n_mels,
        fmin=features.f_min_hz,
        fmax=features.f_max_hz,
    )
    decibels = librosa.power_to_db(mel, top_db=None)
    coefficients = librosa.feature.mfcc(S=decibels, n_mfcc=features.n_mfcc)
    return np.ascontiguousarray(np.swapaxes(coefficients, -1, -2), dtype=np.float32)
