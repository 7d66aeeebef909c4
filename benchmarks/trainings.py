"""What the benchmarks that train have in common: a build to start from, what is made on the way, and result files.

A run is a frozen dataclass that says in its fields which training it is, its `seed` among them.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pipeline import config, receipt
from pipeline.config import BACKGROUND_NOISE, Settings
from pipeline.corpora import manifest, shards, windows
from pipeline.corpora.shards import Shards
from pipeline.corpora.windows import Shard
from pipeline.errors import PipelineError, StaleInput
from pipeline.network.engine import tf_keras
from pipeline.stages import features as features_stage
from pipeline.stages import personalise, train
from pipeline.stages.train import Architecture, Optimizer

AnyRun = TypeVar("AnyRun")
Result = dict[str, Any]

log = logging.getLogger("pipeline.benchmarks")


def show_progress() -> None:
    """Let the pipeline say what it does, and libraries only what worries them."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("pipeline").setLevel(logging.INFO)


# --- the build ---


@dataclass(frozen=True)
class Build:
    """A finished build of ours: its clips and features are what all runs are made from."""

    folder: Path
    settings: Settings
    clips: str  # `clips_digest`


def open_build(folder: Path) -> Build:
    """The build with the settings that it was trained by.

    Raises
    ------
    StaleInput
        If its corpus, its features or its training are missing or don't go together.
    """
    sections = receipt.read(folder / "train", "train").settings
    settings = Settings(**{name: config.build_section(name, values) for name, values in sections.items()})
    receipt.require(settings, corpus=folder / "corpus", features=folder / "features")
    return Build(folder, settings, clips_digest(folder / "corpus"))


