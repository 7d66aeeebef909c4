"""Every figure: the Keras model and each file on the same test clips, and the file for phones on streams.

Sound without keywords is measured on all the clips of it that there are: those of the testing split, and `OTHERS`.
"""

from __future__ import annotations

import gzip
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.metrics
from numpy.typing import NDArray
from rich.console import Console, Group
from rich.progress import track

from pipeline import receipt
from pipeline.config import Audio, Settings
from pipeline.corpora import hearing, manifest, mistakes, shards, streams
from pipeline.corpora.hearing import Heard, Judged
from pipeline.device.bundle import EXPORTED, THRESHOLDS, check_hashes, open_network, read_description
from pipeline.device.interpreter import MFCC, Network
from pipeline.device.listing import printable
from pipeline.device.recognizer import DEFAULT_FILE
from pipeline.errors import StaleInput
from pipeline.network import calibrate, history, model
from pipeline.network.engine import tf_keras
from pipeline.pages import tables
from pipeline.pages.tables import BEFORE, KERAS
from pipeline.receipt import Receipt

METRICS = "metrics.json"
PREDICTIONS = "predictions.csv"
TRAINED = "keras before compression"
_LATENCY_RUNS = 200
_WORST_CLIPS = 20
_REASONS = 20  # why files are rejected, the most frequent

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Examples:
    """Clips of one split, with their MFCC `(clips, frames, n_mfcc)` and the numbers of their labels `(clips,)`."""

    corpus: Path
    audio: Audio
    clips: list[manifest.Clip]
    mfcc: Array
    truth: NDArray[np.int32]

    def windows(self, takes: str) -> Iterator[Array]:
        """One window after another, as a file takes it; sound is read when its turn comes."""
        if takes == MFCC:
            return iter(self.mfcc)
        return (manifest.window(self.corpus, clip, self.audio) for clip in self.clips)


def run(
    settings: Settings, corpus: Path, features: Path, train: Path, quantize: Path, export: Path, tune: Path, out: Path
) -> Group:
    """Score the test split, the official test archive where the corpus has it, and the others; listen to streams."""
    inputs = receipt.require(
        settings, corpus=corpus, features=features, train=train, quantize=quantize, export=export, tune=tune
    )
    with receipt.making(out, "evaluate", settings, inputs) as work:
        description = json.loads((export / EXPORTED).read_text(encoding="utf-8"))
        streams.require_same_negatives(settings, tune)
        thresholds = json.loads((tune / THRESHOLDS).read_text(encoding="utf-8"))
        networks = {name: open_network(export, name, description) for name in description["files"]}
        models = _keras_models(train, quantize, settings)
        labels, about = description["labels"], manifest.read_about(corpus)
        data = _data(settings, about) | _counts(corpus, labels)
        metrics: dict[str, Any] = {"labels": labels, "data": data, "splits": {}}
        metrics["history"] = history.read(train)
        metrics["temperature"] = json.loads((quantize / calibrate.TEMPERATURE).read_text(encoding="utf-8"))
        known = (manifest.TESTING, manifest.OFFICIAL, manifest.OTHERS, manifest.LEFT_OUT)
        splits = [split for split in known if (features / split).is_dir()]
        tests = {split: examples_of(corpus, features / split, settings) for split in splits}
        judged = networks | _before(settings, inputs[0])
        scores = {split: _score(examples, models, judged) for split, examples in tests.items()}
        for split in (split for split in splits if split != manifest.OTHERS):
            metrics["splits"][split] = {
                "of": _of(split, metrics["data"]),
                **_figures(scores[split], tests[split], labels),
            }
        wrong = _wrong({split: scores[split][DEFAULT_FILE] for split in metrics["splits"]}, tests, labels)
        metrics |= {"wrong_clips": len(wrong), "worst_clips": wrong[:_WORST_CLIPS]}
        learnt = mistakes.words_learnt(manifest.read(corpus))
        metrics["without_keywords"] = {
            name: _without_keywords(name, scores, tests, labels, learnt) for name in (KERAS, DEFAULT_FILE)
        }
        phone = partial(open_network, export, DEFAULT_FILE, description)
        heard = hearing.hear_all(corpus, manifest.TESTING, phone, labels, settings)
        metrics["streams"] = _stream_figures(heard, thresholds)
        metrics["streams"]["on_validation"] = json.loads((tune / hearing.ON_VALIDATION).read_text(encoding="utf-8"))
        timed = tests[manifest.TESTING]
        metrics["files"] = {name: _file_figures(export / name, network, timed) for name, network in networks.items()}
        content = json.dumps(metrics, indent=1, ensure_ascii=False)
        (work / METRICS).write_text(content, encoding="utf-8", errors="replace")  # a name may hold bytes that are none
        rows = [
            _prediction(clip, scores[split], n, labels)
            for split, examples in tests.items()
            for n, clip in enumerate(examples.clips)
        ]
        manifest.write_rows(work / PREDICTIONS, list(rows[0]), [list(row.values()) for row in rows])
    return tables.tables(metrics)


