"""What a list of words alone is worth on people: voices are learnt, people choose, and takes are drawn as they say."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import tones
from click.testing import CliRunner

from benchmarks import changes, trainings
from benchmarks.changes import AS_IT_IS, Run
from benchmarks.own_words import __main__ as benchmark
from benchmarks.own_words import runs, tables
from benchmarks.trainings import Build, open_build
from pipeline import receipt
from pipeline.config import UNKNOWN, Settings, load
from pipeline.corpora import manifest
from pipeline.corpora.manifest import TRAINING
from pipeline.stages import corpus as corpus_stage

SEED = Settings().train.seed


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """People who say two words, of which the tests let tones stand for voices."""
    return open_build(tones.make_build(tmp_path_factory.mktemp("people")))


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where results go."""
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


# --- changes ---


@pytest.mark.parametrize("path", sorted(runs.CHANGES.glob("*.toml")), ids=lambda path: path.stem)
def test_a_change_changes_all_that_it_names_and_says_what_it_tries(path: Path) -> None:
    before = load(corpus={"keywords": ["yes", "no"]})
    after = changes.changed(runs.CHANGES, path.stem, runs.SECTIONS, before)
    text = path.read_text(encoding="utf-8")
    assert len(changes.differences(before, after, runs.SECTIONS)) == text.count(" = ") > 0
    assert text.startswith("# ")


def test_what_is_learnt_from_is_what_a_list_of_the_words_makes(build: Build) -> None:
    settings = runs.as_it_is(build)
    assert (settings.corpus.kind, settings.corpus.words) == ("synthetic", ("low", "high"))
    assert settings.features == build.settings.features
    assert settings.train == Settings().train


def test_takes_are_of_training_as_many_of_each_word_and_more_hold_the_fewer(build: Build) -> None:
    clips = manifest.read(build.folder / "corpus")
    few, more = (runs.takes_of(build, count, SEED) for count in (2, 3))
    assert set(few) < set(more)
    drawn = [(clips[n].label, clips[n].split) for n in more]
    assert drawn.count(("low", TRAINING)) == drawn.count(("high", TRAINING)) == 3
    assert drawn.count((UNKNOWN, TRAINING)) == 1  # a fifth of six, as nearly as that goes
    assert len(drawn) == 7
    assert runs.takes_of(build, 3, SEED + 1) != more


# --- runs ---


