"""The experiment as a stage: every training once, taken up where it stopped, and pictures of the numbers alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY

from pipeline.config import Settings, load
from pipeline.corpora import manifest, shards
from pipeline.network.memory import KINDS, Outcome, Task
from pipeline.receipt import making
from pipeline.stages import memory

FRAMES, INPUTS = 9, 4
PICTURES = {"accuracy.png", "clipping.png", "gradient_corpus.png", "gradient_gap.png"}


class Killed(BaseException):
    """Ends the process as far as the stage can see."""


@pytest.fixture
def settings() -> Settings:
    return load(TINY, memory={"seeds": 2})


@pytest.fixture
def features(settings: Settings, tmp_path: Path) -> Path:
    """A folder as the stage `features` leaves it: five clips for training, each with a copy, three for validation."""
    generator = np.random.default_rng(1)
    with making(tmp_path / "features", "features", settings) as work:
        for split, clips, copies in ((manifest.TRAINING, 5, 2), (manifest.VALIDATION, 3, 1)):
            index = [(clip % 2, clip, copy) for clip in range(clips) for copy in range(copies)]
            mfcc = 5 + 2 * generator.standard_normal((len(index), FRAMES, INPUTS), np.float32)
            shards.write(work / split, 0, np.array(index, np.int32), [mfcc])
        shards.write_normaliser(work, np.full(INPUTS, 5.0), np.full(INPUTS, 2.0))
        (work / manifest.LABELS).write_text("yes\nno\n")
    return tmp_path / "features"


class Trainer:
    """Stands for the training: what comes of it follows from what it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, killed_after: int | None = None) -> None:
        self.calls: list[tuple] = []
        self.tasks: list[Task] = []
        self.killed_after = killed_after
        monkeypatch.setattr(memory.memory, "train", self)
        monkeypatch.setattr(memory.joblib, "cpu_count", lambda: 1)  # in this process, where it can be replaced

    def __call__(
        self, kind: str, task: Task, _: object, *, updates: int, clip_norm: float | None, seed: int
    ) -> Outcome:
        steps = task.held_out[0].shape[1]
        if len(self.calls) == self.killed_after:
            raise Killed
        self.calls.append((kind, steps, updates, clip_norm, seed))
        self.tasks.append(task)
        fade = np.random.default_rng([len(kind), steps, seed]).uniform(0.5, 1.1) ** np.arange(steps)
        return Outcome(7, 500, 1 / 3 if clip_norm else 0.25, [2.0] * updates, fade.tolist(), (fade / 3).tolist())


