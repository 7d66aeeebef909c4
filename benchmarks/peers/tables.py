"""The table of finished runs, from their files alone: for a person, and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats
from rich.table import Table

from benchmarks.peers.runs import NAMES, OURS, PUBLISHED, Run

Results = Mapping[Run, dict[str, Any]]

LEFT = ("network", "recipe")  # the other columns are numbers
COLUMNS = (
    *LEFT, "seeds", "test accuracy", "95 % interval", "validation", "parameters", "float", "dynamic", "int8", "latency",
    "epochs × windows", "as published", "training",
)  # fmt: skip


def table(results: Results) -> Table:
    view = Table(title=about(results), title_justify="left")
    for column in COLUMNS:
        view.add_column(column, justify="left" if column in LEFT else "right", no_wrap=True)
    for row in rows(results):
        view.add_row(*row)
    return view


def markdown(results: Results) -> str:
    rules = ["---" if column in LEFT else "---:" for column in COLUMNS]
    lines = ["| " + " | ".join(row) + " |" for row in (COLUMNS, rules, *rows(results))]
    return "\n".join([about(results) + ":", "", *lines])


def about(results: Results) -> str:
    """What the figures are of; one thing, since runs on other clips are never in one table."""
    any_run = next(iter(results.values()))
    machines = " and ".join(sorted({result["cpu"] for result in results.values()}))
    clips = " and ".join(f"{count:,} for {split}" for split, count in any_run["clips"].items())
    return f"{len(any_run['labels'])} labels, clips: {clips}; times are of {machines}"


def rows(results: Results) -> list[list[str]]:
    """The cells of the table: a row for each network and recipe, over all its seeds."""
    order = [(name, recipe) for name in NAMES for recipe in (PUBLISHED, OURS)]
    seeds = {row: [result for run, result in results.items() if (run.name, run.recipe) == row] for row in order}
    return [_row(*row, of_row) for row, of_row in seeds.items() if of_row]


def _row(name: str, recipe: str, seeds: Sequence[dict[str, Any]]) -> list[str]:
    def mean(key: str) -> float:
        return float(np.mean([result[key] for result in seeds]))

    accuracies, one = [result["test_accuracy"] for result in seeds], seeds[0]
    spread = f" ± {100 * np.std(accuracies, ddof=1):.2f}" if len(seeds) > 1 else ""
    clips = one["clips"]["testing"]
    interval = scipy.stats.binomtest(round(mean("test_accuracy") * clips), clips).proportion_ci(method="wilson")
    return [
        name,
        recipe,
        str(len(seeds)),
        f"{100 * mean('test_accuracy'):.2f}{spread} %",
        f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %",
        f"{100 * mean('validation_accuracy'):.2f} %",
        f"{one['parameters']:,}",
        *(f"{one['bytes'][kind] / 1e3:.0f} kB" for kind in ("float", "dynamic", "int8")),
        f"{mean('latency_ms'):.2f} ms",
        f"{mean('epochs'):.0f} × {one['windows']:,}",
        "{:,} × {:,}".format(*one["published"]) if one["published"] else "",
        f"{mean('training_s'):.0f} s",
    ]