@pytest.fixture
def small(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Everything is small, two changes are known, and voices are the people; what they were asked to say is noted."""
    asked: list[Settings] = []
    folder = tmp_path / "changes"
    folder.mkdir()
    (folder / "more_units.toml").write_text("# More.\n[model]\nlstm_units = [5]\n")
    (folder / "more_copies.toml").write_text("# More.\n[augment]\ncopies = 2\n")
    plain = dataclasses.replace(
        build.settings,
        corpus=runs.as_it_is(build).corpus,
        personalise=dataclasses.replace(build.settings.personalise, epochs=1, copies=1),
    )

    def speak(settings: Settings, data: Path, out: Path) -> str:
        asked.append(settings)
        with receipt.making(out, "corpus", settings) as work:
            shutil.copytree(build.folder / "corpus", work, dirs_exist_ok=True)
        return "said"

    monkeypatch.setattr(runs, "CHANGES", folder)
    monkeypatch.setattr(runs, "TAKES", (1, 2))
    monkeypatch.setattr(runs, "as_it_is", lambda build: plain)
    monkeypatch.setattr(benchmark, "NAMES", (AS_IT_IS, "more_copies", "more_units"))
    monkeypatch.setattr(corpus_stage, "run", speak)
    return asked


def test_finished_runs_are_kept_and_voices_speak_once(
    build: Build, results: Path, small: list[Settings], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    made = benchmark.make_all(build, benchmark.NAMES, [])
    assert list(made) == [Run(name, SEED) for name in benchmark.NAMES]
    assert len(small) == 1  # all three are of the same clips
    plain, copies, units = made.values()
    assert [one["changes"] for one in made.values()] == [[], ["copies 1 → 2"], ["lstm_units [3] → [5]"]]
    assert plain["testing"].keys() == {"0", "1", "2"}
    assert copies["testing"] == units["testing"] == {}  # nobody chooses by it
    clips = sum(tones.CLIPS.values())
    for figures in (plain["validation"], copies["validation"], *plain["testing"].values()):
        assert figures["clips"] == len(figures["speakers"]) == clips
        assert figures["accuracy"] == pytest.approx(1 - len(figures["wrong"]) / clips)
        assert all(0 <= figures[name] <= 1 for name in tables.SHARES)
    work = build.folder / runs.WORK
    assert [list((work / name).glob("*/")) for name in ("train", "features")] == [[], []]  # what a disk would fill with
    assert benchmark.make_all(build, benchmark.NAMES, []) == made
    assert len(small) == 1


# --- the tables ---


def figures(wrong: list[int], **shares: float) -> dict[str, Any]:
    rest = dict.fromkeys(tables.SHARES, 0.5)
    return {"clips": 10, "speakers": [str(n) for n in range(10)], "wrong": wrong, **rest, **shares} | {
        "accuracy": 1 - len(wrong) / 10
    }


def result(validation: dict[str, Any], testing: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    inputs = {"clips": "c", "recipe": "r", "settings": "s"}
    return {"validation": validation, "testing": testing or {}, "changes": [], "inputs": inputs, **more}


def test_changes_are_compared_seed_by_seed_and_the_best_comes_first() -> None:
    found = {
        Run(AS_IT_IS, 1): result(figures([0, 1]), {"0": figures([0])}),
        Run(AS_IT_IS, 2): result(figures([0, 1, 2]), {"0": figures([0, 1, 2])}),
        Run("better", 2): result(figures([0]), changes=["copies 3 → 11"]),
    }
    first, second = (dict(zip(tables.CHANGES, row, strict=True)) for row in tables.change_rows(found))
    assert (first["change"], first["what it changes"]) == ("better", "copies 3 → 11")
    assert (first["accuracy"], first["points"]) == ("90.0 %", "+20.0")
    assert (second["change"], second["accuracy"], second["points"]) == ("as it is", "75.0 ± 7.1 %", "")


def test_takes_have_an_interval_and_are_of_the_recipe_as_it_is() -> None:
    testing = {"0": figures([0, 1, 2, 3, 4]), "3": figures([])}
    rows = [dict(zip(tables.TAKES, row, strict=True)) for row in tables.take_rows({1: result(figures([]), testing)})]
    assert [(row["takes of each word"], row["accuracy"]) for row in rows] == [("0", "50.0 %"), ("3", "100.0 %")]
    assert rows[0]["95 % interval"] == "12.3 to 87.7 %"  # t of nine degrees of freedom times the root of 0.25 / 9
    assert rows[1]["95 % interval"] == "100.0 to 100.0 %"


def test_the_tables_are_shown_from_the_files_alone(results: Path) -> None:
    written = result(figures([0]), {"0": figures([0, 1])})
    trainings.write_result(results, Run(AS_IT_IS, 1), written.pop("inputs"), written)
    shown = CliRunner().invoke(benchmark.main, ["--markdown"])
    assert shown.exit_code == 0, shown.output
    assert "| as it is |  | 1 | 90.0 % |" in shown.output
    assert "| 0 | 1 | 80.0 % |" in shown.output


def test_what_is_wrong_is_one_line(results: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(benchmark.main, [])
    assert shown.output == f"Error: {results}: no finished runs; give BUILD, to make some\n"
    shown = CliRunner().invoke(benchmark.main, [str(tmp_path)])
    assert shown.output == f"Error: missing: {tmp_path}/train/receipt.json; run: make train\n"
