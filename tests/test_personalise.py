"""A finished network, trained on with a speaker's own takes: by `make` as a person does it, and its parts on tones."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import tones
from conftest import run_make
from test_line import digests
from test_personal import build as described_build

from pipeline import receipt
from pipeline.config import Settings, build_section
from pipeline.corpora import manifest, shards
from pipeline.corpora.manifest import LEFT_OUT, TESTING, TRAINING, VALIDATION
from pipeline.corpora.shards import Shards
from pipeline.device import audio
from pipeline.device.bundle import verify
from pipeline.errors import StaleInput
from pipeline.network import model
from pipeline.network.engine import tf_keras
from pipeline.receipt import STAGES
from pipeline.stages import personalise

STRANGE_HZ = {"low": 1_500, "high": 6_000}  # as nobody in the corpus says them
TAKES = 4

# --- by make ---


def say_again(build: Path, root: Path) -> Path:
    """Takes by a voice that no build has: clips of the testing split, slower and lower."""
    clips = manifest.read(build / "corpus")
    for word in ("yes", "no"):
        said = [clip for clip in clips if (clip.label, clip.split) == (word, TESTING)][:TAKES]
        for number, clip in enumerate(said, 1):
            samples, rate_hz = soundfile.read(build / "corpus" / clip.path)
            path = root / word / "anna" / f"{number:03}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, soxr.resample(samples, 1.0, 1.3), rate_hz, subtype="PCM_16")
    return root


@pytest.mark.slow
def test_from_a_bundle_and_takes_to_a_bundle(tiny_build: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_build, tmp_path / "tiny")
    mine, before = say_again(base, tmp_path / "mine"), digests(base)
    few = tmp_path / "few.toml"
    few.write_text("[personalise]\nepochs = 2\ncopies = 4\n")
    variables = {"BUNDLE": str(base / "bundle"), "SOURCE": str(mine), "PARAMS": str(few)}
    made = run_make(tmp_path / "mine_too", "personalise", **variables)
    assert made.returncode == 0, made.stdout + made.stderr
    assert "corpus: 6 recordings to learn from, 2 takes left out to measure on" in made.stdout
    assert "commands.tflite, before → after it was personalised" in made.stdout
    assert digests(base) == before
    build = tmp_path / "mine_too"
    assert {path.name for path in build.iterdir()} == {*STAGES, "settings"} - {"memory"}
    verify(build / "bundle")
    check_before_and_after(build, base)
    described = (build / "bundle" / "commands.json").read_text()
    assert str(tmp_path) not in described  # where a person keeps recordings is that person's business
    assert json.loads(described)["settings"]["personalise"]["epochs"] == 2
    card = (build / "bundle" / "MODEL_CARD.md").read_text()
    assert "but for the takes that it was personalised with" in card
    assert "2 clips, takes of who it was personalised for, left out of training." in card
    assert "personalised: 6 recordings more are learnt, which weigh more than the others" in card
    assert "commands.tflite before" in (build / "report" / "index.html").read_text()

    again = run_make(build, "personalise", **variables)
    assert again.returncode == 0, again.stderr
    assert "-m pipeline corpus" not in again.stdout


def check_before_and_after(build: Path, base: Path) -> None:
    """What was before is what the first bundle says of the same clips."""
    splits = json.loads((build / "evaluate" / "metrics.json").read_text())["splits"]
    first = json.loads((base / "evaluate" / "metrics.json").read_text())["splits"]["testing"]["models"]
    assert splits.keys() == {TESTING, LEFT_OUT}
    others, own = (splits[split]["models"] for split in (TESTING, LEFT_OUT))
    assert others["commands.tflite before"]["confusion"] == first["commands.tflite"]["confusion"]
    assert own["commands.tflite before"]["clips"] == own["commands.tflite"]["clips"] == 2
    with (build / "evaluate" / "predictions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == LEFT_OUT]
    assert sorted((row["speaker"], row["label"]) for row in rows) == [("anna", "no"), ("anna", "yes")]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "make personalise wants BUNDLE=build/x/bundle, and SOURCE=folder of takes"),
        ({"BUNDLE": "no/bundle"}, "Error: no/bundle/commands.json: no such file; run make, or give the folder of"),
        ({"BUNDLE": "a b"}, "BUNDLE must be one path without spaces, and is 'a b'"),
        (
            {"BUNDLE": "no/bundle", "WORDS": "yes"},
            "Error: CORPUS, WORDS and NEGATIVE are those that BUNDLE was made with; leave them out",
        ),
        (
            {"BUNDLE": "no/bundle", "SOURCE": "no/such"},
            "Error: no/such: no such folder; SOURCE must be a folder of recordings",
        ),
    ],
)
def test_bad_variables_are_one_line(variables: dict[str, str], expected: str, tmp_path: Path) -> None:
    result = run_make(tmp_path / "build", "personalise", **{"PARAMS": "", **variables})
    assert result.returncode == 2
    assert expected in result.stderr.splitlines()[0]
    assert not (tmp_path / "build").exists()


def test_takes_are_asked_for(tmp_path: Path) -> None:
    bundle = described_build(tmp_path / "first")
    result = run_make(tmp_path / "build", "personalise", BUNDLE=str(bundle), PARAMS="")
    assert result.returncode == 2
    error = "Error: settings: personalise.source: no takes are given; set SOURCE to a folder"
    assert result.stderr.splitlines()[0] == error


# --- the parts ---


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of tones that are told apart, with as much of a bundle as its receipt."""
    whole = {"epochs": 40, "patience_epochs": 40, "learning_rate": 0.01, "batch_clips": 8}
    folder = tones.make_build(tmp_path_factory.mktemp("tones"), train_by=whole)
    line = [receipt.read(folder / stage, stage) for stage in ("corpus", "features", "train")]
    with receipt.making(folder / "evaluate", "evaluate", settings_of(folder), line):
        pass
    with receipt.making(folder / "bundle", "bundle", Settings(), [receipt.read(folder / "evaluate", "evaluate")]):
        pass
    return folder


