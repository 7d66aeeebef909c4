"""Nothing is learnt from what is only there to judge: whole splits are replaced by garbage, and nothing else may move.

A spoiled folder gets the receipt that its stage would have given it, so that the stages after it accept it.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import TINY

from pipeline import receipt
from pipeline.config import BACKGROUND_NOISE, load
from pipeline.corpora import manifest, shards
from pipeline.corpora.manifest import OFFICIAL, OTHERS, TESTING, TRAINING, VALIDATION, Clip
from pipeline.device import audio
from pipeline.network import model
from pipeline.stages import evaluate, features, train, tune

SETTINGS = load(TINY)
RATE_HZ = SETTINGS.audio.sample_rate_hz

Spoil = Callable[[Path], None]


def remake(stage: str, tiny_build: Path, build: Path, spoil: Spoil = lambda work: None) -> None:
    """A stage's folder once more, as if made from the folders in `build`; `spoil` changes files in it first."""
    made_from = json.loads((tiny_build / stage / "receipt.json").read_text())["inputs"]
    inputs = [receipt.require(SETTINGS, **{name: build / name})[0] for name in made_from]
    with receipt.making(build / stage, stage, SETTINGS, inputs) as work:
        shutil.copytree(tiny_build / stage, work, dirs_exist_ok=True)
        spoil(work)


def garbage(split: str) -> Spoil:
    """Replace the MFCC of a split; labels stay."""

    def spoil(work: Path) -> None:
        for path in sorted((work / split).glob("*.mfcc.npy")):
            np.save(path, np.random.default_rng(0).normal(0, 60, np.load(path).shape).astype(np.float32))

    return spoil


def louder(work: Path, clip: Clip) -> Clip:
    """Replace the sound of a clip by loud noise, a little longer than it was."""
    path = work / clip.path
    sound = np.random.default_rng(0).uniform(-1, 1, soundfile.info(path).frames + 1_000)
    soundfile.write(path, sound, RATE_HZ, subtype="PCM_16")
    return dataclasses.replace(clip, sha256=receipt.sha256(path))


def spoil_all_but_training(work: Path) -> None:
    """Make all clips and noise of the other splits loud, and call half of the testing clips the official test."""
    clips = manifest.read(work)
    clips = [clip if clip.split == TRAINING else louder(work, clip) for clip in clips]
    testing = manifest.examples(clips, TESTING)
    clips = [dataclasses.replace(clip, split=OFFICIAL) if clip in testing[::2] else clip for clip in clips]
    manifest.write(work, clips, manifest.read_labels(work))


def loud_split(split: str) -> Spoil:
    """Replace the sound of a split; labels stay."""

    def spoil(work: Path) -> None:
        clips = [louder(work, clip) if clip.split == split else clip for clip in manifest.read(work)]
        manifest.write(work, clips, manifest.read_labels(work))

    return spoil


