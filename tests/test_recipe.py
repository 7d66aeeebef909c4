"""The changes of the recipe are what they say, validation alone decides, and finished runs are kept."""

from __future__ import annotations

import dataclasses
import io
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tones
from click.testing import CliRunner
from rich.console import Console
from tones import CLIPS

from benchmarks import trainings, views
from benchmarks.changes import AS_IT_IS, Run, differences
from benchmarks.recipe import __main__ as benchmark
from benchmarks.recipe import harder, heard, runs, tables
from benchmarks.recipe.runs import NAMES
from benchmarks.trainings import open_build
from pipeline.config import BACKGROUND_NOISE, SILENCE, Features, Settings, Train, load
from pipeline.corpora import manifest, streams
from pipeline.corpora.manifest import OTHERS, SPLITS, TESTING, TRAINING, VALIDATION, Clip
from pipeline.device import audio
from pipeline.errors import SettingsError
from pipeline.network import model
from pipeline.network.engine import tf_keras
from pipeline.receipt import sha256
from pipeline.stages import evaluate, train

ROOT = Path(__file__).parents[1]
CHANGES = sorted(runs.CHANGES.glob("*.toml"))

# --- changes ---


@pytest.mark.parametrize("path", CHANGES, ids=lambda path: path.stem)
def test_a_change_changes_all_that_it_names_and_says_what_it_tries(path: Path) -> None:
    settings = load(ROOT / "params" / "eight_words.toml")
    text = path.read_text(encoding="utf-8")
    overlay = tomllib.loads(text)
    changed = runs.changed(path.stem, settings)
    for section, values in overlay.items():
        for key, value in values.items():
            assert changed.section(section)[key] == value
            assert settings.section(section)[key] != value, f"{section}.{key} is {value} without the change"
    assert len(differences(settings, changed, runs.SECTIONS)) == sum(map(len, overlay.values())) > 0
    assert text.startswith("# ")


def build_changed(name: str) -> tf_keras.Model:
    settings = runs.changed(name, load(ROOT / "params" / "eight_words.toml"))
    frames, n_mfcc = settings.features.frames(settings.audio), settings.features.n_mfcc
    normaliser = {"mean": np.zeros(n_mfcc), "std": np.ones(n_mfcc)}
    return model.build(settings.model, frames=frames, n_mfcc=n_mfcc, labels=10, **normaliser)


@pytest.mark.parametrize("name", ["one_conv", "two_convs", "one_lstm", "three_lstms"])
def test_another_number_of_layers_has_about_as_many_parameters(name: str) -> None:
    plain, other = (trainings.parameters(build_changed(change)) for change in (AS_IT_IS, name))
    assert other == pytest.approx(plain, rel=0.05)


def test_the_lstm_sees_as_many_steps_of_denser_frames() -> None:
    plain, dense = (build_changed(change).get_layer("bilstm_1").output_shape for change in (AS_IT_IS, "hop_10"))
    assert plain == dense


def test_what_the_docs_compare_is_the_recipe_of_the_eight_words_a_quarter_as_long() -> None:
    whole, short = load(ROOT / "params" / "eight_words.toml"), load(runs.CHANGES.parent / "eight_words_quarter.toml")
    assert dataclasses.replace(short, train=dataclasses.replace(short.train, epochs=4 * short.train.epochs)) == whole


def test_the_recipe_as_it_is_has_no_change() -> None:
    assert runs.changed(AS_IT_IS, Settings()) == Settings()


def test_what_a_change_comes_to_is_said_in_words() -> None:
    assert differences(Settings(), runs.changed("one_lstm", Settings()), runs.SECTIONS) == [
        "lstm_units [64, 48] → [96]"
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[corpus]\nseed = 2\n", r"section \[corpus\] can't be changed here; known: features, augment, model, train"),
        ("[model]\nlayers = 2\n", r"unknown key model\.layers"),
        ("[features]\nf_max_hz = 9000.0\n", "above half the sample rate"),
        ("[model\n", "Expected"),
        ("model = 2\n", r"model must be a section, \[model\]"),
    ],
)
def test_a_change_that_is_none_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, complaint: str
) -> None:
    monkeypatch.setattr(runs, "CHANGES", tmp_path)
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(SettingsError, match=rf"wrong\.toml: .*{complaint}"):
        runs.changed("wrong", Settings())


