"""Two builds side by side: what differs in their settings, what in their figures, and whether by more than chance."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline import receipt
from pipeline.corpora import manifest, mistakes
from pipeline.corpora.manifest import Clip
from pipeline.device.recognizer import DEFAULT_FILE
from pipeline.errors import StaleInput
from pipeline.pages import html

# Where recordings lie says nothing of what they are, and is nobody's business on a page that is shared.
_PATHS = {("corpus", "source"), ("streams", "negative"), ("personalise", "source"), ("personalise", "bundle")}
_SIGNIFICANT = 0.05

Row = tuple[str, str, str]  # what, in the one build, in the other
Key = tuple[str, str]  # sha256 of a clip, and its label: under another label it asks something else


@dataclass(frozen=True)
class Paired:
    """One model on the clips that two builds have both scored.

    `points` is what the second build is better by, in percent of the clips; `margin` (±, 95 %) says how far other
    speakers might move that, and `p_value` how likely so uneven a share of `only_first` and `only_second` would be if
    neither were better.
    """

    split: str
    model: str
    clips: int
    right: tuple[int, int]
    only_first: int  # right in the first build alone
    only_second: int
    p_value: float
    points: float
    margin: float

    @property
    def is_more_than_chance(self) -> bool:
        return self.p_value < _SIGNIFICANT and abs(self.points) > self.margin


@dataclass(frozen=True)
class Comparison:
    names: tuple[str, str]
    settings: list[Row]
    figures: list[Row]
    accuracy: list[Row]  # of all clips that each has
    paired: list[Paired]
    in_one_only: tuple[int, int]  # clips of the splits that both have, there or with that label
    labels_of_one_only: tuple[list[str], list[str]]


def compare(first: Path, second: Path) -> Comparison:
    """What differs between two build folders that are evaluated.

    Raises
    ------
    StaleInput
        If one isn't, or if its corpus or its figures were changed since.
    """
    one, other = _Build(first), _Build(second)
    shared = one.found.keys() & other.found.keys()
    return Comparison(
        (str(first), str(second)),
        _different(_settings(one.settings), _settings(other.settings)),
        _different(_figures(one.metrics), _figures(other.metrics)),
        _beside(_accuracy(one.metrics), _accuracy(other.metrics)),
        [
            _paired(split, model, one, other)
            for split, model in sorted(shared, key=list(one.found).index)
            if one.found[split, model].keys() & other.found[split, model].keys()
        ],
        (one.lonely(other), other.lonely(one)),
        (one.own_labels(other), other.own_labels(one)),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of McNemar's exact test (1947): a fair coin for each clip that only one gets right."""
    total = only_first + only_second
    return float(scipy.stats.binomtest(only_first, total).pvalue) if total else 1.0


def page(comparison: Comparison) -> str:
    """A page that asks no other host for anything."""
    return html.render(
        "compare.html.j2",
        comparison=comparison,
        verdict=verdict(comparison),
        paired=[paired_cells(paired) for paired in comparison.paired],
    )


def tables(comparison: Comparison) -> Group:
    """The same for a terminal."""
    shown: list[Any] = [_table("settings that differ", ("setting", *comparison.names), comparison.settings)]
    shown.append(_table("accuracy, each on its own clips", ("split, model", *comparison.names), comparison.accuracy))
    columns = ("split, model", "clips in both", "only the first right", "only the second", "p", "points of the second")
    if comparison.paired:
        title = "accuracy, on the clips of both; p by McNemar's exact test"
        shown.append(_table(title, columns, [paired_cells(p) for p in comparison.paired]))
    shown.append(_table("figures that differ", ("figure", *comparison.names), comparison.figures))
    return Group(*shown, *map(Text, verdict(comparison)))


def paired_cells(paired: Paired) -> tuple[str, ...]:
    """The cells of one row, for both the terminal and the page."""
    return (
        f"{paired.split}, {paired.model}",
        f"{paired.clips:,}",
        f"{paired.only_first:,}",
        f"{paired.only_second:,}",
        f"{paired.p_value:.2g}",
        _points(paired),
    )


