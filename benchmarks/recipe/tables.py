"""The table of finished runs, from their files alone, for a person and as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks import views
from benchmarks.changes import AS_IT_IS, Run
from benchmarks.recipe import harder, heard

Results = Mapping[Run, dict[str, Any]]
Seeds = Mapping[int, dict[str, Any]]  # results of one change

LEFT = ("change", "what it changes")  # the other columns are numbers
COLUMNS = (
    *LEFT, "seeds", "accuracy", "points", "harder", "points", "cross-entropy", "words missed",
    "parameters", "epochs × windows", "training",
)  # fmt: skip
_FOLDED = 36  # characters of what a change changes, in the terminal


def table(results: Results) -> Table:
    """All that there is to show, for a terminal."""
    folded = [[change, _fold(changes), *cells] for change, changes, *cells in rows(results)]
    return views.table(about(results), COLUMNS, folded, LEFT)


def markdown(results: Results) -> str:
    """The same for docs/recipe.md."""
    return f"{about(results)}:\n\n{views.markdown(COLUMNS, rows(results), LEFT)}"


def about(results: Results) -> str:
    """What the figures are of; one thing, since runs on other clips are never in one table."""
    one = next(iter(results.values()))
    counts = f"validation: {one['clips']:,} clips, harder: {harder.COPIES} changed copies of each"
    missed = f"missed: {', '.join(one['missed'])}, at {heard.FALSE_ALARMS_PER_HOUR:g} false alarms an hour"
    return (
        f"{counts}; points are of accuracy, over the recipe as it is; {missed}; times are of {views.machines(results)}"
    )


def rows(results: Results) -> list[list[str]]:
    """The cells: a row for each change, over all its seeds, the best first; what can't be compared comes last."""
    plain = _seeds(results, AS_IT_IS)
    changes = {change: _seeds(results, change) for change in sorted({run.change for run in results})}
    gains = {change: _gains(seeds, plain, "harder") for change, seeds in changes.items()}
    order = sorted(changes, key=lambda change: (-float(np.mean(gains[change] or [-np.inf])), change != AS_IT_IS))
    return [_row(change, changes[change], plain) for change in order]


def _row(change: str, seeds: Seeds, plain: Seeds) -> list[str]:
    one = next(iter(seeds.values()))
    accuracies = []
    for clips in ("validation", "harder"):
        gains = [] if change == AS_IT_IS else _gains(seeds, plain, clips)
        points = f"{np.mean(gains):+.2f}{_spread(gains)}" if gains else ""
        accuracies += [_accuracy(seeds, clips), points]
    return [
        change.replace("_", " ") if change == AS_IT_IS else change,
        ", ".join(one["changes"]),
        str(len(seeds)),
        *accuracies,
        " / ".join(f"{_cross_entropy(seeds, clips):.3f}" for clips in ("validation", "harder")),
        " / ".join(f"{100 * _missed(seeds, stream):.1f}" for stream in one["missed"]) + " %",
        f"{one['parameters']:,}",
        f"{np.mean([result['epochs'] for result in seeds.values()]):.0f} × {one['windows']:,}",
        f"{np.mean([result['training_s'] for result in seeds.values()]):,.0f} s",
    ]


def _accuracy(seeds: Seeds, clips: str) -> str:
    percent = [100 * result[clips]["accuracy"] for result in seeds.values()]
    return f"{np.mean(percent):.2f}{_spread(percent)} %"


def _spread(percent: Sequence[float]) -> str:
    return f" ± {np.std(percent, ddof=1):.2f}" if len(percent) > 1 else ""


def _fold(changes: str) -> str:
    """Broken between settings only."""
    unbroken = changes.replace(" ", "\u00a0").replace(",\u00a0", ", ")
    return textwrap.fill(unbroken, _FOLDED)


def _gains(seeds: Seeds, plain: Seeds, clips: str) -> list[float]:
    """Points of accuracy over the recipe as it is, for each seed that both have."""
    both = sorted(seeds.keys() & plain.keys())
    return [100 * (seeds[seed][clips]["accuracy"] - plain[seed][clips]["accuracy"]) for seed in both]


def _seeds(results: Results, change: str) -> dict[int, dict[str, Any]]:
    return {run.seed: result for run, result in results.items() if run.change == change}


def _cross_entropy(seeds: Seeds, clips: str) -> float:
    return float(np.mean([result[clips]["cross_entropy"] for result in seeds.values()]))


def _missed(seeds: Seeds, stream: str) -> float:
    return float(np.mean([result["missed"][stream] for result in seeds.values()]))
