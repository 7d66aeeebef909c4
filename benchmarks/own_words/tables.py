"""The tables of finished runs, from their files alone, for a person and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Group

from benchmarks import views
from benchmarks.changes import AS_IT_IS, Run
from pipeline.corpora.mistakes import margin

Results = Mapping[Run, dict[str, Any]]
Seeds = Mapping[int, dict[str, Any]]  # results of one change

SHARES = {
    "accuracy": "accuracy",
    "keywords_alone": "keywords alone",
    "keywords_taken_for_unknown": "keywords taken for unknown",
    "unknown_recall": "unknown recall",
    "silence_recall": "silence recall",
}
CHANGED = ("change", "what it changes")  # the other columns are numbers
CHANGES = (*CHANGED, "seeds", "accuracy", "points", *list(SHARES.values())[1:])
TAKES = ("takes of each word", "seeds", "accuracy", "95 % interval", *list(SHARES.values())[1:])


def tables(results: Results) -> Group:
    """All that there is to show, for a terminal."""
    shown = [views.table(_about(results), CHANGES, change_rows(results), CHANGED)]
    if plain := _seeds(results, AS_IT_IS):
        shown.append(views.table(_about_takes(plain), TAKES, take_rows(plain), ()))
    return Group(*shown)


def markdown(results: Results) -> str:
    """The same for docs/own-words.md."""
    parts = [f"{_about(results)}:", views.markdown(CHANGES, change_rows(results), CHANGED)]
    if plain := _seeds(results, AS_IT_IS):
        parts += [f"{_about_takes(plain)}:", views.markdown(TAKES, take_rows(plain), ())]
    return "\n\n".join(parts)


def change_rows(results: Results) -> list[list[str]]:
    """The cells of the validation split: a row for each change, over all its seeds, the best first."""
    plain = _seeds(results, AS_IT_IS)
    changes = {change: _seeds(results, change) for change in {run.change for run in results}}
    rows = {change: _validation(seeds) for change, seeds in changes.items()}
    order = sorted(changes, key=lambda change: (-np.mean([one["accuracy"] for one in rows[change]]), change))
    return [_change_row(change, changes[change], plain) for change in order]


def take_rows(plain: Seeds) -> list[list[str]]:
    """The cells of the testing split: a row for each number of takes, over all seeds."""
    counts = list(next(iter(plain.values()))["testing"])
    return [_take_row(count, [result["testing"][count] for result in plain.values()]) for count in counts]


def _change_row(change: str, seeds: Seeds, plain: Seeds) -> list[str]:
    figures, both = _validation(seeds), sorted(seeds.keys() & plain.keys()) if change != AS_IT_IS else []
    gains = [seeds[seed]["validation"]["accuracy"] - plain[seed]["validation"]["accuracy"] for seed in both]
    one = next(iter(seeds.values()))
    return [
        change.replace("_", " ") if change == AS_IT_IS else change,
        ", ".join(one["changes"]),
        str(len(seeds)),
        _share(figures, "accuracy"),
        f"{100 * np.mean(gains):+.1f}" if gains else "",
        *(_share(figures, name) for name in list(SHARES)[1:]),
    ]


def _take_row(count: str, figures: Sequence[dict[str, Any]]) -> list[str]:
    one = figures[0]
    wrong = np.bincount([n for figure in figures for n in figure["wrong"]], minlength=one["clips"]) / len(figures)
    right, off = 1 - float(wrong.mean()), margin(wrong, one["speakers"])
    return [
        count,
        str(len(figures)),
        _share(figures, "accuracy"),
        f"{100 * max(right - off, 0):.1f} to {100 * min(right + off, 1):.1f} %",
        *(_share(figures, name) for name in list(SHARES)[1:]),
    ]


def _about(results: Results) -> str:
    clips = next(iter(results.values()))["validation"]["clips"]
    return f"learnt from synthetic voices, validation split of people: {clips:,} clips; points over the recipe as it is"


def _about_takes(plain: Seeds) -> str:
    clips = next(iter(plain.values()))["testing"]["0"]["clips"]
    return f"as it is, and trained on with takes of other people, testing split of people: {clips:,} clips"


def _share(figures: Sequence[dict[str, Any]], name: str) -> str:
    percent = [100 * figure[name] for figure in figures]
    spread = f" ± {np.std(percent, ddof=1):.1f}" if len(percent) > 1 else ""
    return f"{np.mean(percent):.1f}{spread} %"


def _validation(seeds: Seeds) -> list[dict[str, Any]]:
    return [result["validation"] for result in seeds.values()]


def _seeds(results: Results, change: str) -> dict[int, dict[str, Any]]:
    return {run.seed: result for run, result in results.items() if run.change == change}