def _points(paired: Paired) -> str:
    """Without a margin where none can be told: no clip differs, or all are by one speaker."""
    margin = f" ± {paired.margin:.2f}" if 0 < paired.margin < math.inf else ""
    return f"{paired.points:+.2f}{margin}"


def verdict(comparison: Comparison) -> list[str]:
    """What it comes to, a sentence for each split: of the file for phones.

    Not of the split `others`, whose kinds of clips are as many as was convenient: it has no accuracy.
    """
    first, second = comparison.names
    lines = []
    for paired in comparison.paired:
        if paired.model == DEFAULT_FILE and paired.split != manifest.OTHERS:
            better, by = (second, paired.points) if paired.points > 0 else (first, -paired.points)
            said = f"{better} is better by {by:.2f} points" if by else "both are right as often"
            chance = "more than chance gives" if paired.is_more_than_chance else "which may be chance"
            told = f"{said}, {chance} (p = {paired.p_value:.2g})" if by else said
            lines.append(f"{DEFAULT_FILE}, {paired.split}, {paired.clips:,} clips of both: {told}.")
    if not lines:
        said = "No clip to test on is in both builds with the same label"
        lines.append(f"{said}: whether they differ by more than chance can't be told.")
    alone = comparison.labels_of_one_only
    easier = " Fewer to choose from are the easier task." if len(alone[0]) != len(alone[1]) else ""
    for name, labels in zip(comparison.names, alone, strict=True):
        if labels:
            lines.append(f"Labels of {name} alone: {', '.join(labels)}.{easier}")
    for name, count in zip(comparison.names, comparison.in_one_only, strict=True):
        if count:
            lines.append(f"{count:,} clips of the same splits are in {name} alone, or have another label in the other.")
    return lines


# --- one build ---


class _Build:
    """What a build's evaluation left: settings, figures, and for each split and model which clips were right."""

    def __init__(self, folder: Path) -> None:
        corpus, evaluated = folder / "corpus", folder / "evaluate"
        if not evaluated.is_dir():
            remedy = "give the folder that make filled, such as build/synthetic"
            raise StaleInput(f"{folder}: no such build, or not evaluated yet; {remedy}")
        made_from, made = receipt.read(corpus, "corpus"), receipt.read(evaluated, "evaluate")
        if made.inputs.get("corpus") != made_from.digest:  # names of clips may be the same, and the sound another
            raise StaleInput(f"stale: {evaluated} was made from another corpus; run: make evaluate")
        receipt.check_files(made_from, corpus)
        receipt.check_files(made, evaluated)
        self.settings = made.settings
        self.metrics = json.loads((evaluated / "metrics.json").read_text(encoding="utf-8"))
        clips = {(clip.split, clip.path): clip for clip in manifest.read(corpus)}
        self.clips: dict[Key, Clip] = {(clip.sha256, clip.label): clip for clip in clips.values()}
        self.found: dict[tuple[str, str], dict[Key, bool]] = {}  # by split and model, clips → right
        for row in manifest.read_rows(evaluated / "predictions.csv"):
            clip = clips[row["split"], row["path"]]
            for model, label in _best_labels(row).items():
                self.found.setdefault((clip.split, model), {})[clip.sha256, clip.label] = label == clip.label

    def lonely(self, other: _Build) -> int:
        """Clips that the other doesn't have in the same split with the same label, of the splits that both have."""
        shared = {split for split, _ in self.found} & {split for split, _ in other.found}
        return sum(split in shared for split, _ in self._scored() - other._scored())

    def own_labels(self, other: _Build) -> list[str]:
        return [label for label in self.metrics["labels"] if label not in other.metrics["labels"]]

    def _scored(self) -> set[tuple[str, Key]]:
        return {(split, key) for (split, _), found in self.found.items() for key in found}