def examples_of(corpus: Path, features: Path, settings: Settings) -> Examples:
    """The clips of the split whose features are in `features`."""
    clips = manifest.read(corpus)
    mfcc, index = shards.read(features).originals()
    chosen = [clips[number] for number in index[:, shards.CLIP]]
    return Examples(corpus, settings.audio, chosen, mfcc, index[:, shards.LABEL])


def _keras_models(train: Path, quantize: Path, settings: Settings) -> dict[str, tf_keras.Model]:
    folders = {KERAS: quantize} | ({TRAINED: train} if settings.quantize.sparsity_percent else {})
    return {name: model.load(folder / "model.keras") for name, folder in folders.items()}


def _before(settings: Settings, corpus: Receipt) -> dict[str, Network]:
    """The file for phones of the bundle that was personalised, if one was."""
    if not settings.personalise.bundle:
        return {}
    bundle = Path(settings.personalise.bundle)
    if receipt.read(bundle, "bundle").digest != corpus.inputs["bundle"]:
        raise StaleInput(f"stale: {bundle} is another than the one that was personalised; run: make corpus")
    description = read_description(bundle)
    check_hashes(bundle, {DEFAULT_FILE: description["sha256"][DEFAULT_FILE]})
    return {BEFORE: open_network(bundle, DEFAULT_FILE, description)}


def _score(examples: Examples, models: dict[str, tf_keras.Model], networks: dict[str, Network]) -> dict[str, Array]:
    """Scores `(clips, labels)` by each model and each file."""
    scores = {name: _predict(network, examples) for name, network in models.items()}
    return scores | {name: _one_by_one(name, network, examples) for name, network in networks.items()}


def _predict(network: tf_keras.Model, examples: Examples) -> Array:
    return network.predict(examples.mfcc, batch_size=256, verbose=0)


def _one_by_one(name: str, network: Network, examples: Examples) -> Array:
    windows = track(examples.windows(network.takes), name, len(examples.clips), console=Console(stderr=True))
    return np.stack([network.scores(window) for window in windows])


def _data(settings: Settings, about: dict[str, Any]) -> dict[str, Any]:
    """What the figures are of, so that none is taken for more than it is."""
    kind = settings.corpus.kind
    origin = "synthetic speech, which says little of people" if kind == "synthetic" else "recordings of people"
    seeded = ["corpus", "augment", "train", "quantize", "streams"]
    if settings.personalise.bundle:
        seeded.append("personalise")
    seeds = {name: settings.section(name)["seed"] for name in seeded}
    return {"corpus": kind, "origin": origin, **about, "seeds": seeds}


def _of(split: str, data: dict[str, Any]) -> str:
    """What the clips of a split are."""
    if split == manifest.LEFT_OUT:
        return "takes of who it was personalised for, left out of training"
    return f"{split.replace('_', ' ')} split: {data['origin']}"


def _figures(scores: dict[str, Array], examples: Examples, labels: list[str]) -> dict[str, Any]:
    reference = scores[KERAS].argmax(axis=1)
    return {
        "models": {
            name: _model_figures(values, examples.truth, reference, labels)
            | {"errors": mistakes.errors(examples.clips, _best(values, labels))}
            for name, values in scores.items()
        }
    }


def _without_keywords(
    name: str,
    scores: dict[str, dict[str, Array]],
    tests: dict[str, Examples],
    labels: list[str],
    learnt: set[str],
) -> dict[str, Any]:
    """Figures of one model or file; see `mistakes.without_keywords`."""
    pooled = (manifest.TESTING, manifest.OTHERS)
    clips = [clip for split in pooled for clip in tests[split].clips]
    found = [label for split in pooled for label in _best(scores[split][name], labels)]
    return mistakes.without_keywords(clips, found, learnt)


def _wrong(scores: Mapping[str, Array], tests: Mapping[str, Examples], labels: list[str]) -> list[dict[str, Any]]:
    """The clips that one model gets wrong, by its scores of each split: first those that it is surest of.

    Clips of the official archive may be in the testing split too; such a clip counts once.
    """
    wrong = [
        {
            **{name: getattr(tests[split].clips[n], name) for name in ("sha256", "split", "speaker", "word", "label")},
            "file": printable("/".join(Path(tests[split].clips[n].path).parts[-2:])),
            "found": labels[values[n].argmax()],
            "score": float(values[n].max()),
        }
        for split, values in scores.items()
        for n in np.flatnonzero(values.argmax(axis=1) != tests[split].truth)
    ]
    return sorted({clip["sha256"]: clip for clip in wrong}.values(), key=lambda clip: -clip["score"])


