"""The training stage: resumed, on several devices and by several workers, in mixed precision."""

from __future__ import annotations

import csv
import dataclasses
import json
import socket
import subprocess
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import CLEAN, ROOT, TINY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.config import Settings, load
from pipeline.corpora import shards
from pipeline.errors import SettingsError
from pipeline.network import distribute, history, model, normalise
from pipeline.network.distribute import Together, Worker
from pipeline.network.engine import tf
from pipeline.receipt import work_of
from pipeline.stages import quantize, train

PYTHON = str(ROOT / ".venv" / "bin" / "python")


@pytest.fixture
def settings() -> Settings:
    return load(TINY, train={"epochs": 3})


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def events(folder: Path, run: str) -> EventAccumulator:
    """What TensorBoard would show of a run, every step of it."""
    return EventAccumulator(str(folder / "tensorboard" / run), {"tensors": 0}).Reload()


class Killed(BaseException):
    """Ends the process as far as the stage can see."""


def test_an_interrupted_training_goes_on_after_the_last_whole_epoch(
    settings: Settings, tiny_build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_epoch = train.Keeper.on_epoch_end

    def killed_in_the_second(self: train.Keeper, epoch: int, logs: dict | None = None) -> None:
        if epoch == 1:
            self.state.write(str(self._path(1)))  # the state is kept, the history not yet
            raise Killed
        whole_epoch(self, epoch, logs)

    monkeypatch.setattr(train.Keeper, "on_epoch_end", killed_in_the_second)
    with pytest.raises(Killed):
        train.run(settings, tiny_build / "features", tmp_path / "train")
    first = rows(tmp_path / "train.part")
    assert len(first) == 1
    monkeypatch.undo()

    steps = []
    monkeypatch.setattr(train.Keeper, "on_train_end", lambda self, logs=None: steps.append(int(self.network.optimizer.iterations)))  # fmt: skip  # noqa: E501
    train.run(settings, tiny_build / "features", tmp_path / "train")
    history = rows(tmp_path / "train")
    assert history[0] == first[0]
    assert len(history) == settings.train.epochs
    examples = len(shards.read(tiny_build / "features" / "training").index)
    assert steps == [settings.train.epochs * -(-examples // settings.train.batch_clips)]
    for run, tag in (("confusion", "confusion"), ("train", "conv_1/kernel_0/histogram")):
        shown = events(tmp_path / "train", run).Tensors(tag)
        assert [event.step for event in shown] == list(range(settings.train.epochs))
    assert {path.name for path in (tmp_path / "train").iterdir()} == {
        "history.csv", "labels.txt", "model.keras", "receipt.json", "tensorboard",
    }  # fmt: skip


def test_killed_after_the_model_was_saved_it_only_finishes(
    settings: Settings, tiny_build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr(train.shutil, "copy", killed)
    with pytest.raises(Killed):
        train.run(settings, tiny_build / "features", tmp_path / "train")
    saved = (tmp_path / "train.part" / "model.keras").read_bytes()
    monkeypatch.undo()
    train.run(settings, tiny_build / "features", tmp_path / "train")
    assert (tmp_path / "train" / "model.keras").read_bytes() == saved


def test_killed_after_the_last_epoch_it_trains_no_more(
    settings: Settings, tiny_build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(train.Keeper, "restore", killed)
    with pytest.raises(Killed):
        train.run(settings, tiny_build / "features", tmp_path / "train")
    history = rows(tmp_path / "train.part")
    monkeypatch.undo()
    train.run(settings, tiny_build / "features", tmp_path / "train")
    assert rows(tmp_path / "train") == history
    assert len(history) == settings.train.epochs


def test_the_best_epoch_is_kept_and_patience_ends_the_training(
    settings: Settings, tiny_build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a rate at which it can only get worse, the first epochs are the best."""
    monkeypatch.setattr(train.normalise, "settle", lambda *_: None)  # or the loss is another one than while it trained
    wild = dataclasses.replace(settings.train, learning_rate=3.0, epochs=30, patience_epochs=2)
    settings = dataclasses.replace(settings, train=wild)
    # The receipt of the features knows nothing of the training settings.
    message = train.run(settings, tiny_build / "features", tmp_path / "train")
    losses = [float(row["val_loss"]) for row in rows(tmp_path / "train")]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 < 30
    assert f"loss: {best + 1}," in message
    clips, index = shards.read(tiny_build / "features" / "validation").originals()
    network = model.load(tmp_path / "train" / "model.keras")
    network.compile(loss=train._loss(wild))
    loss = network.evaluate(clips, np.eye(4)[index[:, shards.LABEL]], verbose=0)
    assert loss == pytest.approx(losses[best], rel=1e-4)


@pytest.mark.parametrize(
    ("kind", "takes", "is_settled"), [("synthetic", "", 1), ("folder", "", 0), ("synthetic", "my", 0)]
)
def test_statistics_are_settled_where_only_synthetic_voices_were_heard(
    kind: str,
    takes: str,
    is_settled: int,
    settings: Settings,
    tiny_build: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """People are heard as they are, and recognised no better for it; after pruning as after training."""
    settled: list[int] = []
    monkeypatch.setattr(normalise, "settle", lambda *_: settled.append(1))
    for name in ("prune", "share_weights"):
        monkeypatch.setattr(quantize.compress, name, lambda network, *_, **__: network)
    corpus = dataclasses.replace(settings.corpus, kind=kind)
    personal = dataclasses.replace(settings.personalise, source=takes, bundle=takes)
    of_kind = dataclasses.replace(settings, corpus=corpus, personalise=personal)
    features = tiny_build / "features"
    network = partial(train._build, partial(model.build, of_kind.model), of_kind, features)
    train._keep(train._train(network, train.adamw, of_kind, features, tmp_path), of_kind, features, tmp_path)
    assert len(settled) == is_settled
    quantize._compress(network(), shards.read(features / "training"), features, of_kind)
    assert len(settled) == 2 * is_settled


@pytest.mark.slow
def test_two_devices_share_each_batch(tiny_build: Path, tmp_path: Path) -> None:
    """Two logical processors stand in for two GPUs."""
    script = tmp_path / "two.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from pipeline.network.engine import tf\n"
        "from pipeline import config\n"
        "from pipeline.network import distribute\n"
        "from pipeline.stages import train\n"
        "processor = tf.config.list_physical_devices('CPU')[0]\n"
        "tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)\n"
        "two = tf.config.list_logical_devices('CPU')\n"
        "tf.config.list_logical_devices = lambda kind: two\n"
        "print(distribute.together().strategy.num_replicas_in_sync, 'replicas')\n"
        "print(train.run(config.load(Path(sys.argv[1]), train={'epochs': 3}), Path(sys.argv[2]), Path(sys.argv[3])))\n"
    )
    command = [PYTHON, str(script), str(TINY), str(tiny_build / "features"), str(tmp_path / "train")]
    result = subprocess.run(command, cwd=ROOT, env=CLEAN, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "2 replicas" in result.stdout
    assert len(rows(tmp_path / "train")) == 3
    clips, _ = shards.read(tiny_build / "features" / "testing").originals()
    scores = model.load(tmp_path / "train" / "model.keras").predict(clips, verbose=0)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)


def test_a_model_trained_in_mixed_precision_is_saved_in_float32(
    settings: Settings, tiny_build: Path, tmp_path: Path
) -> None:
    settings = dataclasses.replace(settings, train=dataclasses.replace(settings.train, mixed_precision=True, epochs=1))
    train.run(settings, tiny_build / "features", tmp_path / "train")
    network = model.load(tmp_path / "train" / "model.keras")
    assert {layer.dtype_policy.name for layer in network.layers} == {"float32"}
    assert {weight.dtype for weight in network.weights} == {tf.float32}


def test_the_history_is_part_of_what_was_made_and_tensorboard_has_its_events(tiny_build: Path) -> None:
    receipt = json.loads((tiny_build / "train" / "receipt.json").read_text())
    assert "history.csv" in receipt["files"]
    history = rows(tiny_build / "train")
    pictures = events(tiny_build / "train", "confusion").Tensors("confusion")
    assert [picture.step for picture in pictures] == list(range(len(history)))
    assert all(picture.tensor_proto.string_val[2].startswith(b"\x89PNG") for picture in pictures)
    assert {"epoch_loss", "epoch_accuracy", "conv_1/kernel_0/histogram"} <= {
        *events(tiny_build / "train", "train").Tags()["tensors"]
    }


def start_workers(features: Path, out: Path) -> list[subprocess.Popen[str]]:
    """Two workers on this machine that train one network together."""
    with socket.socket() as one, socket.socket() as two:
        for free in (one, two):
            free.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{free.getsockname()[1]}" for free in (one, two)]
    command = [PYTHON, "-m", "pipeline", "train", str(features), str(out), "--params", str(TINY)]
    started = []
    for number in range(2):
        place = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": number}}
        environment = {**CLEAN, "TF_CONFIG": json.dumps(place)}
        started.append(
            subprocess.Popen(
                command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        )
    return started


@pytest.mark.slow
def test_two_workers_go_on_after_one_was_killed(tiny_build: Path, tmp_path: Path) -> None:
    out = tmp_path / "train"
    chief, other = start_workers(tiny_build / "features", out)
    while len(history.read(work_of(out))) < 2:
        assert chief.poll() is None, chief.communicate()[0]
        assert other.poll() is None, other.communicate()[0]
        time.sleep(0.1)
    other.kill()
    said, _ = chief.communicate(timeout=300)
    assert chief.returncode == 1
    assert "start all of them again, and it goes on" in said
    assert not out.exists()
    before = history.read(work_of(out))
    other.communicate()

    chief, other = start_workers(tiny_build / "features", out)
    said, _ = chief.communicate(timeout=600)
    assert chief.returncode == 0, said
    assert f"going on after epoch {len(before)}" in said
    said, _ = other.communicate(timeout=60)
    assert other.returncode == 0, said
    assert "worker 2 of 2 is done; the first one keeps what was learnt" in said
    epochs = history.read(out)
    assert epochs[: len(before)] == before
    assert len(epochs) == load(TINY).train.epochs
    assert history.best_epoch(epochs) >= len(before)  # it went on to learn
    clips, _ = shards.read(tiny_build / "features" / "testing").originals()
    scores = model.load(out / "model.keras").predict(clips, verbose=0)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", '{"cluster": {"worker": ["a:1"]}}', '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker"}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)  # fmt: skip
def test_what_says_nothing_of_workers_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(SettingsError, match=r"^TF_CONFIG: .*see docs/performance\.md"):
        distribute.this_worker()


def test_each_worker_has_steps_enough_and_files_of_its_own() -> None:
    """Files of 100, 20 and 70 windows: the second worker has 20, so an epoch has as many steps as these give.

    Two processors of one worker: a batch that may be too small for both is left out.
    """
    two = Together(Worker(0, 2), SimpleNamespace(num_replicas_in_sync=2))
    assert two.steps([100, 20, 70], batch_clips=8) == 5
    assert Together(Worker(), SimpleNamespace(num_replicas_in_sync=1)).steps([100, 20, 70], batch_clips=8) == 24
    assert Together(Worker(), SimpleNamespace(num_replicas_in_sync=2)).steps([100, 20, 70], batch_clips=8) == 23
    with pytest.raises(SettingsError, match="100 windows in 1 shards are too few for 2 processors; make features"):
        two.steps([100], batch_clips=8)
    with pytest.raises(SettingsError, match="9 / 2 is not a whole number"):
        two.steps([100, 20], batch_clips=9)
