"""Features: librosa's numbers, whatever else is in the batch."""

from __future__ import annotations

import dataclasses

import librosa
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.config import Audio, Features
from pipeline.device.audio import Samples
from pipeline.device.mfcc import mfcc
from pipeline.errors import AudioError

AUDIO = Audio(sample_rate_hz=16_000, clip_ms=1_000)
FEATURES = Features(window_ms=25, hop_ms=20, n_fft=512, n_mels=40, n_mfcc=40, f_min_hz=20.0, f_max_hz=7_600.0)
LENGTH = AUDIO.clip_samples
FLOOR_DB = -100  # librosa's power_to_db doesn't look below 1e-10

GENERATOR = np.random.default_rng(1)
TIME_S = np.arange(LENGTH) / AUDIO.sample_rate_hz
SINE = np.sin(2 * np.pi * 1000 * TIME_S).astype(np.float32)
SIGNALS: dict[str, Samples] = {
    "silence": np.zeros(LENGTH, np.float32),
    "last bit": (GENERATOR.integers(-1, 2, LENGTH) / 32768).astype(np.float32),
    "impulse": np.eye(1, LENGTH, LENGTH // 2, dtype=np.float32)[0],
    "full-scale sine": SINE,
    "quiet sine": SINE * np.float32(1e-3),
    "square": np.sign(SINE),
    "constant": np.ones(LENGTH, np.float32),
    "noise": (0.1 * GENERATOR.standard_normal(LENGTH)).astype(np.float32),
    "full-scale noise": GENERATOR.uniform(-1, 1, LENGTH).astype(np.float32),
    "clipped": np.clip(20 * SINE, -1, 1),
    "sweep": np.sin(2 * np.pi * 4000 * TIME_S**2).astype(np.float32),
}


def features(samples: Samples, settings: Features = FEATURES, audio: Audio = AUDIO) -> NDArray[np.float32]:
    return mfcc(samples, audio=audio, features=settings)


def by_librosa(samples: Samples, settings: Features = FEATURES, audio: Audio = AUDIO) -> NDArray[np.float32]:
    """What a person writes who has one clip and librosa's manual."""
    power = librosa.feature.melspectrogram(
        y=samples,
        sr=audio.sample_rate_hz,
        n_fft=settings.n_fft,
        win_length=audio.sample_rate_hz * settings.window_ms // 1000,
        hop_length=audio.sample_rate_hz * settings.hop_ms // 1000,
        center=False,
        n_mels=settings.n_mels,
        fmin=settings.f_min_hz,
        fmax=settings.f_max_hz,
    )
    return np.asarray(librosa.feature.mfcc(S=librosa.power_to_db(power, top_db=None), n_mfcc=settings.n_mfcc).T)


def mel_db(coefficients: NDArray[np.float32]) -> NDArray[np.float64]:
    """Decibels of the mel bands, from as many coefficients as there are bands: the inverse of the orthonormal DCT."""
    count = coefficients.shape[-1]
    n, k = np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
    basis = np.cos(np.pi * (2 * n + 1) * k / (2 * count)) * np.sqrt(2 / count)
    basis[:, 0] /= np.sqrt(2)
    return np.asarray(coefficients @ basis.T)


# --- the same as librosa, alone and in company ---

VARIANTS = [
    FEATURES,
    dataclasses.replace(FEATURES, n_mfcc=13, hop_ms=10),
    dataclasses.replace(FEATURES, n_fft=1024, window_ms=64, n_mels=64, n_mfcc=20, f_min_hz=0.0, f_max_hz=8000.0),
]


@pytest.mark.parametrize("settings", VARIANTS, ids=["default", "13 coefficients", "long window"])
def test_a_batch_gives_what_librosa_gives_for_each_clip(settings: Features) -> None:
    together = features(np.stack(list(SIGNALS.values())), settings)
    for row, samples in zip(together, SIGNALS.values(), strict=True):
        np.testing.assert_allclose(row, by_librosa(samples, settings), atol=1e-4)


@pytest.mark.parametrize("name", SIGNALS)
def test_a_clip_alone_gives_what_it_gives_in_a_batch(name: str) -> None:
    together = features(np.stack(list(SIGNALS.values())))[list(SIGNALS).index(name)]
    np.testing.assert_allclose(features(SIGNALS[name]), together, atol=1e-4)


def test_a_loud_neighbour_changes_nothing() -> None:
    quiet, loud = SIGNALS["quiet sine"] * np.float32(1e-3), SIGNALS["square"]
    alone = features(np.stack([quiet, quiet]))
    beside = features(np.stack([quiet, loud]))
    np.testing.assert_array_equal(beside[0], alone[0])


def test_a_loud_moment_does_not_change_the_rest_of_a_clip() -> None:
    samples = SIGNALS["quiet sine"] * np.float32(1e-3)
    with_click = samples.copy()
    with_click[-1] = 1.0
    np.testing.assert_array_equal(features(with_click)[:-1], features(samples)[:-1])


# --- shape ---


@pytest.mark.parametrize("settings", VARIANTS, ids=["default", "13 coefficients", "long window"])
@pytest.mark.parametrize("audio", [AUDIO, Audio(clip_ms=64), Audio(clip_ms=1500)])
def test_the_shape_is_that_of_the_settings(settings: Features, audio: Audio) -> None:
    batch = np.zeros((3, audio.clip_samples), np.float32)
    shape = (settings.frames(audio), settings.n_mfcc)
    assert features(batch[0], settings, audio).shape == shape
    assert features(batch, settings, audio).shape == (3, *shape)


def test_the_array_is_ready_to_be_written_and_fed() -> None:
    coefficients = features(np.stack([SINE, SINE]))
    assert coefficients.dtype == np.float32
    assert coefficients.flags.c_contiguous


@pytest.mark.parametrize("shape", [(LENGTH - 1,), (LENGTH + 1,), (0,), (2, 100), (LENGTH, 1)])
def test_another_length_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(AudioError) as caught:
        features(np.zeros(shape, np.float32))
    assert str(caught.value) == f"a window has 16000 samples, {shape[-1]} were given"


# --- signals whose answer is known ---


@pytest.mark.parametrize("name", SIGNALS)
def test_features_are_finite(name: str) -> None:
    assert np.isfinite(features(SIGNALS[name])).all()


def test_silence_is_the_floor_in_every_frame() -> None:
    expected = np.zeros((49, FEATURES.n_mfcc))
    expected[:, 0] = FLOOR_DB * np.sqrt(FEATURES.n_mels)
    np.testing.assert_allclose(features(SIGNALS["silence"]), expected, atol=1e-3)


def test_an_impulse_is_heard_where_it_is_and_in_every_band_alike() -> None:
    coefficients, floor = features(SIGNALS["impulse"]), features(SIGNALS["silence"])[0]
    starts = np.arange(49) * 320 + (512 - 400) // 2  # the window lies in the middle of a frame
    heard = (starts < LENGTH // 2) & (starts + 400 > LENGTH // 2)
    np.testing.assert_array_equal(np.flatnonzero(heard), [24])
    np.testing.assert_allclose(coefficients[~heard], np.tile(floor, (48, 1)), atol=1e-3)
    # Slaney's filters have the same area; the bins that they are made of add a little.
    assert np.ptp(mel_db(coefficients[24])) < 3


@pytest.mark.parametrize("frequency_hz", [300, 1000, 3000, 6000])
def test_a_sine_is_loudest_in_its_band(frequency_hz: int) -> None:
    bands_db = mel_db(features(np.sin(2 * np.pi * frequency_hz * TIME_S).astype(np.float32)))
    edges_hz = librosa.mel_frequencies(FEATURES.n_mels + 2, fmin=FEATURES.f_min_hz, fmax=FEATURES.f_max_hz)
    for band in np.argmax(bands_db, axis=1):
        assert edges_hz[band] < frequency_hz < edges_hz[band + 2]
    assert np.ptp(bands_db.max(axis=1)) < 0.5  # it sounds on and on


def test_ten_times_louder_is_20_db_in_every_band() -> None:
    noise = SIGNALS["noise"]
    difference = features(noise) - features(noise * np.float32(0.1))
    expected = np.zeros_like(difference)
    expected[:, 0] = 20 * np.sqrt(FEATURES.n_mels)
    np.testing.assert_allclose(difference, expected, atol=1e-3)


def test_a_clip_one_hop_later_gives_the_frames_one_later() -> None:
    samples = np.concatenate([SIGNALS["noise"], SIGNALS["sweep"]])
    now, later = features(samples[:LENGTH]), features(samples[320 : LENGTH + 320])
    np.testing.assert_allclose(later[:-1], now[1:], atol=1e-3)
