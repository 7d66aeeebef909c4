"""The tables of finished runs, from their files alone, for a person and as Markdown; and what they come to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group

from benchmarks import views
from benchmarks.peers.recipes import PEERS
from benchmarks.peers.runs import DYNAMIC, INT8, NAMES, OURS, OWN, PHONE, PUBLISHED, Run
from benchmarks.peers.speed import Times
from pipeline.config import SILENCE, UNKNOWN
from pipeline.corpora.mistakes import margin

Results = Mapping[Run, dict[str, Any]]

LEFT = ("network", "recipe")  # the other columns are numbers
COLUMNS = (
    *LEFT, "seeds", "test accuracy", "95 % interval", "validation", "int8 accuracy",
    "labels changed: dynamic / int8 / phone", "parameters", "size: float / dynamic / int8 / phone",
    "epochs × windows", "as published", "latency", "training",
)  # fmt: skip
ERRORS = "errors left: share of all (of the label's clips)"
DIFFERENCES = "ours − peer, points of test accuracy:"
_WORST_SPEAKERS = 3  # so many are named


def tables(results: Results, times: Times | None) -> Group:
    """All that there is to show, for a terminal."""
    shown: list[Any] = [views.table(about(results, times), COLUMNS, rows(results, times), LEFT)]
    if own := _own(results):
        shown.append(views.table(ERRORS, error_columns(own), error_rows(own), ("",)))
    return Group(*shown, *verdict(results))


def markdown(results: Results, times: Times | None) -> str:
    """The same for docs/benchmarks.md."""
    parts = [about(results, times) + ":", views.markdown(COLUMNS, rows(results, times), LEFT)]
    if own := _own(results):
        parts += [ERRORS[0].upper() + ERRORS[1:] + ":", views.markdown(error_columns(own), error_rows(own), ("",))]
    if said := verdict(results):
        parts += [said[0], "\n".join(f"- {line}" for line in said[1:])]
    return "\n\n".join(parts)


def about(results: Results, times: Times | None) -> str:
    """What the figures are of; one thing, since runs on other clips are never in one table."""
    any_run = next(iter(results.values()))
    clips = " and ".join(f"{count:,} for {split}" for split, count in any_run["clips"].items())
    machine = f"; times are of {times['cpu']}, cores: {times['cores']}" if times else ""
    return f"{len(any_run['labels'])} labels, clips: {clips}{machine}"


# --- accuracy, sizes, times ---


def rows(results: Results, times: Times | None) -> list[list[str]]:
    """The cells of the table: a row for each network and recipe, over all its seeds."""
    order = [(name, recipe) for name in NAMES for recipe in (PUBLISHED, OURS)]
    return [
        [name, recipe, *_cells(seeds), *_times(times, f"{name}-{recipe}", seeds)]
        for name, recipe in order
        if (seeds := _seeds(results, name, recipe))
    ]


def _cells(seeds: Sequence[dict[str, Any]]) -> list[str]:
    accuracies, one = [result["test_accuracy"] for result in seeds], seeds[0]
    spread = f" ± {100 * np.std(accuracies, ddof=1):.2f}" if len(seeds) > 1 else ""
    off = margin(_wrong(seeds), one["speakers"])
    return [
        str(len(seeds)),
        f"{100 * _mean(seeds):.2f}{spread} %",
        f"{100 * max(_mean(seeds) - off, 0):.1f} to {100 * min(_mean(seeds) + off, 1):.1f} %",
        f"{100 * _mean(seeds, 'validation_accuracy'):.2f} %",
        f"{100 * np.mean([result['files'][INT8]['test_accuracy'] for result in seeds]):.2f} %",
        " / ".join(_changed(seeds, kind) for kind in (DYNAMIC, INT8, PHONE) if kind in one["files"]) + " %",
        f"{one['parameters']:,}",
        " / ".join(f"{file['bytes'] / 1e3:.0f}" for file in one["files"].values()) + " kB",
        f"{_mean(seeds, 'epochs'):.0f} × {one['windows']:,}",
        "{:,} × {:,}".format(*one["published"]) if one["published"] else "",
    ]


def _times(times: Times | None, name: str, seeds: Sequence[dict[str, Any]]) -> list[str]:
    """Latency, and what all windows of a training take; nothing where only other settings were timed."""
    if not times or times["inputs"].get(name) != seeds[0]["inputs"]["settings"]:
        return ["", ""]
    training_s = times["rows"][name]["training_ms"] * _mean(seeds, "epochs") * seeds[0]["windows"] / 1000
    return [f"{times['rows'][name]['latency_ms']:.2f} ms", f"{training_s:,.0f} s"]


def _changed(seeds: Sequence[dict[str, Any]], kind: str) -> str:
    """Percent of the clips of all seeds that a file gives another label than Keras."""
    clips = sum(result["clips"]["testing"] for result in seeds)
    return f"{100 * sum(result['files'][kind]['labels_changed'] for result in seeds) / clips:.2f}"


# --- the errors that are left ---


def error_columns(own: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    return ["", *(f"{name} (seeds: {len(seeds)})" for name, seeds in own.items())]


def error_rows(own: Mapping[str, list[dict[str, Any]]]) -> list[list[str]]:
    """What is wrong of each label and of the worst speakers, the errors of all seeds of a network together."""
    columns = [_error_cells(seeds) for seeds in own.values()]
    return [[name, *(column[name] for column in columns)] for name in columns[0]]


def _error_cells(seeds: Sequence[dict[str, Any]]) -> dict[str, str]:
    clips = seeds[0]["labels"]
    errors = [error for result in seeds for error in result["errors"]]
    of_label = Counter(word if word in clips else UNKNOWN for _, word, _, _ in errors)
    of_speaker = Counter(speaker for _, word, speaker, _ in errors if word != SILENCE and speaker).most_common()
    speakers = len({*seeds[0]["speakers"]} - {""})
    tenth = of_speaker[: math.ceil(speakers / 10)]

    def share(count: int) -> str:
        return f"{100 * count / max(len(errors), 1):.1f} %"

    return {
        "errors": f"{len(errors):,}",
        **{
            label: f"{share(of_label[label])} ({100 * of_label[label] / (count * len(seeds)):.1f} %)"
            for label, count in clips.items()
            if count
        },
        "speakers with errors": f"{len(of_speaker)} of {speakers}",
        "worst tenth of all speakers": share(sum(count for _, count in tenth)),
        "worst speakers": ", ".join(f"{speaker} {share(count)}" for speaker, count in of_speaker[:_WORST_SPEAKERS]),
    }


# --- what it comes to ---


def verdict(results: Results) -> list[str]:
    """Whether our network beats each peer by the peer's recipe, and by ours each peer of at most its size."""
    ours = _seeds(results, OURS, OURS)
    compared = {
        f"{name}, recipe {recipe}": _difference(ours, seeds)
        for name in PEERS
        for recipe in (PUBLISHED, OURS)
        if ours
        and (seeds := _seeds(results, name, recipe))
        and (recipe == PUBLISHED or seeds[0]["parameters"] <= ours[0]["parameters"])
    }
    if not compared:
        return []
    beaten = sum(points > 0 for points, _ in compared.values())
    surely = sum(points > off for points, off in compared.values())
    lines = [f"{peer}: {points:+.2f} ± {off:.2f}{_doubt(points, off)}" for peer, (points, off) in compared.items()]
    summary = f"{beaten} of {len(compared)} are beaten, {surely} by more than the margin"
    return [DIFFERENCES, *lines, f"{summary}; by our recipe, only peers no larger count"]


