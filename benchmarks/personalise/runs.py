"""One run: the network of a build, trained on with one take of each word by one speaker, before and after.

Speakers are those of the testing split, which neither training nor validation has heard; they have takes enough to
learn from one of each word and to be tested on the others.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import trainings
from benchmarks.machine import cores, cpu
from benchmarks.trainings import Build
from pipeline import receipt
from pipeline.config import Settings
from pipeline.corpora import manifest
from pipeline.corpora.noise import seeded
from pipeline.network import model
from pipeline.network.engine import tf_keras
from pipeline.stages import evaluate, train

LEAST_TAKES = 3  # of every word
WORK = "personalise"  # the folder in BUILD for what is between the runs
FORMAT = 1  # raise it when what is measured changes


@dataclass(frozen=True)
class Run:
    speaker: str
    seed: int

    def __str__(self) -> str:
        return f"{self.speaker}-{self.seed}"


def speakers(build: Build) -> list[str]:
    """Those of the testing split with takes enough of every keyword."""
    testing = manifest.examples(manifest.read(build.folder / "corpus"), manifest.TESTING)
    takes = Counter((clip.speaker, clip.label) for clip in testing)
    keywords = _keywords(build)
    return sorted({who for who, _ in takes if all(takes[who, word] >= LEAST_TAKES for word in keywords)})


def inputs(build: Build) -> dict[str, str]:
    """Digests of all that the figures depend on, but for speaker and seed."""
    sections = ("audio", "features", "augment", "model", "train", "personalise")
    return {
        "clips": build.clips,
        "network": receipt.read(build.folder / "train", "train").digest,
        "settings": trainings.digest(_seeded(build.settings, 0), sections, FORMAT),
    }


def make(run: Run, build: Build, results: Path) -> dict[str, Any]:
    """Train on, measure, and write `results/<run>.json`."""
    folder = build.folder / WORK / str(run)
    with trainings.alone_at(folder, wait=False):
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was broken off
        result = trainings.write_result(results, run, inputs(build), _figures(run, build, folder))
        shutil.rmtree(folder)
    return result


def learnt_takes(run: Run, build: Build) -> list[int]:
    """Numbers in the manifest of one take of each word, drawn with the seed."""
    clips = manifest.read(build.folder / "corpus")
    chosen = []
    for word in _keywords(build):
        wanted = (run.speaker, word, manifest.TESTING)
        takes = [n for n, clip in enumerate(clips) if (clip.speaker, clip.label, clip.split) == wanted]
        chosen.append(takes[int(seeded(run.seed, run.speaker, word).integers(len(takes)))])
    return chosen


def _figures(run: Run, build: Build, folder: Path) -> dict[str, Any]:
    """Clips, and how many are right before and after: the speaker's other takes, and clips of everyone else."""
    learnt = learnt_takes(run, build)
    began_s = time.perf_counter()
    corpus, features = build.folder / "corpus", build.folder / "features"
    settings = _seeded(build.settings, run.seed)
    network, count = trainings.personalised(settings, _start(build), features, corpus, learnt, folder)
    took_s = time.perf_counter() - began_s
    test = evaluate.examples_of(corpus, features / manifest.TESTING, build.settings)
    before = _right(model.load(_start(build)), test)
    after = _right(network, test)
    paths = {manifest.read(corpus)[n].path for n in learnt}
    keywords = _keywords(build)
    own = [clip.speaker == run.speaker and clip.label in keywords and clip.path not in paths for clip in test.clips]
    others = [clip.speaker != run.speaker for clip in test.clips]
    return {
        **{
            who: {"clips": sum(chosen), "before": int(before[chosen].sum()), "after": int(after[chosen].sum())}
            for who, chosen in (("own", own), ("others", others))
        },
        "windows": count,
        "seconds": took_s,
        "cpu": cpu(),
        "cores": cores(),
    }


def _start(build: Build) -> Path:
    return build.folder / "train" / train.MODEL


def _right(network: tf_keras.Model, test: evaluate.Examples) -> NDArray[np.bool_]:
    return network.predict(test.mfcc, batch_size=256, verbose=0).argmax(axis=1) == test.truth


def _seeded(settings: Settings, seed: int) -> Settings:
    return dataclasses.replace(settings, personalise=dataclasses.replace(settings.personalise, seed=seed))


def _keywords(build: Build) -> list[str]:
    return manifest.read_labels(build.folder / "corpus")[2:]
