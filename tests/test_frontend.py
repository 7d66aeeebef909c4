"""MFCC inside the file: librosa's numbers on every sound, in TFLite's interpreter."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from test_mfcc import SIGNALS, VARIANTS

from pipeline.config import Audio, Features
from pipeline.device import audio
from pipeline.device.mfcc import mfcc
from pipeline.network.engine import tf
from pipeline.network.frontend import Frontend

TOLERANCE = 1e-3
TIME_S = np.arange(16_000) / 16_000
SINES = {
    f"sine of {frequency_hz} Hz": np.sin(2 * np.pi * frequency_hz * TIME_S).astype(np.float32)
    for frequency_hz in (50, 440, 3_999, 7_999)
}
SOUNDS = (
    SIGNALS | SINES | {f"{name}, 16 bit": np.rint(sine * 32_767) / np.float32(32_768) for name, sine in SINES.items()}
)


def in_a_file(sound: Audio, features: Features) -> Interpreter:
    """The front-end alone, converted as for the phone: built-in operators only."""
    signature = [tf.TensorSpec((1, sound.clip_samples), tf.float32)]
    frontend = Frontend(sound, features)
    function = tf.function(lambda samples: frontend(samples), autograph=False, input_signature=signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], frontend)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = Interpreter(model_content=converter.convert(), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def coefficients(interpreter: Interpreter, samples: np.ndarray) -> np.ndarray:
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], samples[None])
    interpreter.invoke()
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


@pytest.fixture(scope="module")
def default() -> Interpreter:
    return in_a_file(Audio(), Features())


@pytest.mark.parametrize("name", SOUNDS)
def test_a_file_hears_what_librosa_hears(name: str, default: Interpreter) -> None:
    found = coefficients(default, SOUNDS[name])
    assert np.isfinite(found).all()
    expected = mfcc(SOUNDS[name], audio=Audio(), features=Features())
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


ODD = [
    *((Audio(), features) for features in VARIANTS[1:]),
    (Audio(clip_ms=1_234), Features()),  # samples are left over after the last frame
    (Audio(clip_ms=500), Features(hop_ms=35)),  # hops longer than a frame
    (Audio(clip_ms=400), Features(hop_ms=12)),  # a frame that ends within a hop, beyond the last sample
    (Audio(sample_rate_hz=8_000), Features(n_fft=256, n_mels=20, n_mfcc=13, f_max_hz=4_000.0)),
    (Audio(sample_rate_hz=44_100, clip_ms=1_000), Features(n_fft=2048, hop_ms=10, window_ms=40)),
]


@pytest.mark.parametrize(("sound", "features"), ODD)
def test_under_other_settings_too(sound: Audio, features: Features) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, sound.clip_samples).astype(np.float32)
    found = coefficients(in_a_file(sound, features), samples)
    np.testing.assert_allclose(found, mfcc(samples, audio=sound, features=features), atol=TOLERANCE)


@pytest.mark.recordings
@pytest.mark.skipif("RECORDINGS" not in os.environ, reason="set RECORDINGS to a folder with speech_commands/ in it")
def test_real_speech_sounds_the_same(default: Interpreter) -> None:
    files = sorted((Path(os.environ["RECORDINGS"]) / "speech_commands").glob("[a-z]*/*_nohash_0.*"))
    windows = np.stack([audio.fit(audio.read(path, 16_000), 16_000) for path in files[:: max(1, len(files) // 200)]])
    found = np.stack([coefficients(default, window) for window in windows])
    np.testing.assert_allclose(found, mfcc(windows, audio=Audio(), features=Features()), atol=TOLERANCE)
