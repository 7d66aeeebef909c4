"""The peers are what their papers say, and their benchmark can be stopped, taken up again and trusted."""

from __future__ import annotations

import dataclasses
import fcntl
import io
import json
import math
import re
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import tones
from click.testing import CliRunner
from rich.console import Console
from tones import CLIPS, RATE_HZ

from benchmarks import trainings
from benchmarks.peers import __main__ as benchmark
from benchmarks.peers import networks, recipes, runs, speed, tables
from benchmarks.peers.recipes import PEERS
from benchmarks.peers.runs import LARGE, OURS, OWN, PUBLISHED, SMALL, Run
from benchmarks.trainings import open_build
from pipeline import config
from pipeline.config import Audio, Features, Model, Train, load
from pipeline.corpora.mistakes import margin
from pipeline.device.interpreter import Network
from pipeline.device.mfcc import mfcc
from pipeline.errors import PipelineError, SettingsError
from pipeline.network import convert, model
from pipeline.network.engine import tf, tf_keras
from pipeline.stages import train


def build_peer(name: str, frames: int, n_mfcc: int, labels: int) -> tf_keras.Model:
    normaliser = {"mean": np.linspace(-3, 3, n_mfcc), "std": np.linspace(1, 2, n_mfcc)}
    return PEERS[name].architecture(frames=frames, n_mfcc=n_mfcc, labels=labels, **normaliser)


# --- networks ---

# Frames, MFCC and labels there, and the number of parameters. What the figures are compared with stands in the
# networks' docstrings.
COUNTS = {
    "attention_rnn": (125, 80, 36, 201_225),
    "ds_cnn": (49, 10, 12, 23_756),
    "bc_resnet_1": (98, 40, 12, 9_232),
    "lstm": (49, 10, 12, 62_316),
    "rnn": (49, 10, 12, 118 * (10 + 118 + 1) + (118 + 1) * 12),
}
# As published, and how exactly that is said.
PUBLISHED_COUNTS = {
    "attention_rnn": [(201_000, 500), (202_000, 1_000)],  # README, abstract
    "ds_cnn": [(23_756, 0)],
    "bc_resnet_1": [(9_200, 50)],
    "lstm": [(63_300 - 49 * 10, 500)],  # bytes of 8-bit weights and of what is in memory beside them: MFCC at least
    "rnn": [],
}


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_has_as_many_parameters_as_published(name: str) -> None:
    *shape, expected = COUNTS[name]
    count = trainings.parameters(build_peer(name, *shape))
    assert count == expected
    for published, tolerance in PUBLISHED_COUNTS[name]:
        assert abs(count - published) <= tolerance


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_trains_and_its_file_gives_the_same_labels(name: str) -> None:
    tf_keras.utils.set_random_seed(1)
    network, generator = build_peer(name, 16, 40, 4), np.random.default_rng(0)
    x = generator.normal(0, 3, (64, 16, 40)).astype(np.float32)
    before = [weight.numpy() for weight in network.trainable_weights]
    fixed = [weight.numpy() for layer in network.layers if layer.name == "log_mel" for weight in layer.weights]
    network.compile("adam", "categorical_crossentropy", jit_compile=False)
    network.fit(x, np.eye(4)[generator.integers(0, 4, 64)], batch_size=32, verbose=0)
    assert all((new.numpy() != old).any() for new, old in zip(network.trainable_weights, before, strict=True))
    if fixed:
        np.testing.assert_array_equal(network.get_layer("log_mel").get_weights(), fixed)

    expected = network.predict(x, verbose=0)
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-5)
    file = Network(convert.to_float(network), name)
    scores = np.stack([file.scores(clip) for clip in x])
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert (scores.argmax(axis=1) == expected.argmax(axis=1)).all()


