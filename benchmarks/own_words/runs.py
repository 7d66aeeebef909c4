"""One run: our network trained on what synthetic voices say, as `make WORDS=…` does, and tested on people.

Keywords and people are those of a build of recordings. Its validation split chooses among changes; its testing split is
opened for the recipe as it is, which is also trained on with a few takes of each word by people of the training split.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import changes, trainings
from benchmarks.changes import AS_IT_IS, Run
from benchmarks.machine import cores, cpu
from benchmarks.trainings import Build
from pipeline import config
from pipeline.config import SILENCE, UNKNOWN, Settings
from pipeline.corpora import manifest
from pipeline.corpora.noise import seeded
from pipeline.network import history, model
from pipeline.network.engine import tf_keras
from pipeline.stages import corpus as corpus_stage
from pipeline.stages import evaluate, train
from pipeline.stages.evaluate import Examples

CHANGES = Path(__file__).with_name("changes")
NAMES = changes.names(CHANGES)
SECTIONS = ("corpus", "augment", "model", "train")  # that a change may touch
TAKES = (3, 10, 30)  # of each word, by other people than those of the testing split
OTHERS_PERCENT = 20  # takes of other words, to a hundred of the words: what scripts/record.py asks for
WORK = "own_words"  # the folder in BUILD for what is between the runs
FORMAT = 3  # raise it when what is measured changes
_OF_CORPUS = ("audio", "corpus")
_OF_FEATURES = (*_OF_CORPUS, "features", "augment")

log = logging.getLogger("pipeline.own_words")


def as_it_is(build: Build) -> Settings:
    """What a list of the build's keywords is made by, its sound and features being those of the build."""
    words = manifest.read_labels(build.folder / "corpus")[2:]
    plain = config.load(corpus={"keywords": words})
    return dataclasses.replace(plain, audio=build.settings.audio, features=build.settings.features)


def changed(name: str, build: Build) -> Settings:
    """The settings with a change on top; see `changes.changed`."""
    return changes.changed(CHANGES, name, SECTIONS, as_it_is(build))


def inputs_of(run: Run, build: Build) -> dict[str, str]:
    """Digests of all that a run's figures, and what they are compared with, depend on, but for its seed."""
    sections = ("audio", "features", "personalise", *SECTIONS)
    return {
        "clips": build.clips,
        "recipe": trainings.digest(as_it_is(build), sections, FORMAT),
        "settings": trainings.digest(changed(run.change, build), sections, FORMAT),
    }


def make(run: Run, build: Build, results: Path) -> dict[str, Any]:
    """Let voices speak, train, measure, and write `results/<run>.json`; what an interrupted run had is taken up."""
    settings = trainings.with_seed(changed(run.change, build), run.seed)
    examples = trainings.make_features(_corpus_of(settings, build), settings, features_of(run, build))
    folder = build.folder / WORK / "train" / str(run)
    with trainings.alone_at(folder, wait=False):
        trainings.make_network(settings, examples, folder, partial(model.build, settings.model), train.adamw)
        figures = {
            "changes": changes.differences(as_it_is(build), changed(run.change, build), SECTIONS),
            **_figures(run, build, settings, examples, folder),
        }
        result = trainings.write_result(results, run, inputs_of(run, build), figures)
        shutil.rmtree(folder)
    return result


def features_of(run: Run, build: Build) -> Path:
    """Folder of the features of a run, which others may have too."""
    digest = trainings.digest(changed(run.change, build), _OF_FEATURES, FORMAT)
    return build.folder / WORK / "features" / digest[:12]


def takes_of(build: Build, count: int, seed: int) -> list[int]:
    """Numbers in the manifest of `count` training clips of each word, and of others for `_unknown_`, of many speakers.

    More takes are fewer takes and others besides.
    """
    labels, clips = manifest.read_labels(build.folder / "corpus"), manifest.read(build.folder / "corpus")
    words = [label for label in labels if label not in (SILENCE, UNKNOWN)]
    wanted = {**dict.fromkeys(words, count), UNKNOWN: round(count * len(words) * OTHERS_PERCENT / 100)}
    chosen = []
    for label, number in wanted.items():
        there = [n for n, clip in enumerate(clips) if (clip.label, clip.split) == (label, manifest.TRAINING)]
        chosen += [there[n] for n in seeded(seed, "takes", label).permutation(len(there))[:number]]
    return chosen


# --- parts ---


def _corpus_of(settings: Settings, build: Build) -> Path:
    """What voices say by these settings: made once for all runs that have them, since it takes longest."""
    folder = build.folder / WORK / "corpus" / trainings.digest(settings, _OF_CORPUS, FORMAT)[:12]
    with trainings.alone_at(folder, wait=True):
        if not trainings.is_made(settings, corpus=folder):
            log.info("%s: %s", folder, corpus_stage.run(settings, build.folder / "data", folder))
    return folder


def _figures(run: Run, build: Build, settings: Settings, examples: Path, folder: Path) -> dict[str, Any]:
    """All that the tables show; `testing` by the number of takes of each word, of the recipe as it is alone."""
    network, epochs = model.load(folder / train.MODEL), history.read(folder)
    return {
        "validation": _score(network, _people(build, manifest.VALIDATION)),
        "testing": _with_takes(run, build, settings, examples, folder) if run.change == AS_IT_IS else {},
        "training_s": sum(epoch["seconds"] for epoch in epochs),
        "cpu": cpu(),
        "cores": cores(),
    }


def _with_takes(run: Run, build: Build, settings: Settings, examples: Path, folder: Path) -> dict[str, Any]:
    """Scores of the testing split without takes, and with."""
    people, start = _people(build, manifest.TESTING), folder / train.MODEL
    figures = {"0": _score(model.load(start), people)}
    for count in TAKES:
        learnt, work = takes_of(build, count, run.seed), folder.with_name(f"{run}-takes")
        shutil.rmtree(work, ignore_errors=True)  # of a run that was broken off
        network, _ = trainings.personalised(settings, start, examples, build.folder / "corpus", learnt, work)
        figures[str(count)] = _score(network, people)
        shutil.rmtree(work)
    return figures


def _people(build: Build, split: str) -> Examples:
    return evaluate.examples_of(build.folder / "corpus", build.folder / "features" / split, build.settings)


def _score(network: tf_keras.Model, people: Examples) -> dict[str, Any]:
    """Shares of the clips: right, right among the keywords alone, keywords taken for unknown, and recall of the rest.

    `wrong` has the numbers of the clips that are not right, `speakers` who says each clip.
    """
    scores, labels = network.predict(people.mfcc, batch_size=256, verbose=0), manifest.read_labels(people.corpus)
    unknown, silence, truth = labels.index(UNKNOWN), labels.index(SILENCE), people.truth
    words = [n for n in range(len(labels)) if n not in (unknown, silence)]
    found, is_word = scores.argmax(axis=1), np.isin(truth, words)
    among_words = np.array(words)[scores[:, words].argmax(axis=1)]
    return {
        "clips": len(truth),
        "accuracy": float((found == truth).mean()),
        "keywords_alone": float((among_words == truth)[is_word].mean()),
        "keywords_taken_for_unknown": float((found == unknown)[is_word].mean()),
        "unknown_recall": float((found == truth)[truth == unknown].mean()),
        "silence_recall": float((found == truth)[truth == silence].mean()),
        "wrong": np.flatnonzero(found != truth).tolist(),
        "speakers": [clip.speaker for clip in people.clips],
    }