def _best_labels(row: dict[str, str]) -> dict[str, str]:
    """The label with the best score, by model."""
    best: dict[str, tuple[float, str]] = {}
    for column, value in row.items():
        model, colon, label = column.partition(":")
        if colon and float(value) > best.get(model, (-1.0, ""))[0]:
            best[model] = (float(value), label)
    return {model: label for model, (_, label) in best.items()}


def _paired(split: str, model: str, one: _Build, other: _Build) -> Paired:
    first, second = one.found[split, model], other.found[split, model]
    both = sorted(first.keys() & second.keys())
    before, after = (np.array([found[clip] for clip in both]) for found in (first, second))
    gains = 100.0 * (after.astype(float) - before)
    only_first, only_second = int((before & ~after).sum()), int((after & ~before).sum())
    speakers = [_speaker(one.clips[clip]) for clip in both]
    return Paired(
        split, model, len(both), (int(before.sum()), int(after.sum())), only_first, only_second,
        mcnemar(only_first, only_second), float(gains.mean()), mistakes.margin(gains, speakers),
    )  # fmt: skip


def _speaker(clip: Clip) -> str:
    return clip.speaker if mistakes.is_spoken(clip) else ""


# --- rows ---


def _settings(sections: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {
        f"{section}.{key}": json.dumps(value, ensure_ascii=False)
        for section, values in sections.items()
        for key, value in values.items()
        if (section, key) not in _PATHS
    }


def _accuracy(metrics: dict[str, Any]) -> dict[str, str]:
    return {
        f"{split}, {model}": (
            f"{_percent(figure['accuracy'], 2)} ({_percents(figure['accuracy_interval'])}), {figure['clips']:,} clips"
        )
        for split, figures in metrics["splits"].items()
        for model, figure in figures["models"].items()
    }


def _figures(metrics: dict[str, Any]) -> dict[str, str]:
    """Everything else that one would compare, as a person reads it."""
    rows = {"corpus": f"{metrics['data']['corpus']}, {metrics['data']['origin']}"}
    for split, figures in metrics["splits"].items():
        phone = figures["models"][DEFAULT_FILE]
        rows[f"{split}, calibration error"] = _percent(phone["expected_calibration_error"])
        for label, recall in phone["recall"].items():
            rows[f"{split}, recall of {label}"] = "no clips" if recall is None else _percent(recall)
    for group, figure in metrics["without_keywords"][DEFAULT_FILE].items():
        rows[f"{group}, taken for a keyword"] = (
            f"{_percent(figure['taken_for_keyword'])} ({_percents(figure['taken_for_keyword_interval'])})"
        )
    for stream, figure in metrics["streams"]["at_thresholds"].items():
        if figure["words"]:
            rows[f"{stream}, missed"] = f"{_percent(figure['missed'])} ({_percents(figure['missed_interval'])})"
        low, high = figure["false_alarms_per_hour_interval"]
        rows[f"{stream}, false alarms an hour"] = f"{figure['false_alarms_per_hour']:.1f} ({low:.1f} to {high:.1f})"
    for file, figure in metrics["files"].items():
        rows[f"{file}, size"] = f"{figure['bytes'] / 1e3:.0f} kB, gzip {figure['gzip_bytes'] / 1e3:.0f} kB"
        rows[f"{file}, one window"] = f"{figure['latency_ms']:.2f} ms"
    return rows


def _percents(interval: list[float]) -> str:
    return "{:.1f} to {:.1f} %".format(*(100 * share for share in interval))


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def _beside(first: dict[str, str], second: dict[str, str]) -> list[Row]:
    """What stands in either, in order; nothing where one lacks it."""
    return [(what, first.get(what, ""), second.get(what, "")) for what in dict.fromkeys([*first, *second])]


def _different(first: dict[str, str], second: dict[str, str]) -> list[Row]:
    return [row for row in _beside(first, second) if row[1] != row[2]]


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table | Text:
    if not rows:
        return Text(f"{title}: none")
    view = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        view.add_column(column, overflow="fold", justify="left" if number == 0 else "right")
    for row in rows:
        view.add_row(*map(Text, row))  # a folder or a label may hold what would be markup
    return view