def test_the_fixed_layer_gives_back_the_log_mel_spectrogram() -> None:
    sound, chosen = Audio(), Features()
    noise = np.random.default_rng(0).normal(0, [[0.1], [0.01], [0.3]], (3, sound.clip_samples)).astype(np.float32)
    coefficients = mfcc(noise, audio=sound, features=chosen)
    mel = librosa.feature.melspectrogram(
        y=noise,
        sr=RATE_HZ,
        n_fft=chosen.n_fft,
        win_length=chosen.window_samples(sound),
        hop_length=chosen.hop_samples(sound),
        center=False,
        n_mels=chosen.n_mels,
        fmin=chosen.f_min_hz,
        fmax=chosen.f_max_hz,
    )
    decibels = np.swapaxes(librosa.power_to_db(mel, top_db=None), 1, 2)
    centred = decibels - decibels.mean(axis=(0, 1))
    flat = coefficients.reshape(-1, chosen.n_mfcc)
    inputs, outputs = networks._log_mel(coefficients.shape[1], chosen.n_mfcc, flat.mean(axis=0), flat.std(axis=0))
    found = tf_keras.Model(inputs, outputs).predict(coefficients, verbose=0)
    np.testing.assert_allclose(found, centred / centred.std(), atol=1e-3)


def test_each_band_of_frequencies_is_normalised_apart() -> None:
    """With one norm for all of them the loud band would leave the others next to nothing."""
    inputs = tf_keras.Input((6, 10, 3))
    network = tf_keras.Model(inputs, networks._subspectral_norm(inputs))
    x = np.random.default_rng(0).normal(0, 1, (32, 6, 10, 3)) * np.repeat([1, 100, 1, 5, 1], 2)[:, None] + 7
    bands = network(x.astype(np.float32), training=True).numpy().reshape(32, 6, 5, 2, 3)
    np.testing.assert_allclose(bands.mean(axis=(0, 1, 3)), 0, atol=1e-3)
    np.testing.assert_allclose(bands.std(axis=(0, 1, 3)), 1, atol=1e-2)


def test_attention_asks_for_what_is_like_the_middle_frame() -> None:
    network = build_peer("attention_rnn", 9, 8, 4)
    last = [layer.output for layer in network.layers if isinstance(layer, tf_keras.layers.Bidirectional)][-1]
    middle = next(layer.output for layer in network.layers if isinstance(layer, tf_keras.layers.Flatten))
    steps, asks = tf_keras.Model(network.input, [last, middle]).predict(np.random.default_rng(0).normal(size=(2, 9, 8)))
    np.testing.assert_array_equal(asks, steps[:, 4])


def test_bc_resnet_refuses_bands_that_it_cannot_part() -> None:
    with pytest.raises(SettingsError, match=r"bc_resnet_1: features\.n_mfcc is 20; give a multiple of 40"):
        build_peer("bc_resnet_1", 49, 20, 12)


# --- our sizes ---

SIZES = {SMALL: (45_000, 60_000), OURS: (100_000, 200_000), LARGE: (500_000, 800_000)}


def build_ours(name: str, labels: int) -> tf_keras.Model:
    settings, chosen = Model() if name == OURS else runs.size(name), Features()
    normaliser = {"mean": np.zeros(chosen.n_mfcc), "std": np.ones(chosen.n_mfcc)}
    frames = chosen.frames(Audio())
    return model.build(settings, frames=frames, n_mfcc=chosen.n_mfcc, labels=labels, **normaliser)


@pytest.mark.parametrize("name", OWN)
def test_our_networks_keep_within_their_sizes(name: str) -> None:
    """With two labels more than the eight words' ten."""
    at_least, at_most = SIZES[name]
    assert at_least <= trainings.parameters(build_ours(name, 12)) <= at_most


