"""The phone files in every runtime that people have for them: the same scores, in any order of calls."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.runtimes import __main__ as benchmark
from benchmarks.runtimes import runtimes
from benchmarks.runtimes.runtimes import BROWSER, RUNTIMES, NotInstalled, Refused, Run
from pipeline.config import Audio, Features, Model
from pipeline.device import audio, metadata
from pipeline.device.mfcc import mfcc
from pipeline.network import model

ROOT = Path(__file__).parents[1]
TOLERANCE = {"commands.tflite": 5e-3, "commands_float.tflite": 1e-4}
FUSED = "commands_features_float.tflite"  # takes MFCC, and has no metadata
RATE_HZ = 16_000

Windows = NDArray[np.float32]


def marked(runtime: str, *more: str) -> object:
    return pytest.param(runtime, *more, marks=[pytest.mark.browser] if runtime in BROWSER else [])


def score(runtime: str, model: Path, windows: Windows) -> Run:
    try:
        return runtimes.score(runtime, model, windows)
    except NotInstalled as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def bundle(request: pytest.FixtureRequest) -> Path:
    """The default build's, since training spreads the scores; where it wasn't made, the tiny one's."""
    trained = ROOT / "build" / "synthetic" / "bundle"
    if (trained / "commands.tflite").exists():
        return trained
    tiny: Path = request.getfixturevalue("tiny_build")
    return tiny / "bundle"


@pytest.fixture(scope="session")
def windows(bundle: Path) -> Windows:
    """The golden clips, silence, noise at full scale and a tone."""
    golden = [audio.read(path, RATE_HZ) for path in sorted((bundle / "golden").glob("*.wav"))]
    noise = np.random.default_rng(1).uniform(-1, 1, RATE_HZ)
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    return np.stack([*golden, np.zeros(RATE_HZ), noise, tone]).astype(np.float32)


@pytest.mark.parametrize("file", TOLERANCE)
@pytest.mark.parametrize("runtime", map(marked, RUNTIMES))
def test_every_runtime_gives_the_same_scores_in_any_order(
    runtime: str, file: str, bundle: Path, windows: Windows
) -> None:
    run = score(runtime, bundle / file, np.concatenate([windows, windows[::-1]]))
    forwards, backwards = np.split(run.scores, 2)
    np.testing.assert_array_equal(backwards[::-1], forwards)
    expected = score("interpreter", bundle / file, windows).scores
    np.testing.assert_allclose(forwards, expected, rtol=0, atol=TOLERANCE[file])
    # Runtimes differ by 1e-6: only scores as close as that could change places.
    np.testing.assert_array_equal(forwards.argmax(axis=1), expected.argmax(axis=1))
    labels = (bundle / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert run.labels == (tuple(labels) if "mediapipe" in runtime else ())


def test_a_fused_lstm_does_not_stand_another_order(bundle: Path) -> None:
    """Or the test above would see no state where there is some."""
    golden = json.loads((bundle / "golden" / "golden.json").read_text(encoding="utf-8"))
    mfcc = np.array([clip["mfcc"] for clip in golden["clips"]], np.float32)
    forwards, backwards = np.split(score("interpreter", bundle / FUSED, np.concatenate([mfcc, mfcc[::-1]])).scores, 2)
    assert np.abs(backwards[::-1] - forwards).max() > 1e-3


@pytest.mark.parametrize(
    ("runtime", "reason"),
    [
        marked("compiled_model", "Variable tensors"),
        marked("litert_js", "Variable tensors"),
        marked("mediapipe_python", "Metadata"),
        marked("mediapipe_web", "Metadata"),
    ],
)
def test_a_runtime_that_refuses_a_file_says_why(runtime: str, reason: str, bundle: Path, windows: Windows) -> None:
    with pytest.raises(Refused, match=reason) as refusal:
        score(runtime, bundle / FUSED, windows)
    assert "\n" not in str(refusal.value)


def test_what_is_not_installed_is_named_with_what_to_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runtimes, "ENVIRONMENT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    given = tmp_path / "any.tflite", np.zeros((1, RATE_HZ), np.float32)
    with pytest.raises(NotInstalled, match="MediaPipe, Python is not installed; run: make runtimes"):
        runtimes.score("mediapipe_python", *given)
    (tmp_path / "ready").touch()
    with pytest.raises(NotInstalled, match=r"LiteRT\.js needs Chromium; .*apt install chromium"):
        runtimes.score("litert_js", *given)


def test_the_benchmark_writes_the_same_model_with_the_converters_own_lstm(bundle: Path, tmp_path: Path) -> None:
    sound, features = Audio(), Features()
    frames, count = features.frames(sound), features.n_mfcc
    network = model.build(
        Model(), frames=frames, n_mfcc=count, labels=4, mean=np.zeros(count), std=np.full(count, 99.0)
    )
    about = metadata.read((bundle / benchmark.PHONE).read_bytes(), benchmark.PHONE)
    files = benchmark.write_fused(tmp_path, network, sound, features, about)
    window = np.random.default_rng(1).uniform(-1, 1, (1, sound.clip_samples)).astype(np.float32)
    keras = network(mfcc(window, audio=sound, features=features))
    for name, tolerance in {benchmark.FUSED_FLOAT: 1e-4, benchmark.FUSED_DYNAMIC: 0.05}.items():
        np.testing.assert_allclose(score("interpreter", files[name], window).scores, keras, atol=tolerance)


def test_the_benchmark_counts_against_keras_the_interpreter_and_the_other_order() -> None:
    keras = np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4]], np.float32)
    flipped = np.array([[0.9, 0.1], [0.3, 0.7], [0.4, 0.6]], np.float32)
    cells: benchmark.Cells = {
        ("a", "interpreter"): [Run(keras, 1.0, ()), Run(keras, 2.0, ())],
        ("a", "litert_js"): [Run(flipped, 5.0, ()), Run(keras, 4.0, ())],
        ("a", "compiled_model"): Refused("why"),
    }
    leaking = benchmark.row("a", "litert_js", cells, keras)
    differences = [leaking.pop(name) for name in ("from_keras", "from_interpreter", "between_orders")]
    np.testing.assert_allclose(differences, 0.2, rtol=1e-5)
    assert leaking == {"file": "a", "runtime": "litert_js", "labels_changed": 1, "latency_ms": 4.5}
    assert benchmark.row("a", "compiled_model", cells, keras)["refused"] == "why"