def spoil_training_noise(work: Path) -> None:
    clips = manifest.read(work)
    clips = [louder(work, c) if (c.label, c.split) == (BACKGROUND_NOISE, TRAINING) else c for c in clips]
    manifest.write(work, clips, manifest.read_labels(work))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def loud(tiny_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build whose features come from a corpus in which `spoil_all_but_training` was."""
    build = tmp_path_factory.mktemp("loud")
    remake("corpus", tiny_build, build, spoil_all_but_training)
    features.run(SETTINGS, build / "corpus", build / "features")
    return build


# --- features ---


def test_training_features_come_from_training_sound_alone(tiny_build: Path, loud: Path) -> None:
    """Clips, the noise mixed into their copies, and the normaliser: the other splits and their noise have no say."""
    for split in (VALIDATION, TESTING):
        before, after = (shards.read(build / "features" / split).originals()[0] for build in (tiny_build, loud))
        assert after[..., 0].max(axis=1).min() > before[..., 0].max()  # each clip is louder than any before
    assert digests(loud / "features" / "training") == digests(tiny_build / "features" / "training")
    names = {path.name for path in (tiny_build / "features").iterdir() if path.is_file()} - {"receipt.json"}
    assert "normaliser.json" in names
    for name in names:
        assert (loud / "features" / name).read_bytes() == (tiny_build / "features" / name).read_bytes()


def test_training_noise_is_mixed_into_copies_alone(tiny_build: Path, tmp_path: Path) -> None:
    remake("corpus", tiny_build, tmp_path, spoil_training_noise)
    features.run(SETTINGS, tmp_path / "corpus", tmp_path / "features")
    before, after = (shards.read(build / "features" / "training") for build in (tiny_build, tmp_path))
    changed = (np.concatenate(before.mfcc) != np.concatenate(after.mfcc)).any(axis=(1, 2))
    is_copy = before.index[:, shards.COPY] > 0
    assert not changed[~is_copy].any()
    # 80 % of the copies get noise, 60 % of it recorded.
    assert 0.3 < changed[is_copy].mean() < 0.7
    for split in (VALIDATION, TESTING):
        assert digests(tmp_path / "features" / split) == digests(tiny_build / "features" / split)


def test_the_normaliser_is_that_of_the_training_shards(tiny_build: Path) -> None:
    training = np.concatenate(shards.read(tiny_build / "features" / "training").mfcc).astype(np.float64)
    normaliser = json.loads((tiny_build / "features" / "normaliser.json").read_text())
    np.testing.assert_allclose(normaliser["mean"], training.mean(axis=(0, 1)), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(normaliser["std"], training.std(axis=(0, 1)), rtol=1e-6)


# --- train ---


def history(folder: Path) -> dict[str, list[float]]:
    with (folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


@pytest.mark.parametrize("split", [TESTING, VALIDATION])
def test_training_is_judged_by_validation_alone(split: str, tiny_build: Path, tmp_path: Path) -> None:
    remake("corpus", tiny_build, tmp_path)
    remake("features", tiny_build, tmp_path, garbage(split))
    train.run(SETTINGS, tmp_path / "features", tmp_path / "train")
    before, after = (history(build / "train") for build in (tiny_build, tmp_path))
    epochs = min(len(before["loss"]), len(after["loss"]))  # it ends when validation gets no better
    np.testing.assert_allclose(after["loss"][:epochs], before["loss"][:epochs], rtol=1e-3)
    if split == TESTING:
        np.testing.assert_allclose(after["val_loss"], before["val_loss"], rtol=1e-3)
        clips, _ = shards.read(tiny_build / "features" / "validation").originals()
        one, other = (model.load(b / "train" / "model.keras").predict(clips, verbose=0) for b in (tiny_build, tmp_path))
        np.testing.assert_allclose(one, other, atol=1e-3)
    else:
        assert np.abs(np.subtract(after["val_loss"][:epochs], before["val_loss"][:epochs])).min() > 0.01


# --- tune ---


@pytest.fixture(scope="module")
def negative(tiny_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings in which, for once, the keywords are said: what is heard in them must matter to the thresholds."""
    folder, clips = tmp_path_factory.mktemp("negative"), manifest.read(tiny_build / "corpus")
    spoken = [clip for clip in manifest.examples(clips, TRAINING) if clip.label in ("yes", "no")]
    for n in range(4):
        sounds = [manifest.window(tiny_build / "corpus", clip, SETTINGS.audio) for clip in spoken[n::4][:10]]
        audio.write(folder / f"{n}.wav", np.concatenate([np.pad(sound, RATE_HZ) for sound in sounds]), RATE_HZ)
    return folder


def chosen(build: Path, negative: Path, out: Path) -> tuple[bytes, bytes]:
    """Thresholds, and what was heard at them; with a budget that is neither out of reach nor for nothing."""
    settings = load(TINY, streams={"negative": str(negative), "false_alarms_per_hour": 500.0})
    tune.run(settings, build / "corpus", build / "export", out)
    return (out / "thresholds.json").read_bytes(), (out / "validation.json").read_bytes()


@pytest.fixture(scope="module")
def before(tiny_build: Path, negative: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    return chosen(tiny_build, negative, tmp_path_factory.mktemp("thresholds") / "tune")


HALVES = {VALIDATION: 0, TESTING: 1}


@pytest.mark.parametrize("split", HALVES)
@pytest.mark.parametrize("what", ["corpus", "recordings"])
def test_thresholds_are_chosen_on_validation_alone(
    split: str, what: str, tiny_build: Path, negative: Path, before: tuple[bytes, bytes], tmp_path: Path
) -> None:
    """Clips, noise and talk of the test, and the recordings kept for it, may be anything."""
    build, recordings = tiny_build, negative
    if what == "corpus":
        build = tmp_path
        remake("corpus", tiny_build, build, loud_split(split))
        for stage in ("features", "train", "quantize", "export"):
            remake(stage, tiny_build, build)
    else:
        recordings = Path(shutil.copytree(negative, tmp_path / "negative"))
        for path in sorted(recordings.iterdir())[HALVES[split] :: 2]:
            audio.write(path, np.zeros(RATE_HZ, np.float32), RATE_HZ)
    after = chosen(build, recordings, tmp_path / "tune")
    if split == TESTING:
        assert after == before
    else:
        assert after[0] != before[0]


# --- export ---


def test_golden_clips_are_validation_clips(tiny_build: Path) -> None:
    """A clip that an app may try at any time must neither flatter (training) nor use up the test."""
    corpus, golden = tiny_build / "corpus", tiny_build / "bundle" / "golden"
    clips = manifest.read(corpus)
    described = json.loads((golden / "golden.json").read_text(encoding="utf-8"))["clips"]
    assert [clip["label"] for clip in described] == manifest.read_labels(corpus)
    for clip in described:
        sound = audio.read(golden / clip["file"], RATE_HZ)
        same_label = [c for c in clips if c.label == clip["label"]]
        originals = {
            c.split
            for c in same_label
            if np.allclose(sound, audio.fit(audio.read(corpus / c.path, RATE_HZ), len(sound)), atol=1e-4)
        }
        assert VALIDATION in originals


# --- evaluate ---


def test_the_official_test_is_evaluated_beside_the_testing_split(tiny_build: Path, loud: Path) -> None:
    for stage in ("train", "quantize", "export", "tune"):
        remake(stage, tiny_build, loud)
    folders = {name: loud / name for name in ("corpus", "features", "train", "quantize", "export", "tune")}
    evaluate.run(SETTINGS, **folders, out=loud / "evaluate")
    clips = manifest.read(loud / "corpus")
    expected = {split: len(manifest.examples(clips, split)) for split in (TESTING, OFFICIAL, OTHERS)}
    assert min(expected.values()) > 1
    metrics = json.loads((loud / "evaluate" / "metrics.json").read_text(encoding="utf-8"))
    with (loud / "evaluate" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["split"] for row in rows) == expected
    assert metrics["splits"].keys() == {TESTING, OFFICIAL}  # the others have no accuracy: no keyword is among them
    labels = metrics["labels"]
    for split, figures in metrics["splits"].items():
        of_split = [row for row in rows if row["split"] == split]
        for name, figure in figures["models"].items():
            right = [row["label"] == max(labels, key=lambda label: float(row[f"{name}:{label}"])) for row in of_split]
            assert figure["clips"] == expected[split]
            assert figure["accuracy"] == pytest.approx(np.mean(right))
