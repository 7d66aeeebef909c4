"""Features to model: train with early stopping, keep the best weights, resume after an interruption."""

from __future__ import annotations

import csv
import json
import logging
import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline import receipt
from pipeline.config import Settings, Train
from pipeline.corpora import manifest, shards
from pipeline.network import batches, model
from pipeline.network.engine import tf, tf_keras

MODEL = "model.keras"
HISTORY = "history.csv"

log = logging.getLogger(__name__)


def run(settings: Settings, features: Path, out: Path) -> str:
    """Train the classifier on the training shards; validation alone decides when to stop and what to keep."""
    inputs = receipt.require(settings, features=features)
    strategy = strategy_for(tf.config.list_logical_devices("GPU"))
    with receipt.making(out, "train", settings, inputs) as work:
        tf_keras.utils.set_random_seed(settings.train.seed)
        if settings.train.mixed_precision:
            tf_keras.mixed_precision.set_global_policy("mixed_float16")
        history = _fit(settings, features, work, strategy)
        shutil.copy(features / manifest.LABELS, work)
    best = history[_best(history)]
    return f"best of {len(history)} epochs: {_best(history) + 1}, validation accuracy {best['val_accuracy']:.2%}"


def strategy_for(devices: Sequence[tf.config.LogicalDevice]) -> tf.distribute.Strategy:
    """Mirrored over several GPUs, plain for one or for the processor."""
    log.info("training on %s", ", ".join(device.name for device in devices) or "the processor (no GPU found)")
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def _fit(settings: Settings, features: Path, work: Path, strategy: tf.distribute.Strategy) -> list[dict[str, float]]:
    normaliser = {
        key: np.array(values) for key, values in json.loads((features / "normaliser.json").read_text()).items()
    }
    training = shards.read(features / manifest.TRAINING)
    held_out, held_out_index = shards.read(features / manifest.VALIDATION).originals()
    classes = len(manifest.read_labels(features))
    steps = math.ceil(len(training.index) / settings.train.batch_clips)
    with strategy.scope():
        network = model.build(
            settings.model, frames=held_out.shape[1], n_mfcc=held_out.shape[2], labels=classes, **normaliser
        )
        network.compile(_optimizer(settings.train, steps), _loss(settings.train), ["accuracy"], jit_compile=False)
    keeper = Keeper(work, network, settings.train.patience_epochs)
    first_epoch = keeper.restore()
    if not keeper.is_over():
        examples = batches.training(
            training.mfcc, training.index[:, shards.LABEL], normaliser["mean"],
            classes=classes, settings=settings.train, first_epoch=first_epoch,
        )  # fmt: skip
        network.fit(
            examples,
            validation_data=batches.validation(
                held_out, held_out_index[:, shards.LABEL], classes=classes, batch_clips=settings.train.batch_clips
            ),
            initial_epoch=first_epoch,
            epochs=settings.train.epochs,
            callbacks=[keeper, tf_keras.callbacks.TensorBoard(work / "tensorboard", profile_batch=0)],
            verbose=1 if sys.stdout.isatty() else 2,
        )
    return keeper.finish()


def _optimizer(settings: Train, steps: int) -> tf_keras.optimizers.Optimizer:
    """AdamW (Loshchilov & Hutter 2019) under a cosine that warms up for one epoch."""
    rate = tf_keras.optimizers.schedules.CosineDecay(
        settings.learning_rate / 10,
        decay_steps=steps * max(settings.epochs - 1, 1),
        alpha=0.1,
        warmup_target=settings.learning_rate,
        warmup_steps=steps,
    )
    return tf_keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, global_clipnorm=1.0)


def _loss(settings: Train) -> tf_keras.losses.Loss:
    return tf_keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)


def _best(history: Sequence[dict[str, float]]) -> int:
    return min(range(len(history)), key=lambda epoch: history[epoch]["val_loss"])


class Keeper(tf_keras.callbacks.Callback):
    """Keeps what a resumed run needs: the state after each epoch, the best weights, and the history, written last.

    A kill between two of these leaves a state newer than the history; `restore` goes by the history.
    """

    def __init__(self, folder: Path, network: tf_keras.Model, patience_epochs: int) -> None:
        super().__init__()
        self.folder, self.network, self.patience_epochs = folder, network, patience_epochs
        self.history: list[dict[str, float]] = []
        checkpoint = tf.train.Checkpoint(model=network, optimizer=network.optimizer)
        self.states = tf.train.CheckpointManager(
            checkpoint, str(folder / "states"), max_to_keep=2, checkpoint_name="epoch"
        )

    def restore(self) -> int:
        """Take up an interrupted run; returns the number of epochs that were finished."""
        path = self.folder / HISTORY
        if path.exists():
            with path.open(newline="") as file:
                self.history = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
            self.states.checkpoint.restore(str(self.folder / "states" / f"epoch-{len(self.history)}"))
            log.info("resuming after epoch %d", len(self.history))
        return len(self.history)

    def is_over(self) -> bool:
        return bool(self.history) and len(self.history) - 1 - _best(self.history) >= self.patience_epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.states.save(checkpoint_number=epoch + 1)
        self.history.append({name: float(value) for name, value in (logs or {}).items()})
        if _best(self.history) == epoch:
            self.network.save_weights(self.folder / "best.weights.h5")
        with (self.folder / HISTORY).open("a", newline="") as file:
            writer = csv.DictWriter(file, self.history[0], lineterminator="\n")
            if epoch == 0:
                writer.writeheader()
            writer.writerow(self.history[-1])
        self.network.stop_training = self.is_over()

    def finish(self) -> list[dict[str, float]]:
        """Write the model with its best weights and drop what only a resumed run needs."""
        self.network.load_weights(self.folder / "best.weights.h5")
        self.network.save(self.folder / MODEL)
        (self.folder / "best.weights.h5").unlink()
        shutil.rmtree(self.folder / "states")
        return self.history