def _counts(corpus: Path, labels: list[str]) -> dict[str, Any]:
    """What the corpus holds: clips by label and split, speakers by split, and files that can't be used by reason."""
    clips = [clip for clip in manifest.read(corpus) if clip.label in labels]
    known = (*manifest.SPLITS, manifest.OFFICIAL, manifest.OTHERS, manifest.LEFT_OUT)
    splits = [split for split in known if any(clip.split == split for clip in clips)]
    rows = manifest.read_rows(corpus / manifest.REJECTED)
    rejected = Counter(row["reason"].partition(":")[0] for row in rows)  # too short, not by how much
    return {
        "clips": {
            label: {split: sum((clip.label, clip.split) == (label, split) for clip in clips) for split in splits}
            for label in labels
        },
        "speakers": {
            split: len({clip.speaker for clip in clips if clip.split == split and mistakes.is_spoken(clip)})
            for split in splits
        },
        "rejected": dict(rejected.most_common(_REASONS)),
        "rejected_files": rejected.total(),
    }


def _best(scores: Array, labels: list[str]) -> list[str]:
    return [labels[n] for n in scores.argmax(axis=1)]


def _model_figures(scores: Array, truth: NDArray, reference: NDArray, labels: list[str]) -> dict[str, Any]:
    """Accuracy and recall with their Wilson intervals, calibration, confusion (rows: truth), changes from Keras."""
    best = scores.argmax(axis=1)
    right = int((best == truth).sum())
    numbers = range(len(labels))
    confusion = sklearn.metrics.confusion_matrix(truth, best, labels=list(numbers))
    counts = {labels[n]: (int(confusion[n, n]), int(confusion[n].sum())) for n in numbers}
    recall = {label: found / clips if clips else None for label, (found, clips) in counts.items()}
    intervals = {label: mistakes.wilson(found, clips) if clips else None for label, (found, clips) in counts.items()}
    return {
        "clips": len(truth),
        "accuracy": right / len(truth),
        "accuracy_interval": mistakes.wilson(right, len(truth)),
        "labels_changed": float((best != reference).mean()),
        "expected_calibration_error": calibrate.expected_calibration_error(scores, truth),
        "reliability": calibrate.reliability(scores, truth),
        "recall": recall,
        "recall_interval": intervals,
        "confusion": confusion.tolist(),
    }


def _stream_figures(heard: Mapping[str, Heard], thresholds: dict[str, float]) -> dict[str, Any]:
    """What an app hears that listens on, at the thresholds, at others, and without any."""
    judged: dict[str, Callable[[Heard], Judged]] = {
        "at_thresholds": lambda stream: hearing.judge_at(stream, thresholds),
        "best_of_each_window": lambda stream: hearing.judge(hearing.best_of_each_window(stream), stream.said),
    }
    return {
        "file": DEFAULT_FILE,
        "thresholds": thresholds,
        **{
            way: {name: hearing.figures(judge(stream), stream) for name, stream in heard.items()}
            for way, judge in judged.items()
        },
        "sweep": {
            "thresholds": hearing.GRID,
            "streams": {
                name: [hearing.figures(judged, stream) for judged in hearing.sweep(stream)]
                for name, stream in heard.items()
            },
        },
    }


def latency_ms(network: Network, windows: Sequence[Array]) -> float:
    """Median time of one window on one thread, from what the file takes to scores."""
    times_s = []
    for run in range(_LATENCY_RUNS):
        start = time.perf_counter()
        network.scores(windows[run % len(windows)])
        times_s.append(time.perf_counter() - start)
    return float(np.median(times_s)) * 1000


def _file_figures(path: Path, network: Network, examples: Examples) -> dict[str, float]:
    """Sizes, and the time that one window takes."""
    content = path.read_bytes()
    return {
        "bytes": len(content),
        "gzip_bytes": len(gzip.compress(content)),
        "latency_ms": latency_ms(network, list(itertools.islice(examples.windows(network.takes), _LATENCY_RUNS))),
    }


def _prediction(clip: manifest.Clip, scores: dict[str, Array], number: int, labels: list[str]) -> dict[str, Any]:
    values = {f"{name}:{label}": f"{scores[name][number, n]:.6f}" for name in scores for n, label in enumerate(labels)}
    return {
        "split": clip.split,
        "path": clip.path,
        "speaker": clip.speaker,
        "word": clip.word,
        "label": clip.label,
    } | values
