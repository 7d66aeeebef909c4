"""What the look into a network shows is what the network does, and the command leaves whole files or none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pipeline import receipt
from pipeline.cli import main
from pipeline.config import load
from pipeline.device import Recognizer, audio
from pipeline.device.bundle import GOLDEN, GOLDEN_SCORES
from pipeline.network import model
from pipeline.network.engine import tf, tf_keras
from pipeline.network.inspect import Inspector, Look

SETTINGS = load(model={"conv_filters": [4, 8], "projection_units": 8, "lstm_units": [6, 5], "attention_units": 4})
LABELS = ["_silence_", "yes", "no"]
FRAMES, N_MFCC = SETTINGS.features.frames(SETTINGS.audio), SETTINGS.features.n_mfcc


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the stage `train` leaves it, of a small network that has learnt nothing."""
    folder = tmp_path_factory.mktemp("build")
    with receipt.making(folder / "features", "features", SETTINGS):
        pass
    inputs = [receipt.read(folder / "features", "features")]
    tf_keras.utils.set_random_seed(1)
    mean, std = np.linspace(-3, 3, N_MFCC), np.linspace(5, 2, N_MFCC)
    network = model.build(SETTINGS.model, frames=FRAMES, n_mfcc=N_MFCC, labels=len(LABELS), mean=mean, std=std)
    with receipt.making(folder / "train", "train", SETTINGS, inputs) as work:
        network.save(work / "model.keras")
        (work / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    return folder / "train"


@pytest.fixture(scope="module")
def inspector(train: Path) -> Inspector:
    return Inspector.load(train)


def sound(seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(SETTINGS.audio.clip_samples)).astype(np.float32)


def wav(path: Path, seed: int = 0) -> Path:
    audio.write(path, sound(seed), SETTINGS.audio.sample_rate_hz)
    return path


def read_out(look: Look, network: tf_keras.Model) -> np.ndarray:
    """Scores from the states and the attention that are shown, as the network reads them."""
    last = list(look.layers.values())[-1]
    hidden = np.concatenate([last["forwards"].hidden, last["backwards"].hidden], axis=1)
    kernel, bias = network.get_layer("logits").get_weights()
    powers = np.exp(look.attention @ hidden @ kernel + bias)
    return powers / powers.sum()


def test_the_states_shown_are_those_of_the_layers(inspector: Inspector) -> None:
    look = inspector.look(sound())
    assert list(look.layers) == ["bilstm_1", "bilstm_2"]
    for name, both in look.layers.items():
        first, last = (inspector.network.get_layer(layer).output for layer in (model.NORMALISED, name))
        hidden = np.concatenate([both["forwards"].hidden, both["backwards"].hidden], axis=1)
        np.testing.assert_allclose(tf_keras.Model(first, last)(look.mfcc[None])[0], hidden, atol=1e-5)


def test_the_scores_follow_from_what_is_shown(inspector: Inspector) -> None:
    look = inspector.look(sound())
    assert look.attention.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(read_out(look, inspector.network), look.scores, atol=1e-5)


def test_a_step_is_drawn_in_the_middle_of_the_frames_that_it_sees(inspector: Inspector) -> None:
    look = inspector.look(sound())
    seen_by = tf_keras.Model(inspector.network.input, inspector.network.get_layer("bands").output)
    mfcc = tf.constant(np.random.default_rng(0).standard_normal((1, FRAMES, N_MFCC)), tf.float32)
    for step in (5, 12, 18):
        with tf.GradientTape() as tape:
            tape.watch(mfcc)
            seen = tf.reduce_sum(seen_by(mfcc)[0, step])
        frames = np.flatnonzero(np.abs(tape.gradient(seen, mfcc)[0]).sum(axis=-1))
        assert look.step_ms[step] == pytest.approx(look.frame_ms[frames].mean())


def test_a_frame_is_drawn_where_its_sound_is(inspector: Inspector) -> None:
    click = np.zeros(SETTINGS.audio.clip_samples, np.float32)
    click[8_000] = 0.5
    quiet, loud = inspector.look(1e-4 * sound()), inspector.look(1e-4 * sound() + click)
    changed = np.abs(loud.mfcc - quiet.mfcc).sum(axis=1)
    assert loud.frame_ms[np.argmax(changed)] == pytest.approx(500, abs=SETTINGS.features.hop_ms)


# --- the command ---


def inspect(train: Path, *arguments: Path | str) -> Result:
    return CliRunner().invoke(main, ["inspect", str(train), *map(str, arguments)])


def test_two_clips_give_a_picture_and_the_numbers(train: Path, inspector: Inspector, tmp_path: Path) -> None:
    clips = wav(tmp_path / "one.wav"), wav(tmp_path / r"$\frac<b>.wav", 1)
    result = inspect(train, *clips, "--picture", tmp_path / "look.svg")
    assert result.exit_code == 0, result.output
    assert "<svg" in (tmp_path / "look.svg").read_text()
    first, second = json.loads((tmp_path / "look.json").read_text())
    look = inspector.look(audio.read(clips[1], SETTINGS.audio.sample_rate_hz))
    assert second["file"] == str(clips[1])
    np.testing.assert_allclose(second["samples"], look.samples, atol=1e-5)
    np.testing.assert_allclose(list(second["scores"].values()), look.scores, atol=1e-5)
    shown = second["layers"]["bilstm_2"]["backwards"]["forget_gate"]
    np.testing.assert_allclose(shown, look.layers["bilstm_2"]["backwards"].forget_gate, atol=1e-5)
    assert first["attention"] != second["attention"]


def test_of_a_long_clip_it_is_said_which_part_was_looked_at(train: Path, tmp_path: Path) -> None:
    sound, rate_hz = SETTINGS.audio, SETTINGS.audio.sample_rate_hz
    samples = np.zeros(5 * sound.clip_samples, np.float32)
    samples[2 * sound.clip_samples : 3 * sound.clip_samples] = audio.read(wav(tmp_path / "one.wav"), rate_hz)
    audio.write(tmp_path / "long.wav", samples, rate_hz)
    assert inspect(train, tmp_path / "long.wav", "--picture", tmp_path / "look.svg").exit_code == 0
    (look,) = json.loads((tmp_path / "look.json").read_text())
    assert look["start_ms"] == pytest.approx(2 * sound.clip_ms, abs=1)
    assert f"long.wav, from {look['start_ms']:.0f} ms on" in (tmp_path / "look.svg").read_text()


def test_a_build_instead_of_its_training_is_told_of(train: Path, tmp_path: Path) -> None:
    result = inspect(train.parent, wav(tmp_path / "one.wav"))
    assert f"{train.parent}: a build; give the folder of its training, {train.parent / 'train'}" in result.output


def test_a_clip_given_twice_is_drawn_once(train: Path, tmp_path: Path) -> None:
    clip = wav(tmp_path / "one.wav")
    result = inspect(train, clip, clip, "--picture", tmp_path / "look.pdf")
    assert result.exit_code == 0, result.output
    assert len(json.loads((tmp_path / "look.json").read_text())) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["one.wav", "one.wav", "one.wav"], "one clip or two can be looked at, and 3 were given"),
        (["one.wav", "--picture", "look.txt"], "look.txt: no such kind of picture"),
        (["none.wav"], "none.wav: no such file; give one clip or two"),
        (["one.wav", "--picture", "no/look.png"], "no/look.png: no such folder; make it, or choose another place"),
    ],
)
def test_what_cannot_be_looked_at_is_said_and_nothing_is_written(
    train: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    wav(tmp_path / "one.wav")
    result = inspect(train, *arguments)
    assert result.exit_code != 0
    assert said in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["one.wav"]


def test_a_model_that_was_edited_is_refused(train: Path, tmp_path: Path) -> None:
    with (train / "model.keras").open("ab") as file:
        file.write(b"more")
    try:
        result = inspect(train, wav(tmp_path / "one.wav"), "--picture", tmp_path / "look.png")
    finally:
        content = (train / "model.keras").read_bytes()
        (train / "model.keras").write_bytes(content.removesuffix(b"more"))
    assert result.exit_code == 1
    assert "model.keras was edited since it was made" in result.output
    assert not (tmp_path / "look.png").exists()


@pytest.mark.slow
def test_the_phone_file_scores_as_what_is_shown_says(tiny_build: Path) -> None:
    built, bundle = Inspector.load(tiny_build / "train"), tiny_build / "bundle"
    calibrated = model.load(tiny_build / "quantize" / "model.keras")
    for clip in json.loads((bundle / GOLDEN_SCORES).read_text())["clips"]:
        look = built.look(audio.read(bundle / GOLDEN / clip["file"], built.audio.sample_rate_hz))
        np.testing.assert_allclose(read_out(look, calibrated), clip["scores"]["commands_float.tflite"], atol=1e-4)


@pytest.mark.slow
@pytest.mark.recordings
@pytest.mark.skipif("RECORDINGS" not in os.environ, reason="set RECORDINGS to a folder with speech_commands/ in it")
def test_on_what_people_say_the_numpy_cell_keras_and_the_files_agree(tiny_build: Path) -> None:
    built, bundle = Inspector.load(tiny_build / "train"), tiny_build / "bundle"
    calibrated = model.load(tiny_build / "quantize" / "model.keras")
    files = {"commands_features_float.tflite": 1e-5, "commands_float.tflite": 1e-4}  # the second has its own MFCC
    recognizers = {name: Recognizer.load(bundle, name) for name in files}
    spoken = sorted((Path(os.environ["RECORDINGS"]) / "speech_commands").glob("[a-z]*/*_0.flac"))[::200]
    assert len(spoken) > 20
    for path in spoken:
        samples = audio.read(path, built.audio.sample_rate_hz)
        look = built.look(samples)
        for name, both in look.layers.items():
            first, last = (built.network.get_layer(layer).output for layer in (model.NORMALISED, name))
            hidden = np.concatenate([both["forwards"].hidden, both["backwards"].hidden], axis=1)
            np.testing.assert_allclose(tf_keras.Model(first, last)(look.mfcc[None])[0], hidden, atol=1e-5)
        for name, off in files.items():
            scores = list(recognizers[name].classify(samples).scores.values())
            np.testing.assert_allclose(read_out(look, calibrated), scores, atol=off, err_msg=f"{name}, {path}")
