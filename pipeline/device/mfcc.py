"""The one feature function: training, evaluation and the device use it alike."""

from __future__ import annotations

import functools
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Audio, Features
from pipeline.device.audio import Samples
from pipeline.errors import AudioError, MissingExtra


def mfcc(samples: Samples, *, audio: Audio, features: Features) -> NDArray[np.float32]:
    """Mel-frequency cepstral coefficients of one window or a batch of them, as librosa computes them.

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
    decibels = log_mel(samples, audio=audio, features=features)
    coefficients = _librosa().feature.mfcc(S=decibels, n_mfcc=features.n_mfcc)
    return np.ascontiguousarray(np.swapaxes(coefficients, -1, -2), dtype=np.float32)


def log_mel(samples: Samples, *, audio: Audio, features: Features) -> NDArray[np.float32]:
    """Mel spectrogram in decibels, which the MFCC are a cosine transform of; parameters and errors as for `mfcc`.

    The decibels are not clipped against the loudest value (librosa's `top_db`), which would make a clip depend
    on its neighbours in the batch and can't be known on a stream.

    Returns
    -------
    decibels
        float32 `(n_mels, frames)` or `(batch, n_mels, frames)`.
    """
    if samples.shape[-1] != audio.clip_samples:
        raise AudioError(f"a window has {audio.clip_samples} samples, {samples.shape[-1]} were given")
    librosa = _librosa()
    spectrum = librosa.stft(
        samples,
        n_fft=features.n_fft,
        win_length=features.window_samples(audio),
        hop_length=features.hop_samples(audio),
        center=False,
    )
    mel = np.einsum("...ft,mf->...mt", librosa.util.abs2(spectrum), _mel_filters(audio, features), optimize=True)
    return np.asarray(librosa.power_to_db(mel, top_db=None))


@functools.lru_cache(maxsize=1)
def _mel_filters(audio: Audio, features: Features) -> NDArray[np.float32]:
    """Slaney's filters `(n_mels, 1 + n_fft / 2)`, which `librosa.feature.melspectrogram` would make anew each time."""
    return np.asarray(
        _librosa().filters.mel(
            sr=audio.sample_rate_hz,
            n_fft=features.n_fft,
            n_mels=features.n_mels,
            fmin=features.f_min_hz,
            fmax=features.f_max_hz,
        )
    )


def _librosa() -> ModuleType:
    try:
        import librosa
    except ImportError:
        raise MissingExtra("this file takes MFCC, which need librosa; run: pip install 'librosa~=0.11.0'") from None
    return librosa