# --- runs ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build that has no testing split: none of what is below may look for one."""
    return tones.make_build(tmp_path_factory.mktemp("recipe"), (TRAINING, VALIDATION))


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where results go."""
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Changes of the tests' own: one of the sound, one of the network, one that the build has anyway."""
    changes = tmp_path / "changes"
    changes.mkdir()
    (changes / "hop_40.toml").write_text("[features]\nhop_ms = 40\n")
    (changes / "more_units.toml").write_text("[model]\nlstm_units = [5]\n")
    (changes / "one_epoch.toml").write_text("[train]\nepochs = 1\n")
    monkeypatch.setattr(runs, "CHANGES", changes)
    monkeypatch.setattr(benchmark, "NAMES", (AS_IT_IS, "hop_40", "more_units", "one_epoch"))
    return changes


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Path]]:
    """Of each training that was begun, whose features it took and where it went."""
    begun: list[tuple[Path, Path]] = []
    original = train.train_network

    def noted(settings: Settings, features: Path, out: Path, *rest: Any) -> str:
        begun.append((features, out))
        return original(settings, features, out, *rest)

    monkeypatch.setattr(train, "train_network", noted)
    return begun


def test_finished_runs_are_not_made_again_and_those_of_other_changes_are(
    folder: Path, results: Path, changes: Path, trained: list[tuple[Path, Path]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    build = open_build(folder)
    work, seed = build.folder / runs.WORK, build.settings.train.seed
    made = benchmark.make_all(build, benchmark.NAMES, [])
    assert list(made) == [Run(name, seed) for name in (AS_IT_IS, "hop_40", "more_units")]
    assert trained == [
        (build.folder / "features", work / "train" / f"as_it_is-{seed}"),
        (work / "features" / "hop_40", work / "train" / f"hop_40-{seed}"),
        (build.folder / "features", work / "train" / f"more_units-{seed}"),
    ]
    assert "one_epoch is what the recipe of" in caplog.text
    assert [list((work / name).glob("*/")) for name in ("train", "features")] == [[], []]  # what a disk would fill with
    assert {path.name for path in results.iterdir()} == {f"{run}.json" for run in made}

    plain, hop, units = made.values()
    assert [result["changes"] for result in made.values()] == [[], ["hop_ms 20 → 40"], ["lstm_units [3] → [5]"]]
    assert plain["parameters"] == hop["parameters"] < units["parameters"]
    for result in made.values():
        assert result["clips"] == sum(CLIPS.values())
        assert result["windows"] == 2 * sum(CLIPS.values())
        assert result["epochs"] == 1
        assert result["validation"]["accuracy"] * result["clips"] == pytest.approx(
            round(result["validation"]["accuracy"] * result["clips"])
        )
        copies = result["clips"] * harder.COPIES
        assert result["harder"]["accuracy"] * copies == pytest.approx(round(result["harder"]["accuracy"] * copies))
        assert min(result["training_s"], result["cores"], result["harder"]["cross_entropy"]) > 0
        assert result["missed"].keys() == {"words in noise, 20 dB", "words in noise, 10 dB"}
        assert all(0 <= missed <= 1 for missed in result["missed"].values())

    assert benchmark.make_all(build, benchmark.NAMES, []) == made
    assert len(trained) == 3

    (changes / "more_units.toml").write_text("[model]\nlstm_units = [6]\n")
    again = benchmark.make_all(build, benchmark.NAMES, [])
    assert [out.name for _, out in trained[3:]] == [f"more_units-{seed}"]
    assert f"more_units-{seed}.json is of other inputs" in caplog.text
    assert again[Run("more_units", seed)]["changes"] == ["lstm_units [3] → [6]"]

    other = dataclasses.replace(build, settings=dataclasses.replace(build.settings, train=Train(epochs=2)))
    assert benchmark.read_of(other) == {}  # differences are to another recipe then


@pytest.mark.usefixtures("changes")
def test_seeds_that_are_given_take_the_place_of_the_builds_own(folder: Path, results: Path) -> None:
    made = benchmark.make_all(open_build(folder), ["more_units"], [7, 8])
    assert list(made) == [Run("more_units", 7), Run("more_units", 8)]
    one, other = (result["validation"]["cross_entropy"] for result in made.values())
    assert one != other
    assert made[Run("more_units", 7)]["inputs"] == made[Run("more_units", 8)]["inputs"]


class Killed(BaseException):
    """Ends the process as far as the benchmark can see."""


@pytest.mark.usefixtures("changes")
def test_a_run_killed_after_its_training_is_not_trained_again(
    folder: Path, results: Path, trained: list[tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    build = open_build(folder)
    with monkeypatch.context() as killing:
        killing.setattr(harder, "features", killed)
        with pytest.raises(Killed):
            benchmark.make_all(build, ["hop_40"], [5])
    assert list(results.glob("*")) == []
    made = benchmark.make_all(build, ["hop_40"], [5])
    assert len(trained) == 1
    assert list(made) == [Run("hop_40", 5)]


def test_the_cross_entropy_is_against_labels_that_are_not_smoothed() -> None:
    class Network:
        def predict(self, mfcc: np.ndarray, **_: Any) -> np.ndarray:
            return np.array([[0.5, 0.5 - 1e-9], [0.25, 0.75], [1.0, 0.0], [0.0, 1.0]], np.float32)

    figures = runs._score(Network(), np.zeros((4, 1, 1), np.float32), np.array([0, 0, 0, 1], np.int32))
    assert figures == {"accuracy": 0.75, "cross_entropy": pytest.approx((np.log(2) + np.log(4)) / 4)}


# --- the harder clips ---


def add_noise(corpus: Path) -> dict[str, float]:
    """A recording of noise for each split, each of one value."""
    values = {split: 0.1 * number for number, split in enumerate(SPLITS, 1)}
    clips = manifest.read(corpus)
    for split, value in values.items():
        path = corpus / f"{split}-noise.wav"
        audio.write(path, np.full(2 * tones.RATE_HZ, value, np.float32), tones.RATE_HZ)
        clips.append(Clip(path.name, BACKGROUND_NOISE, "", split, "made", BACKGROUND_NOISE, sha256(path)))
    manifest.write(corpus, clips, list(CLIPS))
    return values


def test_harder_clips_are_the_same_sound_for_every_recipe_in_noise_of_validation_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, heard = open_build(folder).settings, []
    clips = evaluate.examples_of(folder / "corpus", folder / "features" / VALIDATION, settings)
    (tmp_path / "corpus").mkdir()
    for path in (folder / "corpus").iterdir():
        if not path.name.startswith(TRAINING):
            (tmp_path / "corpus" / path.name).write_bytes(path.read_bytes())
    noise = add_noise(tmp_path / "corpus")
    original = harder.augment

    def noted(*arguments: Any, **named: Any) -> np.ndarray:
        assert [round(float(recording.mean()), 3) for recording in named["noise"]] == [noise[VALIDATION]]
        heard.append(original(*arguments, **named))
        return heard[-1]

    monkeypatch.setattr(harder, "augment", noted)
    noisy = dataclasses.replace(clips, corpus=tmp_path / "corpus")
    found = harder.features(noisy, settings)
    assert found.shape == (sum(CLIPS.values()) * harder.COPIES, *clips.mfcc.shape[1:])
    np.testing.assert_array_equal(harder.features(noisy, settings), found)
    fewer = dataclasses.replace(settings, features=Features(n_mfcc=20), augment=load(augment={"seed": 9}).augment)
    np.testing.assert_allclose(harder.features(noisy, fewer), found[..., :20], atol=1e-4)
    first, second, third = np.split(np.stack(heard), 3)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)


def test_each_copy_of_a_clip_is_another_and_stands_beside_the_others(folder: Path) -> None:
    settings = open_build(folder).settings
    clips = evaluate.examples_of(folder / "corpus", folder / "features" / VALIDATION, settings)
    copies = harder.features(clips, settings).reshape(len(clips.clips), harder.COPIES, -1)
    plain = clips.mfcc.reshape(len(clips.clips), 1, -1)
    words = [n for n, clip in enumerate(clips.clips) if clip.label != SILENCE]
    assert (np.abs(np.diff(copies, axis=1)).max(axis=-1) > 1).all()
    distances = np.abs(copies[words][:, :, None] - plain[words].swapaxes(0, 1)[None]).mean(axis=-1)
    pitches = [clips.clips[n].label for n in words]
    nearest = [[pitches[m] for m in row] for row in distances.argmin(axis=-1)]
    assert np.mean([[label == pitch for label in row] for row, pitch in zip(nearest, pitches, strict=True)]) > 0.6


# --- streams ---


def test_what_a_network_misses_is_counted_in_streams_of_validation_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(streams={"snr_db": [20.0], "negative": "nowhere"})
    sound = dataclasses.replace(open_build(folder).settings, streams=settings.streams)
    clips = evaluate.examples_of(folder / "corpus", folder / "features" / VALIDATION, sound)
    network = model.load(folder / "train" / train.MODEL)
    calls = []
    original = streams.of

    def noted(corpus: Path, split: str, used: Settings) -> Any:
        calls.append((split, used.streams.negative))
        return original(corpus, split, used)

    monkeypatch.setattr(streams, "of", noted)
    before = network.predict(clips.mfcc, verbose=0).argmax(axis=1)
    found = heard.missed(network, clips, sound)
    assert set(calls) == {(VALIDATION, "")}
    assert found.keys() == {"words in noise, 20 dB"}
    np.testing.assert_array_equal(network.predict(clips.mfcc, verbose=0).argmax(axis=1), before)
    logits = network.get_layer("logits")
    logits.set_weights([np.zeros_like(weights) for weights in logits.get_weights()])
    assert heard.missed(network, clips, sound) == {"words in noise, 20 dB": 1.0}


# --- the table ---


def result(plain: float, hard: float, changes: list[str], **more: Any) -> dict[str, Any]:
    return {
        "inputs": {"clips": "c", "recipe": "r", "settings": "s"}, "changes": changes, "clips": 958,
        "validation": {"accuracy": plain, "cross_entropy": 0.2004},
        "harder": {"accuracy": hard, "cross_entropy": 0.4006},
        "missed": {"words in noise, 20 dB": 0.1, "words in noise, 10 dB": 0.2},
        "parameters": 175_467, "windows": 131_072, "epochs": 24, "training_s": 1_234.4,
        "cpu": "some processor", "cores": 2, **more,
    }  # fmt: skip


FOUND = {
    Run(AS_IT_IS, 3): result(0.95, 0.90, []),
    Run("batch_256", 3): result(0.94, 0.91, ["batch_clips 128 → 256"]),
    Run("copies_0", 3): result(0.96, 0.80, ["copies 11 → 0"]),
    Run("dropout_0", 4): result(0.99, 0.99, ["dropout 0.2 → 0.0"]),
}


def test_differences_are_to_the_recipe_as_it_is_and_the_best_stands_first() -> None:
    found = tables.rows(FOUND)
    assert [row[0] for row in found] == ["batch_256", "as it is", "copies_0", "dropout_0"]
    assert found[0] == [
        "batch_256", "batch_clips 128 → 256", "1", "94.00 %", "-1.00", "91.00 %", "+1.00", "0.200 / 0.401",
        "10.0 / 20.0 %", "175,467", "24 × 131,072", "1,234 s",
    ]  # fmt: skip
    assert found[1][3:7] == ["95.00 %", "", "90.00 %", ""]
    assert found[2][3:7] == ["96.00 %", "+1.00", "80.00 %", "-10.00"]
    assert found[3][3:7] == ["99.00 %", "", "99.00 %", ""]  # of another seed
    assert len(found[0]) == len(tables.COLUMNS)


def test_only_seeds_that_both_have_are_compared() -> None:
    more = {Run(AS_IT_IS, 4): result(0.97, 0.94, []), Run("batch_256", 5): result(0.99, 0.99, ["other"])}
    rows = {row[0]: row for row in tables.rows({**FOUND, **more})}
    assert rows["dropout_0"][4:7:2] == ["+2.00", "+5.00"]
    assert rows["batch_256"][2:7] == ["2", "96.50 ± 3.54 %", "-1.00", "95.00 ± 5.66 %", "+1.00"]


def test_the_same_clips_in_another_folder_are_the_same(tmp_path: Path) -> None:
    def digest(folder: str, **changed: str) -> str:
        clips = [
            Clip(f"/{folder}/{n}.wav", "yes", "anna", split, folder, "yes", f"sha of {n}")
            for n, split in enumerate((*SPLITS, OTHERS))
        ]
        clips[0] = dataclasses.replace(clips[0], **changed)
        (tmp_path / folder).mkdir(exist_ok=True)
        manifest.write(tmp_path / folder, clips, ["yes"])
        return trainings.clips_digest(tmp_path / folder)

    assert digest("here") == digest("there")
    assert len({digest("here"), digest("here", sha256="other"), digest("here", label="_unknown_")}) == 3
    assert digest("here") != digest("here", split=TESTING)


def test_points_of_several_seeds_have_a_spread() -> None:
    more = {Run(AS_IT_IS, 4): result(0.97, 0.94, []), Run("batch_256", 4): result(0.98, 0.98, ["other"])}
    rows = {row[0]: row for row in tables.rows({**FOUND, **more})}
    assert rows["batch_256"][4:7:2] == ["+0.00 ± 1.41", "+2.50 ± 2.12"]


def test_the_table_fits_in_200_columns() -> None:
    settings = load(ROOT / "params" / "eight_words.toml")
    found = {
        Run(name, seed): result(
            0.95, 0.80 + seed / 9, differences(settings, runs.changed(name, settings), runs.SECTIONS), windows=1_131_072
        )
        for name in NAMES
        for seed in (1, 2)
    }
    shown = io.StringIO()
    Console(width=200, file=shown).print(tables.table(found))
    lines = shown.getvalue().splitlines()
    for change, changes, *cells in tables.rows(found):
        assert any(all(cell in line for cell in (change, *cells)) for line in lines), change
        assert all(part.replace(" ", "\u00a0") in shown.getvalue() for part in changes.split(", ")), change


# --- the command ---


def run_command(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(benchmark.main, list(arguments))
    return done.exit_code, done.output


def put(results: Path, run: Run, content: dict[str, Any]) -> None:
    trainings.write_result(results, run, content["inputs"], content)


def test_without_a_build_the_table_comes_from_the_files(results: Path) -> None:
    for run, content in FOUND.items():
        put(results, run, content)
    code, shown = run_command("--markdown")
    assert code == 0
    assert shown == f"{tables.about(FOUND)}:\n\n{views.markdown(tables.COLUMNS, tables.rows(FOUND), tables.LEFT)}\n"
    assert shown.startswith("validation: 958 clips, harder: 3 changed copies of each; points are of accuracy")
    code, shown = run_command()
    assert code == 0
    assert all(f"{run.change.replace('as_it_is', 'as it is')} " in shown for run in FOUND)


@pytest.mark.parametrize("other", ["clips", "recipe", "settings"])
def test_runs_that_cannot_be_compared_are_in_no_table(results: Path, other: str) -> None:
    first = result(0.9, 0.8, [])
    put(results, Run(AS_IT_IS, 1), first)
    put(results, Run(AS_IT_IS, 2), {**first, "inputs": {**first["inputs"], other: "other"}})
    code, shown = run_command()
    remedy = "give BUILD, to remake them; delete those that it doesn't remake"
    assert (code, shown) == (1, f"Error: {results}: of other inputs than the rest: as_it_is-2.json; {remedy}\n")


def test_a_file_left_of_a_change_that_is_gone_is_named(results: Path) -> None:
    """No build remakes it, and the table would wait for that."""
    old = result(0.9, 0.8, [])
    for run, recipe in ((Run("a_gone_one", 1), "older"), (Run(AS_IT_IS, 1), "r"), (Run("batch_256", 1), "r")):
        put(results, run, {**old, "inputs": {**old["inputs"], "recipe": recipe}})
    code, shown = run_command()
    assert code == 1
    assert "of other inputs than the rest: a_gone_one-1.json; " in shown


def test_what_is_wrong_is_said_in_one_line(results: Path, tmp_path: Path) -> None:
    assert run_command() == (1, f"Error: {results}: no finished runs; give BUILD, to make some\n")
    nothing = tmp_path / "nothing"
    assert run_command(str(nothing)) == (1, f"Error: missing: {nothing}/train/receipt.json; run: make train\n")
    code, shown = run_command("--only", "nonsense")
    assert code == 2
    assert "'nonsense' is not one of" in shown
