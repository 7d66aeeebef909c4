"""Features to model: train with early stopping, keep the best weights, resume after an interruption."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import sklearn.metrics
from numpy.typing import NDArray

from pipeline import receipt
from pipeline.config import Settings, Train
from pipeline.corpora import manifest, shards
from pipeline.errors import PipelineError
from pipeline.network import batches, distribute, history, model, normalise
from pipeline.network.distribute import Together
from pipeline.network.engine import tf, tf_keras
from pipeline.pages import plots

MODEL = "model.keras"
UNFINISHED = "unfinished"  # what only a resumed run needs
TENSORBOARD = "tensorboard"

Architecture = Callable[..., tf_keras.Model]  # takes what model.build takes after its settings
Optimizer = Callable[[Train, int], tf_keras.optimizers.Optimizer]  # of the settings and the steps of an epoch

log = logging.getLogger(__name__)


def adamw(settings: Train, steps: int) -> tf_keras.optimizers.Optimizer:
    """AdamW (Loshchilov & Hutter 2019) under a cosine that warms up for one epoch."""
    rate = tf_keras.optimizers.schedules.CosineDecay(
        settings.learning_rate / 10,
        decay_steps=steps * max(settings.epochs - 1, 1),
        alpha=0.02,
        warmup_target=settings.learning_rate,
        warmup_steps=steps,
    )
    return tf_keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, global_clipnorm=1.0)


def run(settings: Settings, features: Path, out: Path) -> str:
    """Train the classifier on the training shards; validation alone decides when to stop and what to keep."""
    return train_network(settings, features, out, partial(model.build, settings.model), adamw)


def train_network(
    settings: Settings, features: Path, out: Path, architecture: Architecture, optimizer: Optimizer
) -> str:
    """Train any network that takes MFCC and gives scores, as `run` trains ours; an interrupted training goes on.

    Of several workers (`distribute.this_worker`) the chief leaves `out`, which the others must see.
    """
    inputs = receipt.require(settings, features=features)
    build, worker = partial(_build, architecture, settings, features), distribute.this_worker()
    if not worker.is_chief:
        with TemporaryDirectory() as work:
            _train(build, optimizer, settings, features, Path(work), receipt.work_of(out))
        return f"worker {worker.number + 1} of {worker.count} is done; the first one keeps what was learnt"
    with receipt.making(out, "train", settings, inputs) as work:
        if not (work / MODEL).exists():
            _keep(_train(build, optimizer, settings, features, work), settings, features, work)
        shutil.rmtree(work / UNFINISHED, ignore_errors=True)
        shutil.copy(features / manifest.LABELS, work)
        epochs = history.read(work)
    best = history.best_epoch(epochs)
    accuracy = epochs[best]["val_accuracy"]
    before = " before batch normalisation was settled" if settings.hears_no_people else ""
    return f"best of {len(epochs)} epochs by validation loss: {best + 1}, validation accuracy {accuracy:.2%}{before}"


def _train(
    build: Callable[[], tf_keras.Model],
    optimizer: Optimizer,
    settings: Settings,
    features: Path,
    work: Path,
    chief: Path | None = None,
) -> tf_keras.Model:
    """Train, going on from what is in `work`; a worker that isn't the chief goes on from the chief's folder."""
    together = distribute.together()
    if chief and (chief / history.FILE).exists():
        shutil.copy(chief / history.FILE, work)
        shutil.copytree(chief / UNFINISHED, work / UNFINISHED)
    tf_keras.utils.set_random_seed(settings.train.seed)
    if settings.train.mixed_precision:
        tf_keras.mixed_precision.set_global_policy("mixed_float16")
    steps = together.steps(shards.rows(features / manifest.TRAINING), settings.train.batch_clips)
    with together.strategy.scope():
        network = build()
        network.compile(
            optimizer(settings.train, steps),
            _loss(settings.train),
            ["accuracy"],
            jit_compile=False,
        )
    keeper = Keeper(work, network, settings.train.patience_epochs)
    try:
        if keeper.epochs:
            log.info("going on after epoch %d", len(keeper.epochs))
            keeper.restore(len(keeper.epochs) - 1)
        if len(keeper.epochs) < settings.train.epochs and not keeper.is_over():
            _fit(keeper, settings, features, together, steps)
        keeper.restore(history.best_epoch(keeper.epochs))
    except tf.errors.OpError as error:
        if together.worker.count > 1:
            what = f"this worker or another one failed ({type(error).__name__})"
            raise PipelineError(f"training stopped: {what}; start all of them again, and it goes on") from error
        reason = error.message.splitlines()[0].rpartition("}} ")[2]  # without the name of TensorFlow's inner function
        raise PipelineError(f"training stopped: {reason}; mend that and run: make train") from error
    tf_keras.mixed_precision.set_global_policy("float32")  # its weights are float32 all along, and so are the files
    trained = build()
    trained.set_weights(network.get_weights())
    return trained


def _keep(trained: tf_keras.Model, settings: Settings, features: Path, work: Path) -> None:
    """Save the network, its batch normalisation settled where it has heard synthetic voices alone."""
    if settings.hears_no_people:
        training = shards.read(features / manifest.TRAINING)
        rows = training.unspliced(settings.augment.copies)
        normalise.settle(trained, training.mfcc, rows, settings.train.seed)
    trained.save(work / UNFINISHED / MODEL)
    (work / UNFINISHED / MODEL).rename(work / MODEL)


def _build(architecture: Architecture, settings: Settings, features: Path) -> tf_keras.Model:
    frames, n_mfcc = settings.features.frames(settings.audio), settings.features.n_mfcc
    labels = len(manifest.read_labels(features))
    mean, std = shards.read_normaliser(features)
    return architecture(frames=frames, n_mfcc=n_mfcc, labels=labels, mean=mean, std=std)


def _fit(keeper: Keeper, settings: Settings, features: Path, together: Together, steps: int) -> None:
    network, logs = keeper.network, keeper.folder / TENSORBOARD
    training = shards.read(features / manifest.TRAINING, together.worker.number, together.worker.count)
    held_out, index = shards.read(features / manifest.VALIDATION).originals()
    classes, began, waited_s = network.output_shape[-1], len(keeper.epochs), tf.Variable(0.0, dtype=tf.float64)

    def epoch(batch_clips: int) -> tf.data.Dataset:
        examples = batches.training(
            training.mfcc,
            training.index[:, shards.LABEL],
            shards.read_normaliser(features)[0],
            classes=classes,
            settings=dataclasses.replace(settings.train, batch_clips=batch_clips),
            features=settings.features,
            first_epoch=began,
        )
        return batches.timed(examples, waited_s)

    network.fit(
        together.batches(steps, settings.train.batch_clips, epoch),
        validation_data=batches.validation(
            held_out, index[:, shards.LABEL], classes=classes, batch_clips=settings.train.batch_clips
        ),
        initial_epoch=began,
        epochs=settings.train.epochs,
        steps_per_epoch=steps,
        callbacks=[
            keeper,
            tf_keras.callbacks.TensorBoard(logs, histogram_freq=1, profile_batch=0),
            Confusion(logs, held_out, index[:, shards.LABEL], manifest.read_labels(features)),
        ],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    took_s = sum(epoch["seconds"] for epoch in keeper.epochs[began:])
    log.info("waiting for data: %.1f %% of the time", 100 * float(waited_s) / took_s)


def _loss(settings: Train) -> tf_keras.losses.Loss:
    return tf_keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)


class Confusion(tf_keras.callbacks.Callback):
    """Shows TensorBoard after each epoch what the validation clips are taken for."""

    def __init__(self, folder: Path, mfcc: NDArray[np.float32], truth: NDArray[np.int32], labels: list[str]) -> None:
        super().__init__()
        self.mfcc, self.truth, self.labels = mfcc, truth, labels
        # Not beside Keras' own: TensorBoard without its data server leaves a file for good once it sees the next.
        self.writer = tf.summary.create_file_writer(str(folder / "confusion"))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        found = self.model.predict(self.mfcc, batch_size=256, verbose=0).argmax(axis=1)
        numbers = range(len(self.labels))
        counts = sklearn.metrics.confusion_matrix(self.truth, found, labels=list(numbers))
        picture = tf.io.decode_png(plots.confusion(counts, self.labels))
        with self.writer.as_default():
            tf.summary.image("confusion", picture[tf.newaxis], step=epoch)


class Keeper(tf_keras.callbacks.Callback):
    """Keeps what a resumed run needs: the state after the last and the best epoch, and the history, written last.

    An epoch counts as finished when it is in the history, and its state is whole by then.
    """

    def __init__(self, folder: Path, network: tf_keras.Model, patience_epochs: int) -> None:
        super().__init__()
        self.folder, self.network, self.patience_epochs = folder, network, patience_epochs
        self.epochs = history.read(folder)
        self.state = tf.train.Checkpoint(model=network, optimizer=network.optimizer)

    def restore(self, epoch: int) -> None:
        self.state.read(str(self._path(epoch)))

    def is_over(self) -> bool:
        return bool(self.epochs) and len(self.epochs) - 1 - history.best_epoch(self.epochs) >= self.patience_epochs

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.began_s = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        figures = {**(logs or {}), "seconds": time.perf_counter() - self.began_s}
        self.state.write(str(self._path(epoch)))
        self.epochs.append({name: float(value) for name, value in figures.items()})
        history.append(self.folder, self.epochs[-1])
        kept = {self._path(epoch).name, self._path(history.best_epoch(self.epochs)).name}
        for path in (self.folder / UNFINISHED).iterdir():
            if path.stem not in kept:
                path.unlink()
        self.network.stop_training = self.is_over()

    def _path(self, epoch: int) -> Path:
        return self.folder / UNFINISHED / f"epoch-{epoch + 1}"
