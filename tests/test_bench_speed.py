"""`make bench`: each part runs on little, and its ratios are those of its figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.speed import network, profile
from pipeline.config import Audio, Features, Model
from pipeline.device.interpreter import WAVEFORM, Network
from pipeline.device.mfcc import mfcc
from pipeline.network import model, waveform
from pipeline.network.engine import tf_keras

ROOT = Path(__file__).parents[1]


def run(tmp_path: Path, *arguments: str) -> dict[str, dict]:
    out = tmp_path / "speed.json"
    command = [sys.executable, "-m", "benchmarks.speed", "--json", str(out), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    parts = json.loads(out.read_text()).values()
    return {figure["what"]: figure for part in parts for figure in part["figures"]}


@pytest.mark.slow
def test_features_and_their_growth_are_measured_on_a_few_clips(tmp_path: Path) -> None:
    figures = run(
        tmp_path, "--only", "features", "--only", "growth", "--clips", "20", "--growth", "64", "--repeats", "1"
    )
    ours, loop = figures["MFCC: ours, librosa in batches"], figures["MFCC: librosa, clip by clip"]
    assert loop["ratio"] == pytest.approx(loop["value"] / ours["value"])
    decoding = figures["the features stage"]["to"]
    assert decoding == "decoding alone, generated noise: 20 WAV files"
    assert figures["features of 4,096 clips: peak memory"]["ratio"] > 0
    assert figures["features of 4,096 clips: time"]["to"] == "64 clips"
    assert figures["features of 1,024 clips: time on one core"]["to"] == "all cores"


@pytest.mark.slow
def test_a_folder_without_sound_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.speed", str(tmp_path), "--only", "features"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{tmp_path}: no sound files in it; give SOURCE a folder of clips" in done.stderr


def test_a_phone_file_is_cut_where_the_layers_end() -> None:
    small = Model(conv_filters=(4, 8), projection_units=6, lstm_units=(5, 3), attention_units=3)
    audio, features = Audio(clip_ms=252), Features(n_mfcc=8)
    frames = features.frames(audio)
    built = model.build(small, frames=frames, n_mfcc=8, labels=4, mean=np.zeros(8), std=np.full(8, 100.0))
    content = waveform.to_waveform(built, audio, features)
    ends = profile.ends(content, built)
    middle, first, last = list(ends)[-3:]
    assert (middle, first) == ("convolutions and projection", "bidirectional LSTM 1")
    assert list(ends.values()) == sorted(set(ends.values()))

    sound = np.random.default_rng(1).normal(0, 0.1, audio.clip_samples).astype(np.float32)
    for layer, part in [("projection_relu", middle), ("bilstm_1", first), ("scores", last)]:
        piece = Network(profile.cut(content, ends[part]), part, WAVEFORM)
        keras = tf_keras.Model(built.input, built.get_layer(layer).output)
        found = keras(mfcc(sound[None], audio=audio, features=features)).numpy().reshape(piece.shapes[1])
        assert np.allclose(piece.scores(sound), found[0], atol=1e-4)


def test_multiply_adds_are_those_of_the_layers_by_hand() -> None:
    small = Model(conv_filters=(4, 8), projection_units=6, lstm_units=(5,), attention_units=3)
    built = model.build(small, frames=9, n_mfcc=8, labels=4, mean=np.zeros(8), std=np.ones(8))
    layers = {
        layer.name: SimpleNamespace(weights=layer.get_weights(), output=layer.output_shape) for layer in built.layers
    }
    steps = layers["bilstm_1"].output[1]
    by_hand = {
        "log_mel": 9 * 8 * 8,
        "conv_1": np.prod(layers["conv_1"].output[1:]) * np.prod(layers["conv_1"].weights[0].shape[:3]),
        "conv_2": np.prod(layers["conv_2"].output[1:]) * np.prod(layers["conv_2"].weights[0].shape[:3]),
        "projection": steps * np.prod(layers["projection"].weights[0].shape),
        "bilstm_1": steps * 2 * 4 * 5 * (6 + 5),
        "attention_hidden": steps * 10 * 3,
        "attention_energy": steps * 3,
        "logits": 10 * 4,
    }
    assert network.multiply_adds(built) == sum(by_hand.values())