@pytest.mark.parametrize("name", OWN)
def test_the_docs_have_our_networks_as_large_as_they_are(name: str) -> None:
    docs = (runs.PARAMS.parent / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert f"| `{name}` | {trainings.parameters(build_ours(name, 10)):,} |" in docs


@pytest.mark.parametrize("name", [SMALL, LARGE])
def test_a_size_changes_nothing_but_the_network(name: str) -> None:
    path = runs.PARAMS / f"{name}.toml"
    text = path.read_text(encoding="utf-8")
    assert tomllib.loads(text).keys() == {"model"}
    assert f"# {trainings.parameters(build_ours(name, 10)):,} parameters for ten labels" in text


@pytest.mark.slow
def test_the_int8_file_of_small_has_at_most_80_kb() -> None:
    generator, network = np.random.default_rng(0), build_ours(SMALL, 12)
    for weight in network.weights:  # the zeros and ones that training begins with share their place in a file
        weight.assign(weight + generator.uniform(0, 0.01, weight.shape))
    calibration = generator.normal(0, 1, (20, 49, 40)).astype(np.float32)
    assert len(convert.to_int8(model.after_normaliser(network), calibration)) <= 80_000


# --- recipes ---


@pytest.mark.parametrize("path", sorted(recipes.SETTINGS.glob("*.toml")), ids=lambda path: path.stem)
def test_a_published_recipe_leaves_nothing_to_our_defaults(path: Path) -> None:
    """A new setting of ours would otherwise become a part of it unseen."""
    of_the_machine = {"shard_clips", "seed"}
    stated = tomllib.loads(path.read_text(encoding="utf-8"))
    for name in ("features", "augment", "train"):
        keys = {field.name for field in dataclasses.fields(config.SECTIONS[name])}
        assert stated[name].keys() == keys - of_the_machine
    load(path)


def test_every_published_recipe_is_used() -> None:
    assert {peer.published.path for peer in PEERS.values()} == set(recipes.SETTINGS.glob("*.toml"))


def test_a_rate_in_stages_falls_after_equal_shares_of_the_training() -> None:
    settings = Train(epochs=6, learning_rate=0.5)
    rate = recipes.adam_in_stages(1, 0.2, 0.04)(settings, 10)._learning_rate
    np.testing.assert_allclose([rate(step) for step in (0, 20, 21, 40, 41, 59)], [0.5, 0.5, 0.1, 0.1, 0.02, 0.02])


def test_the_cosine_warms_up_for_a_fortieth_and_ends_at_nothing() -> None:
    optimizer = recipes.sgd_under_cosine(Train(epochs=8, learning_rate=0.1, weight_decay=1e-3), 50)
    rates = [float(optimizer._learning_rate(step)) for step in range(401)]
    np.testing.assert_allclose(rates[:11], np.linspace(0, 0.1, 11), atol=1e-7)
    assert rates[205] == pytest.approx(0.05, abs=1e-4)
    assert rates[400] == pytest.approx(0, abs=1e-7)


def test_weight_decay_shrinks_as_much_as_in_a_gradient_with_momentum() -> None:
    """Worked out beside it, step by step: PyTorch's way, in which decay is a part of the gradient."""
    rate, decay, steps = 0.1, 1e-3, 400
    made = recipes.sgd_under_cosine(Train(weight_decay=decay), 1)
    optimizer = tf_keras.optimizers.SGD(rate, momentum=made.momentum, weight_decay=made.weight_decay)
    weight, there, velocity = tf.Variable([1.0]), 1.0, 0.0
    for _ in range(steps):
        optimizer.apply_gradients([(tf.zeros(1), weight)])
        velocity = 0.9 * velocity + decay * there
        there -= rate * velocity
    assert weight.numpy()[0] == pytest.approx(there, rel=0.02)
    assert there < 0.7


# --- the runner ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tones.make_build(tmp_path_factory.mktemp("peers"))


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where results go, of recipes of one epoch."""
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(speed, "RESULT", tmp_path / "speed.json")
    monkeypatch.setattr(recipes, "SETTINGS", tmp_path)
    for peer in PEERS.values():
        text = (Path(recipes.__file__).parent / "published" / peer.published.path.name).read_text(encoding="utf-8")
        peer.published.path.write_text(re.sub(r"\nepochs = .*", "\nepochs = 1", text), encoding="utf-8")
    return tmp_path / "results"


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No new process for each conversion."""
    monkeypatch.setattr(runs, "in_fresh_process", lambda _, __, task, *arguments: task(*arguments))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Folders of the trainings that were begun."""
    begun: list[Path] = []
    original = train.train_network

    def noted(*arguments: Any) -> str:
        begun.append(arguments[2])
        return original(*arguments)

    monkeypatch.setattr(train, "train_network", noted)
    return begun


def contents(results: Path) -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in results.iterdir()}


BOTH = [("rnn", PUBLISHED), ("rnn", OURS)]


@pytest.mark.usefixtures("in_this_process")
def test_finished_runs_are_not_made_again_and_those_of_other_inputs_are(
    folder: Path, results: Path, trained: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    build = open_build(folder)
    made = benchmark.make_all(build, BOTH, [])
    files = contents(results)
    assert set(files) == {"rnn-published-1.json", "rnn-ours-1.json"}
    assert {str(run): result for run, result in made.items()} == {name[:-5]: file for name, file in files.items()}
    assert [path.name for path in trained] == ["rnn-published-1", "rnn-ours-1"]

    published, ours = files["rnn-published-1.json"], files["rnn-ours-1.json"]
    total = sum(CLIPS.values())
    assert (published["windows"], ours["windows"]) == (total * 4, total * 2)  # with three copies, and with one
    assert (published["parameters"], ours["parameters"]) == (118 * 129 + 119 * 4, 118 * 159 + 119 * 4)
    assert (published["published"], ours["published"]) == ([30_000, 100], None)
    for file in files.values():
        assert file["clips"] == {"validation": total, "testing": total}
        assert file["labels"] == CLIPS
        assert len(file["speakers"]) == total
        assert len(set(file["speakers"]) - {""}) == 1
        assert 0 <= file["test_accuracy"] <= 1
        assert file["test_accuracy"] * total == pytest.approx(round(file["test_accuracy"] * total))
        assert len(file["errors"]) == round((1 - file["test_accuracy"]) * total)
        assert all(word in CLIPS and said in CLIPS and word != said for _, word, _, said in file["errors"])
        assert list(file["files"]) == ["float", "dynamic", "int8"]
        assert file["files"]["dynamic"]["bytes"] < file["files"]["float"]["bytes"]
        assert file["files"]["float"]["labels_changed"] == 0
        assert file["files"]["float"]["test_accuracy"] == file["test_accuracy"]

    assert benchmark.make_all(build, BOTH, []) == made
    assert len(trained) == 2

    recipe = PEERS["rnn"].published.path
    recipe.write_text(recipe.read_text().replace("batch_clips = 100", "batch_clips = 50"))
    benchmark.make_all(build, BOTH, [])
    assert [path.name for path in trained[2:]] == ["rnn-published-1"]
    assert "rnn-published-1.json is of other inputs" in caplog.text
    assert contents(results)["rnn-published-1.json"]["inputs"] != published["inputs"]
    assert contents(results)["rnn-ours-1.json"] == ours


@pytest.mark.usefixtures("in_this_process")
def test_our_network_has_a_file_that_hears_the_clips_themselves(
    folder: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        runs, "size", lambda name: Model(conv_filters=(3,), projection_units=3, lstm_units=(2,), attention_units=2)
    )
    build = open_build(folder)
    made = benchmark.make_all(build, [(SMALL, OURS)], [1])[Run(SMALL, OURS, 1)]
    phone, reference = made["files"]["phone"], made["files"]["float"]
    assert phone["bytes"] > 0
    # Of the same trained network: int8 weights may change a clip or two of twelve, sound in another order most.
    assert phone["labels_changed"] <= 2
    assert abs(phone["test_accuracy"] - reference["test_accuracy"]) <= 2 / sum(CLIPS.values())
    assert made["parameters"] < 1_000


def test_each_size_of_ours_depends_on_its_own_network_and_a_peer_on_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, runs_of = open_build(folder), [Run(name, OURS, 1) for name in (OURS, SMALL, LARGE, "lstm")]
    before = [runs.inputs_of(run, build) for run in runs_of]
    assert len({inputs["settings"] for inputs in before}) == 4
    with monkeypatch.context() as resized:
        resized.setattr(runs, "size", lambda name: Model(conv_filters=(1,)))
        assert [runs.inputs_of(run, build) == old for run, old in zip(runs_of, before, strict=True)] == [
            True, False, False, True,
        ]  # fmt: skip
    settings = dataclasses.replace(build.settings, model=Model(conv_filters=(7,)))
    other = dataclasses.replace(build, settings=settings)
    changed = [runs.inputs_of(run, other) != old for run, old in zip(runs_of, before, strict=True)]
    assert changed == [True, False, False, False]


@pytest.mark.parametrize(("name", "epochs"), [("lstm", 5), ("ds_cnn", 3), (OURS, 5)])
def test_a_peer_of_slow_steps_trains_half_as_long_by_our_recipe(folder: Path, name: str, epochs: int) -> None:
    build = open_build(folder)
    build = dataclasses.replace(build, settings=dataclasses.replace(build.settings, train=Train(epochs=5)))
    assert runs.settings_of(Run(name, OURS, 1), build).train.epochs == epochs


def test_features_of_a_paper_are_made_by_one_process_at_a_time(
    folder: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, run, begun = open_build(folder), Run("lstm", PUBLISHED, 1), threading.Event()
    monkeypatch.setattr(trainings, "is_made", lambda *_, **__: begun.set() or True)
    lock = build.folder / runs.WORK / "features" / "hello_edge.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        second = threading.Thread(target=runs._features_of, args=(run, build, build.settings))
        second.start()
        assert not begun.wait(0.2)
    second.join(10)
    assert begun.is_set()


def test_a_training_that_another_process_is_at_is_left_to_it(folder: Path, results: Path, trained: list[Path]) -> None:
    at_it = folder / "peers" / "train" / "rnn-ours-7"
    with trainings.alone_at(at_it, wait=False), pytest.raises(PipelineError) as refused:
        benchmark.make_all(open_build(folder), BOTH[1:], [7])
    assert str(refused.value) == f"{at_it}: another process is at it; ask for other runs, or wait for its end"
    assert (trained, list(results.glob("*.json"))) == ([], [])


class Killed(BaseException):
    """Ends the process as far as the benchmark can see."""


@pytest.mark.usefixtures("in_this_process")
def test_a_run_that_was_killed_at_its_end_leaves_no_half_file_and_is_not_trained_again(
    folder: Path, results: Path, trained: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Path, target: Path) -> Path:
        if self.parent == results:
            raise Killed
        return original(self, target)

    original = Path.rename
    build, seed = open_build(folder), [7]
    with monkeypatch.context() as killing:
        killing.setattr(Path, "rename", killed)
        with pytest.raises(Killed):
            benchmark.make_all(build, BOTH[1:], seed)
    assert list(results.glob("*.json")) == []
    assert len(trained) == 1
    made = benchmark.make_all(build, BOTH[1:], seed)
    assert len(trained) == 1
    assert [path.name for path in results.iterdir()] == ["rnn-ours-7.json"]
    assert list(made) == [Run("rnn", OURS, 7)]
    assert [path for path in (folder / "peers" / "train").iterdir() if path.is_dir()] == []


@pytest.mark.usefixtures("in_this_process")
def test_a_run_killed_between_two_epochs_goes_on_there(
    folder: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = PEERS["rnn"].published.path
    recipe.write_text(recipe.read_text().replace("epochs = 1\n", "epochs = 3\n"))
    whole_epoch, ended = train.Keeper.on_epoch_end, []

    def noted(self: train.Keeper, epoch: int, logs: dict | None = None) -> None:
        if epoch == 1 and not ended[1:]:
            ended.append(-1)
            raise Killed
        whole_epoch(self, epoch, logs)
        ended.append(epoch)

    monkeypatch.setattr(train.Keeper, "on_epoch_end", noted)
    build = open_build(folder)
    with pytest.raises(Killed):
        benchmark.make_all(build, BOTH[:1], [3])
    result = benchmark.make_all(build, BOTH[:1], [3])[Run("rnn", PUBLISHED, 3)]
    assert ended == [0, -1, 1, 2]
    assert result["epochs"] == 3


@pytest.mark.slow
def test_conversion_is_done_in_a_process_of_its_own(
    folder: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(runs.convert, "to_int8", killed)  # in this process, where nothing is converted
    made = benchmark.make_all(open_build(folder), [(OURS, OURS)], [1])
    assert made[Run(OURS, OURS, 1)]["files"]["int8"]["bytes"] > 0


# --- times ---


def test_all_networks_are_timed_in_one_go_and_again_only_where_settings_changed(
    folder: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = open_build(folder)
    times = speed.of_build(build, BOTH)
    assert times["rows"].keys() == times["inputs"].keys() == {"rnn-published", "rnn-ours"}
    assert all(0 < value < 60_000 for row in times["rows"].values() for value in row.values())
    assert times["inputs"]["rnn-ours"] == runs.inputs_of(Run("rnn", OURS, 3), build)["settings"]
    assert speed.read() == times

    with monkeypatch.context() as measured:
        measured.setattr(speed, "_measure", lambda *_: pytest.fail("timed again"))
        assert speed.of_build(build, BOTH[:1]) == times
    recipe = PEERS["rnn"].published.path
    recipe.write_text(recipe.read_text().replace("batch_clips = 100", "batch_clips = 50"))
    again = speed.of_build(build, BOTH)
    assert again["inputs"]["rnn-published"] != times["inputs"]["rnn-published"]
    assert speed.read() == again


# --- which runs ---


def result(validation: float, test: float = 0.9, **more: Any) -> dict[str, Any]:
    return {
        "inputs": {"clips": "c", "settings": "s"}, "labels": {"_unknown_": 20, "a": 80},
        "speakers": [f"speaker-{n}" for n in range(100)],
        "clips": {"validation": 90, "testing": 100}, "windows": 1_000, "epochs": 12, "published": None,
        "validation_accuracy": validation, "test_accuracy": test, "parameters": 12_345,
        "files": {
            "float": {"bytes": 99_000, "test_accuracy": test, "labels_changed": 0},
            "dynamic": {"bytes": 33_000, "test_accuracy": test, "labels_changed": 1},
            "int8": {"bytes": 30_000, "test_accuracy": test - 0.01, "labels_changed": 2},
        },
        "errors": [[n, "a", f"speaker-{n}", "_unknown_"] for n in range(round(100 * (1 - test)))], **more,
    }  # fmt: skip


def timed(*rows: tuple[str, str], settings: str = "s") -> dict[str, Any]:
    names = ["-".join(row) for row in rows]
    return {
        "cpu": "some processor", "cores": 2, "inputs": dict.fromkeys(names, settings),
        "rows": {name: {"latency_ms": 0.254, "training_ms": 5.1} for name in names},
    }  # fmt: skip


def first_runs(**validation: tuple[float, float]) -> dict[Run, dict[str, Any]]:
    """Of each peer the first seed by the published recipe and by ours; the test accuracy says the opposite."""
    return {
        Run(name, recipe, 1): result(value, 1 - value)
        for name, values in validation.items()
        for recipe, value in zip((PUBLISHED, OURS), values, strict=True)
    }


FIRST = first_runs(
    attention_rnn=(0.8, 0.95), ds_cnn=(0.9, 0.7), bc_resnet_1=(0.91, 0.92), lstm=(0.6, 0.7), rnn=(0.3, 0.2)
)


def test_ours_and_the_two_best_peers_by_validation_get_three_seeds() -> None:
    seeds = {row: [] for row in benchmark.ROWS}
    for run in benchmark.planned(benchmark.ROWS, [], FIRST):
        seeds[run.name, run.recipe].append(run.seed)
    favoured = {(OURS, OURS), ("attention_rnn", OURS), ("bc_resnet_1", OURS)}
    assert seeds == {row: [1, 2, 3] if row in favoured else [1] for row in benchmark.ROWS}


def test_nobody_is_the_best_before_all_had_their_first_run() -> None:
    some = {run: value for run, value in FIRST.items() if run != Run("rnn", OURS, 1)}
    assert [run.name for run in benchmark.planned(benchmark.ROWS, [], some) if run.seed > 1] == [OURS] * 2


def test_only_what_is_asked_for_is_made() -> None:
    rows = [("rnn", OURS), ("attention_rnn", OURS)]
    assert benchmark.planned(rows, [], FIRST) == [
        Run("rnn", OURS, 1), *(Run("attention_rnn", OURS, seed) for seed in (1, 2, 3)),
    ]  # fmt: skip
    assert benchmark.planned(rows, [5], FIRST) == [Run("rnn", OURS, 5), Run("attention_rnn", OURS, 5)]


# --- tables ---


def test_the_table_has_a_row_for_all_seeds_of_a_network_and_recipe() -> None:
    seeds = {Run(OURS, OURS, seed): result(0.9, test) for seed, test in enumerate((0.9, 0.92, 0.94), 1)}
    for changed, one in enumerate(seeds.values()):  # 0, 0 and 1 of 300
        one["files"]["phone"] = {"bytes": 41_000, "test_accuracy": 0.9, "labels_changed": changed // 2}
    peer = {Run("bc_resnet_1", PUBLISHED, 1): result(0.5, 0.4, published=[200, 36_923])}
    times = timed((OURS, OURS))
    ours, theirs = tables.rows({**peer, **seeds}, times)
    # Of 92 and of 40 in 100 clips, each of another speaker: 1.984 standard errors, which are 0.0256 and 0.0492.
    assert dict(zip(tables.COLUMNS, ours, strict=True)) == {
        "network": "ours", "recipe": "ours", "seeds": "3", "test accuracy": "92.00 ± 2.00 %",
        "95 % interval": "86.9 to 97.1 %", "validation": "90.00 %", "int8 accuracy": "91.00 %",
        "labels changed: dynamic / int8 / phone": "1.00 / 2.00 / 0.33 %", "parameters": "12,345",
        "size: float / dynamic / int8 / phone": "99 / 33 / 30 / 41 kB", "epochs × windows": "12 × 1,000",
        "as published": "", "latency": "0.25 ms", "training": "61 s",
    }  # fmt: skip
    assert theirs[:5] == ["bc_resnet_1", "published", "1", "40.00 %", "30.2 to 49.8 %"]
    assert theirs[7:10] == ["1.00 / 2.00 %", "12,345", "99 / 33 / 30 kB"]
    assert theirs[-3:] == ["200 × 36,923", "", ""]  # not timed
    lines = tables.markdown({**peer, **seeds}, times).splitlines()
    assert lines[0] == "2 labels, clips: 90 for validation and 100 for testing; times are of some processor, cores: 2:"
    assert [line.strip("| ").split(" | ") for line in lines[2:3]] == [list(tables.COLUMNS)]
    assert len(lines[: lines.index("", 2)]) == 6


def test_the_tables_fit_in_200_columns() -> None:
    """Not one figure may be cut off, as those of the largest networks would be first."""
    kinds = (runs.FLOAT, runs.DYNAMIC, runs.INT8, runs.PHONE)
    files = {kind: {"bytes": 999_000, "test_accuracy": 0.9, "labels_changed": 9} for kind in kinds}
    files[runs.FLOAT]["bytes"] = 3_070_000
    long = {"parameters": 766_923, "windows": 47_424, "published": [30_000, 100], "files": files}
    shown = io.StringIO()
    rows = {Run(*row, seed): result(0.9, 0.91 + seed / 100, **long) for row in benchmark.ROWS for seed in (1, 2)}
    times = timed(*benchmark.ROWS)
    Console(width=200, file=shown).print(tables.tables(rows, times))
    lines = shown.getvalue().splitlines()
    for row in tables.rows(rows, times):
        assert any(all(cell in line for cell in row) for line in lines), row


def test_times_of_other_settings_are_not_shown() -> None:
    runs_of = {Run(OURS, OURS, 1): result(0.9)}
    assert tables.rows(runs_of, timed((OURS, OURS), settings="other"))[0][-2:] == ["", ""]
    assert tables.rows(runs_of, None)[0][-2:] == ["", ""]
    assert tables.about(runs_of, None) == "2 labels, clips: 90 for validation and 100 for testing"


def test_the_errors_of_all_seeds_are_told_by_label_and_by_speaker() -> None:
    first = [[n, "a", "anna", "_unknown_"] for n in range(4)] + [[4, "cat", "ben", "a"], [5, "dog", "anna", "a"]]
    second = [[n, "a", f"speaker-{n}" if n < 9 else "anna", "_unknown_"] for n in range(14)]
    speakers = ["", *(f"speaker-{n % 40}" for n in range(99))]
    found = [result(0.9, errors=errors, speakers=speakers) for errors in (first, second, [])]
    own = {OURS: found[:2], SMALL: found[2:]}
    assert tables.error_columns(own) == ["", "ours (seeds: 2)", "small (seeds: 1)"]
    assert {name: cells for name, *cells in tables.error_rows(own)} == {
        "errors": ["20", "0"],
        "_unknown_": ["10.0 % (5.0 %)", "0.0 % (0.0 %)"],  # 2 of 20, of 40 clips
        "a": ["90.0 % (11.2 %)", "0.0 % (0.0 %)"],  # 18 of 20, of 160 clips
        "speakers with errors": ["11 of 40", "0 of 40"],
        "worst tenth of all speakers": ["65.0 %", "0.0 %"],  # anna, ben and two more: 13 of 20
        "worst speakers": ["anna 50.0 %, ben 5.0 %, speaker-0 5.0 %", ""],
    }


def test_silence_has_no_speaker() -> None:
    noise = result(0.9, errors=[[0, "_silence_", "noise", "a"]], labels={"_silence_": 10, "_unknown_": 10, "a": 80})
    assert ["speakers with errors", "0 of 100"] in tables.error_rows({OURS: [noise]})


def test_clips_of_one_speaker_that_are_wrong_together_tell_no_more_than_one() -> None:
    """By clips alone, the margin of twice as many would be smaller."""
    gains, names = np.repeat([1.0, 0.0, -1.0, 0.0], 5), [f"speaker-{n}" for n in range(20)]
    once = margin(gains, names)
    assert margin(np.tile(gains, 2), names * 2) == pytest.approx(once)
    assert margin(np.tile(gains, 2), [*names, *[""] * 20]) < once  # these are each for itself
    assert margin(gains, ["anna"] * 20) == math.inf  # another speaker may be anything


def test_the_verdict_says_plainly_what_is_not_beaten() -> None:
    """By the mean of all seeds, clip by clip; of our recipe only peers that are no larger."""
    found = {
        Run(OURS, OURS, 1): result(0.9, 0.91), Run(OURS, OURS, 2): result(0.9, 0.93),
        Run("attention_rnn", PUBLISHED, 1): result(0.9, 0.90),
        Run("attention_rnn", OURS, 1): result(0.9, 0.99, parameters=12_346),
        Run("ds_cnn", PUBLISHED, 1): result(0.9, 0.92), Run("ds_cnn", OURS, 1): result(0.9, 0.94),
        Run("lstm", OURS, 1): result(0.9, 0.80),
    }  # fmt: skip
    assert tables.verdict(found) == [
        "ours − peer, points of test accuracy:",
        "attention_rnn, recipe published: +2.00 ± 2.41, within the margin",
        "ds_cnn, recipe published: +0.00 ± 1.41, not beaten",
        "ds_cnn, recipe ours: -2.00 ± 2.41, not beaten",
        "lstm, recipe ours: +12.00 ± 6.33",
        "2 of 4 are beaten, 1 by more than the margin; by our recipe, only peers no larger count",
    ]
    assert tables.verdict({run: value for run, value in found.items() if run.name != OURS}) == []


def run_command(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(benchmark.main, list(arguments))
    return done.exit_code, done.output


def put(results: Path, run: Run, content: dict[str, Any]) -> None:
    trainings.write_result(results, run, content["inputs"], content)


def test_without_a_build_the_table_comes_from_the_files(results: Path) -> None:
    put(results, Run(OURS, OURS, 1), result(0.9, 0.91))
    put(results, Run(OURS, OURS, 2), result(0.9, 0.95))
    code, shown = run_command("--markdown")
    assert code == 0
    assert "| ours | ours | 2 | 93.00 ± 2.83 % |" in shown
    code, shown = run_command()
    assert code == 0
    assert "93.00 ± 2.83 %" in shown


@pytest.mark.parametrize("inputs", [{"clips": "c", "settings": "other"}, {"clips": "other", "settings": "s"}])
def test_runs_that_cannot_be_compared_are_in_no_table(results: Path, inputs: dict[str, str]) -> None:
    put(results, Run(OURS, OURS, 1), result(0.9))
    put(results, Run(OURS, OURS, 2), result(0.9, inputs=inputs))
    code, shown = run_command()
    assert code == 1
    remedy = "give BUILD, to remake them; delete those that it doesn't remake"
    assert shown == f"Error: {results}: of other inputs than the rest: ours-ours-2.json; {remedy}\n"


def test_what_is_wrong_is_said_in_one_line(folder: Path, results: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    assert run_command(str(nothing)) == (1, f"Error: missing: {nothing}/train/receipt.json; run: make train\n")
    (tmp_path / "half").mkdir()
    for stage in ("corpus", "train"):
        (tmp_path / "half" / stage).symlink_to(folder / stage)
    missing = f"missing: {tmp_path}/half/features/receipt.json; run: make features"
    assert run_command(str(tmp_path / "half")) == (1, f"Error: {missing}\n")
    assert run_command() == (1, f"Error: {results}: no finished runs; give BUILD, to make some\n")
    results.mkdir()
    (results / "some.json").write_text("{}")
    code, shown = run_command()
    assert code == 1
    assert shown == f"Error: {results}/some.json: no result of a run (KeyError('name')); delete it\n"
    code, shown = run_command(str(folder), "--only", OURS, "--recipe", PUBLISHED)
    assert code == 2
    assert "no published recipe has: ours" in shown