def clips_digest(corpus: Path) -> str:
    """Digest of all that the splits hold, wherever it lies: the same recordings in another folder are the same.

    Clips that are only measured on, and by no benchmark that trains, are not in it.
    """
    content = [
        [clip.split, clip.label, clip.word, clip.speaker, clip.sha256]
        for clip in manifest.read(corpus)
        if clip.split in manifest.SPLITS
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def with_seed(settings: Settings, seed: int) -> Settings:
    return dataclasses.replace(settings, train=dataclasses.replace(settings.train, seed=seed))


# --- what is made on the way ---


def make_features(corpus: Path, settings: Settings, folder: Path) -> Path:
    """Features of a corpus by other settings; made where they aren't there, by one process at a time."""
    with alone_at(folder, wait=True):
        if not is_made(settings, corpus=corpus, features=folder):
            log.info("%s: %s", folder, features_stage.run(settings, corpus, folder))
    return folder


def make_network(
    settings: Settings, examples: Path, folder: Path, architecture: Architecture, optimizer: Optimizer
) -> None:
    """Train into `folder`, unless that was done; an interrupted training goes on."""
    if not is_made(settings, features=examples, train=folder):
        tf_keras.backend.clear_session()  # of the networks trained before in this process
        train.train_network(settings, examples, folder, architecture, optimizer)


def personalised(
    settings: Settings, start: Path, features: Path, corpus: Path, learnt: list[int], folder: Path
) -> tuple[tf_keras.Model, int]:
    """A network after `make personalise` with some clips of a corpus as takes, and how many windows they gave.

    Parameters
    ----------
    start, features
        The network, a file, and what it was trained on.
    learnt
        The manifest's numbers of the clips.
    folder
        Where the windows of the takes go.
    """
    more = dataclasses.replace(settings.augment, copies=settings.personalise.copies)
    clips = manifest.read(corpus)
    noise = tuple(manifest.recordings(clips, manifest.TRAINING, BACKGROUND_NOISE))
    shard = Shard(corpus, manifest.TRAINING, 0, {n: clips[n] for n in learnt}, {}, noise)
    windows.make(shard, folder, dataclasses.replace(settings, augment=more))
    known, takes = shards.read(features / manifest.TRAINING), shards.read(folder / manifest.TRAINING)
    training = Shards([*known.mfcc, *takes.mfcc], np.concatenate([known.index, takes.index]))
    tf_keras.backend.clear_session()  # of the networks trained before in this process
    network, _ = personalise.fine_tune(settings, start, training, shards.read_normaliser(features)[0])
    return network, len(takes.index)


def is_made(settings: Settings, **folders: Path) -> bool:
    try:
        receipt.require(settings, **folders)
    except StaleInput:
        return False
    return True


@contextmanager
def alone_at(folder: Path, *, wait: bool) -> Iterator[None]:
    """Keep other processes away from a folder, until the block or the process ends.

    Raises
    ------
    PipelineError
        If one is at it, and its end isn't waited for.
    """
    path = folder.with_name(folder.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            remedy = "ask for other runs, or wait for its end"
            raise PipelineError(f"{folder}: another process is at it; {remedy}") from None
        yield


def parameters(network: tf_keras.Model) -> int:
    """Number of the weights that training changes."""
    return sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)


# --- result files ---


def digest(settings: Settings, sections: Sequence[str], format: int) -> str:
    """Digest of the settings that figures depend on, but for the seed of the training.

    Parameters
    ----------
    format
        Number of the benchmark's own format; those of the stages count too.
    """
    seedless = with_seed(settings, 0)
    content = {
        "formats": [format, *(receipt.STAGES[stage].format for stage in ("features", "train"))],
        **{name: seedless.section(name) for name in sections},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_result(folder: Path, run: Any, inputs: Mapping[str, str], figures: Result) -> Result:
    """Write `folder/<run>.json` whole, a line for each key, and return its content."""
    result = {**dataclasses.asdict(run), "inputs": inputs, **figures}
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in result.items())
    path = folder / f"{run}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text("{\n" + lines + "\n}\n", encoding="utf-8")
    part.rename(path)
    return result


def read_results(folder: Path, kind: type[AnyRun]) -> dict[AnyRun, Result]:
    """Every result file in a folder.

    Raises
    ------
    PipelineError
        If one is none of a run.
    """
    return dict(_read(path, kind) for path in sorted(folder.glob("*.json")))


def of_today(
    results: Mapping[AnyRun, Result], inputs_of: Callable[[AnyRun], Mapping[str, str]]
) -> dict[AnyRun, Result]:
    """Results of today's inputs; the others are left out, and made anew when asked for."""
    kept = {run: result for run, result in results.items() if result["inputs"] == inputs_of(run)}
    for run in sorted(map(str, results.keys() - kept.keys())):
        log.info("%s.json is of other inputs: it is left out, and made anew when its turn comes", run)
    return kept


def read_comparable(folder: Path, kind: type[AnyRun]) -> dict[AnyRun, Result]:
    """Every result in a folder, all of the same clips.

    Raises
    ------
    PipelineError
        If there is none, or if what they were made from differs; in `settings` only the seeds of one thing must agree.
    """
    results = read_results(folder, kind)
    if not results:
        raise PipelineError(f"{folder}: no finished runs; give BUILD, to make some")
    common, _ = Counter(map(_shared_inputs, results.values())).most_common(1)[0]
    settings: dict[AnyRun, str] = {}  # of each thing, by any seed
    odd = [
        f"{run}.json"
        for run, result in results.items()
        if _shared_inputs(result) != common
        or settings.setdefault(_seedless(run), result["inputs"]["settings"]) != result["inputs"]["settings"]
    ]
    if odd:
        remedy = "give BUILD, to remake them; delete those that it doesn't remake"
        raise PipelineError(f"{folder}: of other inputs than the rest: {', '.join(odd)}; {remedy}")
    return results


def _shared_inputs(result: Result) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((result["inputs"] | {"settings": ""}).items()))


def _seedless(run: Any) -> Any:
    return dataclasses.replace(run, seed=0)


def _read(path: Path, kind: Any) -> tuple[Any, Result]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return kind(**{field.name: content[field.name] for field in dataclasses.fields(kind)}), content
    except (ValueError, TypeError, KeyError) as error:
        raise PipelineError(f"{path}: no result of a run ({error!r}); delete it") from None
