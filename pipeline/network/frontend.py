"""librosa's MFCC as TensorFlow operators, so that a file can take sound: a phone has no librosa."""

from __future__ import annotations

import math

import numpy as np
import scipy.fft
from librosa.filters import get_window, mel
from librosa.util import pad_center

from pipeline.config import Audio, Features
from pipeline.network.engine import tf

# librosa.power_to_db's floor. In float16 it would be 0, and the logarithm of silence no number.
_FLOOR = 1e-10
_COARSE_STEPS = 2**11


class Frontend(tf.Module):
    """The same coefficients as `pipeline.device.mfcc.mfcc`, by built-in operators of TensorFlow Lite.

    Its tables (window, mel filters, cosine transform) are librosa's own.
    """

    def __init__(self, audio: Audio, features: Features) -> None:
        super().__init__()
        self._n_fft, self._hop = features.n_fft, features.hop_samples(audio)
        window = get_window("hann", features.window_samples(audio), fftbins=True)
        self._window = pad_center(window, size=features.n_fft)
        self._mel = mel(
            sr=audio.sample_rate_hz,
            n_fft=features.n_fft,
            n_mels=features.n_mels,
            fmin=features.f_min_hz,
            fmax=features.f_max_hz,
        ).T
        cosines = scipy.fft.dct(np.eye(features.n_mels), norm="ortho")
        self._cosines = cosines[:, : features.n_mfcc].astype(np.float32)

    def __call__(self, samples: tf.Tensor) -> tf.Tensor:
        """MFCC `(frames, n_mfcc)` of one window `(1, clip_samples)` in [-1, 1]."""
        energy = tf.maximum(tf.matmul(self._power(self._frames(samples)), self._mel), _FLOOR)
        decibels = 10 / math.log(10) * tf.math.log(energy)
        return tf.matmul(decibels, self._cosines)

    def _frames(self, samples: tf.Tensor) -> tf.Tensor:
        """Overlapping frames `(frames, n_fft)`: the sound cut into hops, each put beside those that follow it.

        `tf.signal.frame` gathers pieces, and `samples[0]` copies them one by one: both take ten times as long.
        """
        count = 1 + (samples.shape[1] - self._n_fft) // self._hop
        hops = math.ceil(self._n_fft / self._hop)
        needed = (count + hops - 1) * self._hop
        samples = tf.pad(samples, [[0, 0], [0, max(0, needed - samples.shape[1])]])[:, :needed]
        rows = tf.reshape(samples, (-1, self._hop))
        return tf.concat([rows[n : n + count] for n in range(hops)], 1)[:, : self._n_fft]

    def _power(self, frames: tf.Tensor) -> tf.Tensor:
        """Power spectrum `(frames, 1 + n_fft / 2)` under the window, as exact as librosa's, which is float64 inside.

        A product in float32 leaves noise 144 dB below the loudest sample; a pure tone leaves emptier bands.
        So both factors are split: coarse times coarse is exact, the rest is a second row, and RFFT2D, which is float64
        inside too, adds them: of a transform over rows the first line is the sum.
        """
        coarse = tf.round(frames * _COARSE_STEPS) / _COARSE_STEPS
        coarse_window = np.round(self._window * _COARSE_STEPS) / _COARSE_STEPS
        exact, rest = coarse * coarse_window, coarse * (self._window - coarse_window) + (frames - coarse) * self._window
        spectrum = tf.signal.rfft2d(tf.stack([exact, rest], 1), [2, self._n_fft])
        power = tf.square(tf.math.real(spectrum)[:, :1]) + tf.square(tf.math.imag(spectrum)[:, :1])
        return tf.squeeze(power, 1)
