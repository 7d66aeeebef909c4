"""Tones of which it is known where another voice and another tempo put them."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import scipy.fft

from pipeline.config import Audio, Features
from pipeline.device.mfcc import mfcc
from pipeline.network import warp

AUDIO, FEATURES = Audio(), Features()
HZ = librosa.mel_frequencies(FEATURES.n_mels + 2, fmin=FEATURES.f_min_hz, fmax=FEATURES.f_max_hz)[1:-1]


def tone(pitch_hz: float) -> np.ndarray:
    """MFCC `(frames, n_mfcc)`."""
    time_s = np.arange(AUDIO.clip_samples) / AUDIO.sample_rate_hz
    samples = 0.5 * np.sin(2 * np.pi * pitch_hz * time_s) + 1e-3 * np.random.default_rng(0).standard_normal(len(time_s))
    return mfcc(samples.astype(np.float32), audio=AUDIO, features=FEATURES)


def loudest_hz(frames: np.ndarray) -> float:
    """Middle of the mel band that is loudest on average."""
    return float(HZ[scipy.fft.idct(frames, norm="ortho").mean(axis=0).argmax()])


def test_no_warp_leaves_mfcc_as_they_are() -> None:
    frames = tone(1_000)
    for matrix in warp.voices(0.0, FEATURES):
        np.testing.assert_allclose(frames @ matrix, frames, atol=1e-3)


@pytest.mark.parametrize("pitch_hz", [700, 1_500, 3_000])
def test_another_voice_moves_a_tone_by_its_factor(pitch_hz: float) -> None:
    matrices = warp.voices(20.0, FEATURES)
    width = np.interp(pitch_hz, HZ[1:], np.diff(HZ))  # of a band
    for matrix, factor in ((matrices[0], 0.8), (matrices[-1], 1.2)):
        assert loudest_hz(tone(pitch_hz) @ matrix) == pytest.approx(pitch_hz / factor, abs=1.5 * width)


def test_fewer_coefficients_than_bands_are_warped_too() -> None:
    few = Features(n_mfcc=20)
    matrices = warp.voices(10.0, few)
    assert matrices.shape[1:] == (20, 20)
    whole = tone(1_500) @ warp.voices(10.0, FEATURES)[0]
    np.testing.assert_allclose((tone(1_500)[:, :20] @ matrices[0])[:, :5], whole[:, :5], atol=0.5)


def test_each_clip_of_a_batch_gets_one_voice_for_all_its_frames() -> None:
    matrices, frames = warp.voices(10.0, FEATURES), tone(1_000)
    batch = warp.another_voice(np.stack([frames] * 8), matrices, np.random.default_rng(3))
    found = [min(range(len(matrices)), key=lambda n: np.abs(frames @ matrices[n] - clip).max()) for clip in batch]
    for clip, n in zip(batch, found, strict=True):
        np.testing.assert_allclose(clip, frames @ matrices[n], atol=1e-3)
    assert len(set(found)) > 1


def test_another_tempo_moves_what_is_off_the_middle_and_keeps_the_middle() -> None:
    ramp = np.repeat(np.arange(49, dtype=np.float32)[:, np.newaxis], 3, axis=1)
    batch = warp.another_tempo(np.stack([ramp] * 50), 20.0, np.random.default_rng(0))
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch[:, 24], 24)
    speeds = batch[:, 25, 0] - batch[:, 24, 0]
    assert 0.8 <= speeds.min() < 0.85
    assert 1.15 < speeds.max() <= 1.2
    for clip, speed in zip(batch[..., 0], speeds, strict=True):
        np.testing.assert_allclose(clip, np.clip(24 + (np.arange(49) - 24) * speed, 0, 48), atol=1e-3)


@pytest.mark.parametrize("frames", [1, 2])
def test_a_clip_of_hardly_any_frames_has_a_tempo_too(frames: int) -> None:
    batch = np.random.default_rng(0).standard_normal((4, frames, 3)).astype(np.float32)
    changed = warp.another_tempo(batch, 0.0, np.random.default_rng(0))
    np.testing.assert_allclose(changed, batch)