def _doubt(points: float, off: float) -> str:
    if points <= 0:
        return ", not beaten"
    return ", within the margin" if points <= off else ""


def _difference(ours: Sequence[dict[str, Any]], peer: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Points of accuracy, and how many more or fewer it may be with other speakers (95 %).

    Paired: what counts is the spread of the difference from clip to clip, all seeds of a network together.
    """
    gains = 100 * (_wrong(peer) - _wrong(ours))
    return round(float(gains.mean()), 2), margin(gains, ours[0]["speakers"])


def _wrong(seeds: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Share of the seeds that are wrong, for each test clip."""
    numbers = [number for result in seeds for number, *_ in result["errors"]]
    return np.bincount(numbers, minlength=seeds[0]["clips"]["testing"]) / len(seeds)


# --- parts ---


def _seeds(results: Results, name: str, recipe: str) -> list[dict[str, Any]]:
    return [result for run, result in results.items() if (run.name, run.recipe) == (name, recipe)]


def _own(results: Results) -> dict[str, list[dict[str, Any]]]:
    return {name: seeds for name in OWN if (seeds := _seeds(results, name, OURS))}


def _mean(seeds: Sequence[dict[str, Any]], key: str = "test_accuracy") -> float:
    return float(np.mean([result[key] for result in seeds]))
