"""The table of finished runs, from their files alone, for a person and as Markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from benchmarks import views
from benchmarks.personalise.runs import Run

Results = Mapping[Run, dict[str, Any]]
Counts = NDArray[np.float64]  # clips, right before, right after: (3,), of several speakers (speakers, 3)

LEFT = ("clips of",)  # the other columns are numbers
COLUMNS = (*LEFT, "clips", "before", "after", "points", "errors gone")
WHO = {"own": "the speakers, other takes", "others": "everyone else"}
RESAMPLED = 10_000
_SEED = 1


def table(results: Results) -> Table:
    """All that there is to show, for a terminal."""
    return views.table(about(results), COLUMNS, rows(results), LEFT)


def markdown(results: Results) -> str:
    """The same for docs/own-words.md."""
    return f"{about(results)}:\n\n{views.markdown(COLUMNS, rows(results), LEFT)}"


def about(results: Results) -> str:
    """What the figures are of."""
    speakers, seeds = {run.speaker for run in results}, sorted({run.seed for run in results})
    seconds = np.mean([result["seconds"] for result in results.values()])
    return (
        f"one take of each word learnt, for each of {len(speakers)} speakers, seeds {', '.join(map(str, seeds))}; "
        f"in brackets 95 % of {RESAMPLED:,} draws of speakers with replacement; a run took {seconds:,.0f} s on "
        f"{views.machines(results)}"
    )


def rows(results: Results) -> list[list[str]]:
    """The cells: a row for the speakers who were learnt, and one for everyone else."""
    return [_row(name, _by_speaker(results, who)) for who, name in WHO.items()]


def _row(name: str, counts: Counts) -> list[str]:
    return [
        name,
        f"{counts[:, 0].sum():,.0f}",
        _with_interval(counts, lambda sums: sums[1] / sums[0], "{:.1f}", " %"),
        _with_interval(counts, lambda sums: sums[2] / sums[0], "{:.1f}", " %"),
        _with_interval(counts, lambda sums: (sums[2] - sums[1]) / sums[0], "{:+.1f}", ""),
        _with_interval(counts, errors_gone, "{:.0f}", " %"),
    ]


def errors_gone(counts: Counts) -> float:
    """Share of the errors before that are fewer after; no errors before: nothing to say."""
    clips, before, after = counts
    return (after - before) / (clips - before) if clips > before else np.nan


def _by_speaker(results: Results, who: str) -> Counts:
    """Counts `(speakers, 3)`, those of several seeds added up."""
    counts: defaultdict[str, Counts] = defaultdict(lambda: np.zeros(3))
    for run, result in results.items():
        counts[run.speaker] += [result[who][name] for name in ("clips", "before", "after")]
    return np.array([counts[speaker] for speaker in sorted(counts)])


def _with_interval(counts: Counts, figure: Callable[[Counts], float], form: str, unit: str) -> str:
    """A figure of all clips taken together, in percent, with its bootstrap interval over speakers (Efron 1979)."""
    generator = np.random.default_rng(_SEED)
    drawn = generator.integers(len(counts), size=(RESAMPLED, len(counts)))
    low, high = np.nanpercentile([figure(sums) for sums in counts[drawn].sum(axis=1)], (2.5, 97.5))
    said = [form.format(100 * value) for value in (figure(counts.sum(axis=0)), low, high)]
    return f"{said[0]}{unit} ({said[1]} to {said[2]})"
