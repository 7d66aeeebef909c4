"""Another beginning of the line, for a build that goes on from a finished one with a speaker's own takes.

`corpus`, `features` and `train` leave what the stages of these names leave, so that all stages after them are the same.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import receipt
from pipeline.config import BACKGROUND_NOISE, Settings
from pipeline.corpora import folder, manifest, personal, shards, windows
from pipeline.corpora.manifest import LEFT_OUT, TRAINING, VALIDATION, Clip, Found
from pipeline.corpora.shards import Shards
from pipeline.corpora.windows import Shard
from pipeline.errors import StaleInput
from pipeline.network import batches, history, model, tuning
from pipeline.network.engine import tf_keras
from pipeline.receipt import Receipt

MODEL = "model.keras"

log = logging.getLogger(__name__)


def corpus(settings: Settings, out: Path) -> str:
    """The corpus that the bundle was made of, and the takes: one of each word is left out, the others are learnt."""
    bundle = Path(settings.personalise.bundle)
    before = bundle.parent / "corpus"
    of_corpus, *_, of_bundle = _of_base(settings, "corpus", "features", "train", "evaluate", "bundle")
    with receipt.making(out, "corpus", settings, [of_corpus, of_bundle]) as work:
        labels, known = manifest.read_labels(before), _clips_of(before)
        keywords = tuple(labels[2:])
        takes, rejected = personal.takes(settings, keywords, known, work)
        manifest.write(work, [*known, *takes], labels)
        manifest.write_rejected(work, rejected)
        learnt, left_out = (sum(clip.split == split for clip in takes) for split in (TRAINING, LEFT_OUT))
        about = manifest.read_about(before)
        about["licence"] += f"; {folder.LICENCE}"
        about["warnings"].append(f"personalised: {learnt} recordings more are learnt, which weigh more than the others")
        manifest.write_about(work, Found(keywords, [], **about))
    lost = f"; {len(rejected)} rejected, see {out / manifest.REJECTED}" if rejected else ""
    return f"{learnt} recordings to learn from, {left_out} takes left out to measure on{lost}"


def features(settings: Settings, corpus: Path, out: Path) -> str:
    """The features that are there, and those of the takes: the last shard of their split.

    The normaliser stays, since it is a part of the network.
    """
    before = Path(settings.personalise.bundle).parent
    of_corpus, of_features = _of_base(settings, "corpus", "features")
    (own,) = receipt.require(settings, corpus=corpus)
    if own.inputs.get("corpus") != of_corpus.digest:
        raise StaleInput(f"stale: {corpus} was made from another {before / 'corpus'}; run: make corpus")
    with receipt.making(out, "features", settings, [own, of_features]) as work:
        clips = manifest.read(corpus)
        numbers = _numbers(_clips_of(before / "corpus"), clips)
        there = {
            folder.name: shards.link(folder, work / folder.name, numbers)
            for folder in sorted((before / "features").iterdir())
            if folder.is_dir()
        }
        own_changes = dataclasses.replace(settings.augment, copies=settings.personalise.copies)
        noise = tuple(manifest.recordings(clips, TRAINING, BACKGROUND_NOISE))
        known = set(numbers.tolist())
        takes = [n for n in range(len(clips)) if n not in known and clips[n].label != BACKGROUND_NOISE]
        for split in (TRAINING, LEFT_OUT):
            of_split = {n: clips[n] for n in takes if clips[n].split == split}
            shard = Shard(corpus, split, there.get(split, 0), of_split, {}, noise)
            windows.make(shard, work, dataclasses.replace(settings, augment=own_changes))
        shards.forget_unfinished(work)
        for name in (shards.NORMALISER, manifest.LABELS):
            shutil.copy(before / "features" / name, work)
        count = len(shards.read(work / TRAINING).mfcc[-1])
    return f"{count:,} windows of the takes besides those of {before / 'features'}"


def train(settings: Settings, features: Path, out: Path) -> str:
    """Train the network of the bundle on, on the takes and on what it was trained on before."""
    inputs = [*receipt.require(settings, features=features), *_of_base(settings, "train")]
    with receipt.making(out, "train", settings, inputs) as work:
        start = Path(settings.personalise.bundle).parent / "train" / MODEL
        training, held_out = (shards.read(features / split) for split in (TRAINING, VALIDATION))
        mean, _ = shards.read_normaliser(features)
        network, figures = fine_tune(settings, start, training, mean, held_out)
        manifest.write_rows(work / history.FILE, list(figures), zip(*figures.values(), strict=True))
        shutil.copy(features / manifest.LABELS, work)
        network.save(work / MODEL)
    return f"{settings.personalise.epochs} epochs, validation accuracy {figures['val_accuracy'][-1]:.2%}"


def fine_tune(
    settings: Settings, start: Path, training: Shards, mean: NDArray, held_out: Shards | None = None
) -> tuple[tf_keras.Model, dict[str, list[float]]]:
    """Train a network on with takes, mixed with what it was trained on, so that other voices aren't forgotten.

    Every window of the takes is in each epoch, beside others that are drawn anew (rehearsal, Robins 1995). How many
    epochs there are is set: no clip chooses one, since the takes are too few to spare some for that. Batch
    normalisation keeps its means, which a batch of which a quarter is one voice would shift for all others.

    Parameters
    ----------
    start
        The network, a file.
    training
        Windows that it was trained on; those of the takes are the last shard.
    mean
        `(n_mfcc,)`, as for `batches.training`.
    held_out
        Clips to watch the training by; they decide nothing.

    Returns
    -------
    network, figures
        The network after the last epoch; loss and accuracy after each.
    """
    personalise = settings.personalise
    after = dataclasses.replace(
        settings.train, epochs=personalise.epochs, learning_rate=personalise.learning_rate, seed=personalise.seed
    )
    tf_keras.utils.set_random_seed(personalise.seed)
    network = model.load(start)
    for layer in network.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.trainable = False
    rows, takes = len(training.index), len(training.mfcc[-1])
    classes = network.output_shape[-1]
    examples = batches.training(
        training.mfcc,
        training.index[:, shards.LABEL],
        mean,
        classes=classes,
        settings=after,
        features=settings.features,
        every=np.arange(rows - takes, rows),
        others=round(takes * (100 / personalise.takes_percent - 1)),
    )
    validation = None
    if held_out:
        mfcc, index = held_out.originals()
        validation = batches.validation(mfcc, index[:, shards.LABEL], classes=classes, batch_clips=after.batch_clips)
    figures = tuning.train_on(network, examples, after, validation=validation)
    trained = model.load(start)  # in which nothing is marked as not to be trained
    trained.set_weights(network.get_weights())
    return trained, figures


def _of_base(settings: Settings, *stages: str) -> list[Receipt]:
    """Receipts of the build that the bundle lies in."""
    bundle = Path(settings.personalise.bundle)
    folders = {stage: bundle.parent / stage for stage in stages}
    try:
        return receipt.require(settings, **folders | ({"bundle": bundle} if "bundle" in stages else {}))
    except StaleInput as error:
        raise personal.of_build(bundle, error) from None


def _clips_of(corpus: Path) -> list[Clip]:
    """Clips of another corpus, each with a path that says where it lies."""
    return [dataclasses.replace(clip, path=str((corpus / clip.path).absolute())) for clip in manifest.read(corpus)]


def _numbers(before: list[Clip], now: list[Clip]) -> NDArray[np.int32]:
    """For each clip of one manifest its number in the other."""
    numbered = {clip: number for number, clip in enumerate(now)}
    return np.array([numbered[clip] for clip in before], np.int32)
