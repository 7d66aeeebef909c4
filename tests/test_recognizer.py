"""What an app sees of a bundle: the scores, and a clear word where something is wrong with it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.device import Recognizer
from pipeline.errors import AudioError, BundleError

FILES = [f"commands_features_{kind}.tflite" for kind in ("float", "dynamic", "int8")]


@pytest.fixture
def bundle(tiny_build: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_build / "bundle", tmp_path / "bundle"))


def describe(bundle: Path, **changes: object) -> None:
    path = bundle / "commands.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


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


def test_a_description_that_lacks_a_part_is_refused(bundle: Path) -> None:
    path = bundle / "commands.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "normaliser"}))
    with pytest.raises(BundleError, match=r"commands\.json: lacks normaliser"):
        Recognizer.load(bundle)


def test_another_format_is_refused(bundle: Path) -> None:
    describe(bundle, format=2)
    with pytest.raises(BundleError, match=r"commands\.json: format 2, and this version reads format 1"):
        Recognizer.load(bundle)


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_a_broken_description_is_refused(text: str, bundle: Path) -> None:
    (bundle / "commands.json").write_text(text)
    with pytest.raises(BundleError, match=r"commands\.json: "):
        Recognizer.load(bundle)


@pytest.mark.parametrize("name", [*FILES, "labels.txt", "golden/golden.json", "golden/00.wav"])
def test_an_edited_or_missing_file_is_named(name: str, bundle: Path) -> None:
    path = bundle / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(BundleError, match=f"{name}: not the file that was made"):
        Recognizer.load(bundle)
    path.unlink()
    with pytest.raises(BundleError, match=f"{name}: missing"):
        Recognizer.load(bundle)


@pytest.mark.parametrize("kept", [0, 1, 100, 10_000])
def test_a_truncated_file_with_a_matching_hash_is_refused(kept: int, bundle: Path) -> None:
    path = bundle / FILES[1]
    path.write_bytes(path.read_bytes()[:kept])
    hashes = json.loads((bundle / "commands.json").read_text())["sha256"]
    describe(bundle, sha256=hashes | {FILES[1]: hashlib.sha256(path.read_bytes()).hexdigest()})
    with pytest.raises(BundleError, match=f"{FILES[1]}: not a whole TFLite file"):
        Recognizer.load(bundle)


def test_a_file_that_the_bundle_lacks_is_named_with_those_it_has(tiny_build: Path) -> None:
    with pytest.raises(BundleError, match=r"holds no other\.tflite; it has: commands_features_dynamic\.tflite, "):
        Recognizer.load(tiny_build / "bundle", "other.tflite")