def test_every_kind_is_trained_on_every_task_clipped_and_not_from_every_seed(
    settings: Settings, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(monkeypatch)
    memory.run(settings, features, tmp_path / "memory")
    for kind in KINDS:
        lengths = [FRAMES, *(gap + 3 + (gap if kind == "bilstm" else 0) for gap in (2, 4))]
        expected = [(length, 5, clip_norm, seed) for length in lengths for clip_norm in (1.0, None) for seed in (6, 7)]
        assert sorted(call[1:] for call in trainer.calls if call[0] == kind and call[3]) == sorted(
            row for row in expected if row[2]
        )
        assert len([call for call in trainer.calls if call[0] == kind]) == len(expected)
    runs = json.loads((tmp_path / "memory" / "memory.json").read_text())["runs"]
    assert len(runs) == len(trainer.calls)
    assert {run["accuracy"] for run in runs if run["is_clipped"]} == {0.3333}
    assert {path.name for path in (tmp_path / "memory").iterdir()} == {"memory.json", "receipt.json", *PICTURES}


def test_the_corpus_is_the_clips_without_copies_normalised(
    settings: Settings, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(monkeypatch)
    monkeypatch.setattr(memory, "draw", lambda folder: None)
    memory.run(settings, features, tmp_path / "memory")
    task = next(task for task in trainer.tasks if task.inputs == INPUTS)
    clips, labels = shards.read(features / "training").originals()
    drawn, words = task.draw(np.random.default_rng(0), 100)
    rows = [np.flatnonzero(np.isclose((clips - 5) / 2, clip, atol=1e-5).all(axis=(1, 2))) for clip in drawn]
    assert {int(row) for (row,) in rows} == set(range(5))
    assert [labels[int(row), 0] for (row,) in rows] == words.tolist()
    held_out = shards.read(features / "validation").originals()[0]
    np.testing.assert_allclose(task.held_out[0], (held_out - 5) / 2, atol=1e-5)


def test_an_interrupted_experiment_goes_on_and_comes_to_the_same(
    settings: Settings, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "draw", lambda folder: None)
    Trainer(monkeypatch)
    memory.run(settings, features, tmp_path / "whole")
    first = Trainer(monkeypatch, killed_after=5)
    with pytest.raises(Killed):
        memory.run(settings, features, tmp_path / "memory")
    assert not (tmp_path / "memory").exists()

    second = Trainer(monkeypatch)
    memory.run(settings, features, tmp_path / "memory")
    whole, resumed = (json.loads((tmp_path / name / "memory.json").read_text()) for name in ("whole", "memory"))
    assert resumed == whole
    assert len(second.calls) < len(whole["runs"])
    assert not set(first.calls[:3]) & set(second.calls)


def test_the_pictures_are_made_of_the_numbers_and_nothing_else(
    settings: Settings, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Trainer(monkeypatch)
    memory.run(settings, features, tmp_path / "memory")
    again = tmp_path / "again"
    again.mkdir()
    shutil.copy(tmp_path / "memory" / "memory.json", again)
    memory.draw(again)
    for name in PICTURES:
        assert (again / name).read_bytes() == (tmp_path / "memory" / name).read_bytes()

    figures = json.loads((again / "memory.json").read_text())
    for run in figures["runs"]:
        run["accuracy"], run["gradient_norms"] = 0.9, [3.0] * 5
        run["reach_after"] = [value / 10 for value in run["reach_after"]]
    (again / "memory.json").write_text(json.dumps(figures))
    memory.draw(again)
    for name in PICTURES:
        assert (again / name).read_bytes() != (tmp_path / "memory" / name).read_bytes()


def test_nothing_felt_and_no_update_made_can_be_drawn(
    settings: Settings, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when weights grew so large that nothing comes back, or a first gradient was not finite."""
    Trainer(monkeypatch)
    memory.run(settings, features, tmp_path / "memory")
    path = tmp_path / "memory" / "memory.json"
    figures = json.loads(path.read_text())
    for run in figures["runs"]:
        run["reach_after"] = [1.0] + [0.0] * (len(run["reach_after"]) - 1)
        run["gradient_norms"] = []
    path.write_text(json.dumps(figures))
    memory.draw(path.parent)


def test_the_table_has_the_means_over_the_seeds() -> None:
    def run(kind: str, gap_steps: int | None, is_clipped: bool, seed: int) -> dict:
        accuracy = 0.5 + 0.1 * seed if is_clipped else 0.25
        return {"kind": kind, "gap_steps": gap_steps, "is_clipped": is_clipped, "seed": seed, "accuracy": accuracy,
                "parameters": 12_345, "reach_before": [1.0, 0.5, 0.01 * 3**seed], "reach_after": [1, 1, 1]}  # fmt: skip

    runs = [run(k, gap, c, seed) for k in KINDS for gap in (None, 2) for c in (True, False) for seed in (0, 1, 2)]
    view = memory.table({"runs": runs, "corpus": {}, "cues": 8})
    columns = {column.header: list(column.cells) for column in view.columns}
    assert columns["gap 2"] == ["60% (25%)"] * len(KINDS)
    assert columns["error felt 2 steps before"] == ["3e-02 → 1e+00"] * len(KINDS)
    assert columns["parameters"] == ["12,345"] * len(KINDS)