def settings_of(folder: Path) -> Settings:
    sections = receipt.read(folder / "train", "train").settings
    return Settings(**{name: build_section(name, values) for name, values in sections.items()})


@pytest.fixture(scope="module")
def settings(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root, generator = tmp_path_factory.mktemp("mine"), np.random.default_rng(1)
    for word, pitch_hz in STRANGE_HZ.items():
        for take in range(TAKES):
            (root / word / "anna").mkdir(parents=True, exist_ok=True)
            audio.write(root / word / "anna" / f"{take}.wav", tones.tone(pitch_hz, generator), tones.RATE_HZ)
    noise = root / "_background_noise_" / "anna"
    noise.mkdir(parents=True)
    audio.write(noise / "1.wav", generator.normal(0, 0.01, 3 * tones.RATE_HZ).astype(np.float32), tones.RATE_HZ)
    own = {"bundle": str(base / "bundle"), "source": str(root), "copies": 5, "epochs": 15, "learning_rate": 0.01}
    return dataclasses.replace(settings_of(base), personalise=build_section("personalise", own))


@pytest.fixture(scope="module")
def build(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    personalise.corpus(settings, folder / "corpus")
    personalise.features(settings, folder / "corpus", folder / "features")
    personalise.train(settings, folder / "features", folder / "train")
    return folder


def test_the_line_behind_it_takes_what_it_left(build: Path, settings: Settings) -> None:
    made = receipt.require(settings, **{stage: build / stage for stage in ("corpus", "features", "train")})
    assert all(one.settings["personalise"] == settings.section("personalise") for one in made)


def test_every_old_window_is_there_and_is_still_of_its_clip(build: Path, base: Path) -> None:
    for split in (TRAINING, VALIDATION, TESTING):
        old, new = (shards.read(folder / "features" / split) for folder in (base, build))
        count = len(old.index)
        np.testing.assert_array_equal(np.concatenate(old.mfcc), np.concatenate(new.mfcc)[:count])
        columns = [shards.LABEL, shards.COPY]
        np.testing.assert_array_equal(old.index[:, columns], new.index[:count, columns])
        before, now = manifest.read(base / "corpus"), manifest.read(build / "corpus")
        for n, m in zip(old.index[:, shards.CLIP], new.index[:count, shards.CLIP], strict=True):
            assert str(base / "corpus" / before[n].path) == now[m].path
            assert before[n].sha256 == now[m].sha256
        assert (len(new.index) > count) == (split == TRAINING)


def test_the_takes_are_the_last_shard_and_those_left_out_are_in_none_that_is_learnt(build: Path) -> None:
    clips, training = manifest.read(build / "corpus"), shards.read(build / "features" / TRAINING)
    of_takes = training.index[-len(training.mfcc[-1]) :]
    assert {clips[n].speaker for n in of_takes[:, shards.CLIP]} == {"anna"}
    assert np.bincount(of_takes[:, shards.COPY]).tolist() == [6] * 6  # three takes of each word, five copies of each
    left_out = shards.read(build / "features" / LEFT_OUT).index
    assert [(clips[n].label, clips[n].split) for n in left_out[:, shards.CLIP]] == [
        ("high", LEFT_OUT),
        ("low", LEFT_OUT),
    ]
    assert set(left_out[:, shards.CLIP]).isdisjoint(training.index[:, shards.CLIP])


def test_the_normaliser_stays_that_of_the_network(build: Path, base: Path) -> None:
    for before, now in zip(*(shards.read_normaliser(folder / "features") for folder in (base, build)), strict=True):
        np.testing.assert_array_equal(before, now)


def accuracy(network: tf_keras.Model, features: Path) -> float:
    mfcc, index = shards.read(features).originals()
    return float((network.predict(mfcc, verbose=0).argmax(axis=1) == index[:, shards.LABEL]).mean())


def test_a_strange_voice_is_learnt_and_the_others_are_not_forgotten(build: Path, base: Path) -> None:
    before, after = (model.load(folder / "train" / "model.keras") for folder in (base, build))
    assert accuracy(before, build / "features" / LEFT_OUT) < 1
    assert accuracy(after, build / "features" / LEFT_OUT) == 1
    assert accuracy(after, build / "features" / TESTING) >= accuracy(before, build / "features" / TESTING) > 0.8


def test_the_network_is_as_fit_for_what_comes_as_before(build: Path, base: Path) -> None:
    """The same weights can be trained, as pruning asks; the statistics of the normalisation are the corpus's."""
    before, after = (model.load(folder / "train" / "model.keras") for folder in (base, build))
    assert [w.name for w in before.trainable_weights] == [w.name for w in after.trainable_weights]
    for old, new in zip(before.weights, after.weights, strict=True):
        same = np.array_equal(old.numpy(), new.numpy())
        assert same == ("_norm/" in old.name or old.name not in {w.name for w in before.trainable_weights})


def test_validation_decides_nothing(build: Path, base: Path, settings: Settings) -> None:
    short = dataclasses.replace(settings, personalise=dataclasses.replace(settings.personalise, epochs=2))
    training, held_out = (shards.read(build / "features" / split) for split in (TRAINING, VALIDATION))
    mean, _ = shards.read_normaliser(build / "features")
    garbage = Shards([np.random.default_rng(0).normal(0, 60, held_out.mfcc[0].shape)], held_out.index)
    start = base / "train" / "model.keras"
    networks = [personalise.fine_tune(short, start, training, mean, clips)[0] for clips in (garbage, None)]
    for weights in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_array_equal(*weights)


def test_a_build_of_which_a_part_is_gone_is_refused(base: Path, settings: Settings, tmp_path: Path) -> None:
    other = shutil.copytree(base, tmp_path / "other", ignore=shutil.ignore_patterns("train"))
    moved = dataclasses.replace(settings.personalise, bundle=str(other / "bundle"))
    with pytest.raises(StaleInput) as caught:
        personalise.corpus(dataclasses.replace(settings, personalise=moved), tmp_path / "corpus")
    assert str(caught.value) == (
        f"{other}/bundle: what it was made of must lie beside it; missing: {other}/train/receipt.json; "
        f"run: make train BUILD={other}, with its settings"
    )
    assert not (tmp_path / "corpus").exists()


def test_a_corpus_of_another_base_is_refused(build: Path, base: Path, settings: Settings, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(base, other)
    shutil.rmtree(other / "corpus")
    with receipt.making(other / "corpus", "corpus", settings_of(base)) as work:
        shutil.copytree(base / "corpus", work, dirs_exist_ok=True)
        (work / "more.txt").write_text("more")
    with receipt.making(
        other / "features", "features", settings_of(base), [receipt.read(other / "corpus", "corpus")]
    ) as w:
        shutil.copytree(base / "features", w, dirs_exist_ok=True)
    moved = dataclasses.replace(settings.personalise, bundle=str(other / "bundle"))
    with pytest.raises(StaleInput) as caught:
        personalise.features(dataclasses.replace(settings, personalise=moved), build / "corpus", tmp_path / "features")
    assert str(caught.value).startswith("stale: personalise.bundle was ")
    assert not (tmp_path / "features").exists()
