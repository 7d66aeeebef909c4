"""What an app gets from a bundle: scores, the same in any order of calls."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import FILES

from pipeline.device import Recognizer
from pipeline.errors import AudioError, BundleError


def golden(bundle: Path) -> list[dict]:
    return json.loads((bundle / "golden" / "golden.json").read_text())["clips"]


def samples_of(bundle: Path) -> list[np.ndarray]:
    return [soundfile.read(bundle / "golden" / clip["file"], dtype="float32")[0] for clip in golden(bundle)]


@pytest.mark.parametrize("file", FILES)
def test_golden_clips_score_as_recorded_in_any_order(file: str, tiny_build: Path) -> None:
    bundle = tiny_build / "bundle"
    recognizer = Recognizer.load(bundle, file)
    expected = [clip["scores"][file] for clip in golden(bundle)]
    forwards = [recognizer.classify(samples) for samples in samples_of(bundle)]
    backwards = [recognizer.classify(samples) for samples in reversed(samples_of(bundle))]
    np.testing.assert_allclose([list(result.scores.values()) for result in forwards], expected, atol=1e-5)
    assert forwards == backwards[::-1]


def test_a_result_names_its_best_score(tiny_build: Path) -> None:
    result = Recognizer.load(tiny_build / "bundle").classify(samples_of(tiny_build / "bundle")[2])
    assert result.score == max(result.scores.values()) == result.scores[result.label]
    assert sum(result.scores.values()) == pytest.approx(1, abs=0.02)


def test_where_a_short_sound_lies_in_silence_is_for_the_recogniser_to_choose(tiny_build: Path) -> None:
    """Padding by hand, half before and half after, is what `classify` does itself."""
    recognizer = Recognizer.load(tiny_build / "bundle")
    short = samples_of(tiny_build / "bundle")[2][4000:12000]
    assert recognizer.classify(short) == recognizer.classify(np.pad(short, 4000))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros(0, np.float32), "mono array"),
        (np.zeros((16_000, 2), np.float32), "mono array"),
        (np.full(16_000, np.nan, np.float32), "NaN"),
        (np.full(16_000, 32_767, np.float32), "divide 16-bit samples by 32768"),
    ],
)
def test_samples_that_are_no_clip_are_refused(bad: np.ndarray, message: str, tiny_build: Path) -> None:
    with pytest.raises(AudioError, match=message):
        Recognizer.load(tiny_build / "bundle").classify(bad)


def test_a_file_that_the_bundle_lacks_is_named_with_those_it_has(tiny_build: Path) -> None:
    with pytest.raises(BundleError, match=r"holds no other\.tflite; it has: commands\.tflite, "):
        Recognizer.load(tiny_build / "bundle", "other.tflite")
