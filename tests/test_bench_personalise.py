"""What takes of their own are worth to speakers of the testing split: who they are, what is learnt, what is counted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tones
from click.testing import CliRunner

from benchmarks import trainings
from benchmarks.personalise import __main__ as benchmark
from benchmarks.personalise import runs, tables
from benchmarks.personalise.runs import Run
from benchmarks.trainings import Build, open_build
from pipeline.config import Personalise
from pipeline.corpora import manifest
from pipeline.corpora.manifest import TESTING
from pipeline.errors import PipelineError

SHORT = Personalise(epochs=1, copies=2)

# --- runs ---


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Anna has three takes of each word in each split, Ben one; nobody is learnt for long."""
    folder = tmp_path_factory.mktemp("tones")
    made = open_build(tones.make_build(folder, speaker_of=lambda take: "anna" if take < 3 else "ben"))
    return dataclasses.replace(made, settings=dataclasses.replace(made.settings, personalise=SHORT))


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where results go."""
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def test_speakers_are_those_of_testing_with_takes_enough(build: Build) -> None:
    assert runs.speakers(build) == ["anna"]


def test_one_take_of_each_word_is_learnt_and_the_seed_says_which(build: Build) -> None:
    clips = manifest.read(build.folder / "corpus")
    chosen = [runs.learnt_takes(Run("anna", seed), build) for seed in range(8)]
    for takes in chosen:
        assert [(clips[n].label, clips[n].speaker, clips[n].split) for n in takes] == [
            (word, "anna", TESTING) for word in ("low", "high")
        ]
    assert len({tuple(takes) for takes in chosen}) > 2


def test_a_run_is_measured_on_the_other_takes_and_on_everyone_else_and_is_made_once(
    build: Build, results: Path
) -> None:
    run = Run("anna", SHORT.seed)
    made = benchmark.make_all(build, [])
    assert made.keys() == {run}
    result = made[run]
    assert (result["own"]["clips"], result["others"]["clips"]) == (4, 2)
    assert result["windows"] == 2 * (1 + 2)  # two words, a take and two copies of it
    for who in ("own", "others"):
        assert all(0 <= result[who][when] <= result[who]["clips"] for when in ("before", "after"))
    assert not (build.folder / runs.WORK / str(run)).exists()
    written = (results / f"{run}.json").stat().st_mtime_ns
    assert benchmark.make_all(build, []) == made
    assert (results / f"{run}.json").stat().st_mtime_ns == written


def test_a_corpus_without_such_speakers_is_refused(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "LEAST_TAKES", 4)
    with pytest.raises(PipelineError, match="no speaker of testing has"):
        benchmark.planned(build, [1])


# --- the table ---


def result(own: tuple[int, int, int], others: tuple[int, int, int] = (100, 90, 89)) -> dict[str, Any]:
    named = [dict(zip(("clips", "before", "after"), counts, strict=True)) for counts in (own, others)]
    return {
        "own": named[0], "others": named[1], "windows": 1, "seconds": 3.0, "cpu": "a", "cores": 1,
        "inputs": {"clips": "c", "network": "n", "settings": "s"},
    }  # fmt: skip


def cells(results: dict[Run, dict[str, Any]]) -> dict[str, str]:
    row, _ = tables.rows(results)
    return dict(zip(tables.COLUMNS, row, strict=True))


def test_figures_are_of_all_clips_together() -> None:
    found = {Run("a", 1): result((30, 20, 25)), Run("b", 1): result((10, 10, 9))}
    row = cells(found)
    assert row["clips"] == "40"
    assert row["before"] == "75.0 % (66.7 to 100.0)"  # drawn with replacement: both are a, or both are b
    assert row["after"].startswith("85.0 % ")
    assert row["errors gone"].startswith("40 % ")
    _, others = tables.rows(found)
    assert others[tables.COLUMNS.index("points")] == "-1.0 (-1.0 to -1.0)"


def test_seeds_of_one_speaker_are_not_more_speakers() -> None:
    one = {Run("a", 1): result((30, 20, 25)), Run("b", 1): result((10, 10, 9))}
    three = {Run(run.speaker, seed): counts for run, counts in one.items() for seed in (1, 2, 3)}
    assert "for each of 2 speakers, seeds 1, 2, 3;" in tables.about(three)
    assert cells(three)["after"] == cells(one)["after"]


def test_without_errors_before_none_are_gone() -> None:
    assert np.isnan(tables.errors_gone(np.array([5.0, 5.0, 4.0])))


def test_the_table_is_shown_from_the_files_alone(results: Path) -> None:
    for speaker in ("a", "b"):
        run = Run(speaker, 1)
        trainings.write_result(results, run, result((1, 0, 1))["inputs"], result((30, 20, 25)))
    shown = CliRunner().invoke(benchmark.main, ["--markdown"])
    assert shown.exit_code == 0
    assert "| the speakers, other takes | 60 | 66.7 % (66.7 to 66.7) |" in shown.output


def test_what_is_wrong_is_one_line(results: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(benchmark.main, [])
    assert shown.output == f"Error: {results}: no finished runs; give BUILD, to make some\n"
    shown = CliRunner().invoke(benchmark.main, [str(tmp_path)])
    assert shown.output == f"Error: missing: {tmp_path}/train/receipt.json; run: make train\n"
