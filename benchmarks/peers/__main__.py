"""Our network and the peers on the same clips: each peer by its paper's recipe and by ours.

Run `python -m benchmarks.peers BUILD`: it takes the clips, the features and the settings of a whole build. Each
finished run leaves a file in `benchmarks/results/peers`; runs that have one are not made again. Ctrl-C ends it at any
time, and the same command goes on. Without BUILD it only shows the tables of the files.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks import trainings, views
from benchmarks.peers import runs, speed, tables
from benchmarks.peers.recipes import PEERS
from benchmarks.peers.runs import NAMES, OURS, PUBLISHED, ROWS, Row, Run
from benchmarks.peers.tables import Results
from benchmarks.trainings import Build, open_build, read_comparable, read_results
from pipeline.errors import PipelineError

RESULTS = Path(__file__).parents[1] / "results" / "peers"
SEEDS = (1, 2, 3)
BEST_PEERS = 2  # so many get all seeds too; the others one

log = logging.getLogger("pipeline.peers")


@click.command()
@click.argument("build", required=False, type=click.Path(path_type=Path))
@click.option("--only", "names", multiple=True, type=click.Choice(NAMES), help="This network; give it for each.")
@click.option("--recipe", "recipes", multiple=True, type=click.Choice((PUBLISHED, OURS)), help="By this recipe.")
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(0), help="This seed for all; give it for each.")
@click.option("--markdown", is_flag=True, help="The tables for docs/benchmarks.md.")
def main(
    build: Path | None, names: tuple[str, ...], recipes: tuple[str, ...], seeds: tuple[int, ...], markdown: bool
) -> None:
    """Train what isn't trained yet on the clips of BUILD, and show the tables of all finished runs."""
    trainings.show_progress()
    rows = [(name, recipe) for name, recipe in ROWS if name in (names or NAMES) and recipe in (recipes or (recipe,))]
    if not rows:
        raise click.UsageError(f"no published recipe has: {', '.join(names)}")
    try:
        made = open_build(build) if build else None
        results = make_all(made, rows, seeds) if made else read_comparable(RESULTS, Run)
        # Not after a part: another command may still be training.
        times = speed.of_build(made, ROWS) if made and rows == ROWS else speed.read()
    except PipelineError as error:
        raise click.ClickException(str(error)) from None
    if markdown:
        click.echo(tables.markdown(results, times))
    else:
        views.show(tables.tables(results, times))


def make_all(build: Build, rows: Sequence[Row], seeds: Sequence[int]) -> Results:
    """Make every run that is asked for and has no file; all results that are of this build."""
    results = read_of(build)
    while True:
        asked = planned(rows, seeds, results)
        missing = [run for run in asked if run not in results]
        now = f"; now {missing[0]}" if missing else ""
        log.info("%d of %d runs are done%s", len(asked) - len(missing), len(asked), now)
        if not missing:
            return results
        results = {**results, missing[0]: runs.make(missing[0], build, RESULTS)}


def planned(rows: Sequence[Row], seeds: Sequence[int], results: Results) -> list[Run]:
    """The seeds that are given, or all of them for ours and the best peers, and the first for the rest."""
    all_seeds = {(OURS, OURS), *best_peers(results)}
    return [Run(*row, seed) for seed in seeds or SEEDS for row in rows if seeds or seed == SEEDS[0] or row in all_seeds]


def best_peers(results: Results) -> list[Row]:
    """The peers with the best validation accuracy, each by the recipe that suits it; none before all had a run."""
    first = {row: results.get(Run(*row, SEEDS[0])) for row in ROWS if row[0] in PEERS}
    accuracy = {row: result["validation_accuracy"] for row, result in first.items() if result}
    if len(accuracy) < len(first):
        return []
    own_best = [max([(name, PUBLISHED), (name, OURS)], key=lambda row: accuracy[row]) for name in PEERS]
    return sorted(own_best, key=lambda row: accuracy[row], reverse=True)[:BEST_PEERS]


def read_of(build: Build) -> Results:
    """Results that are of this build and of today's recipes."""
    known = {run: result for run, result in read_results(RESULTS, Run).items() if run.name in NAMES}
    return trainings.of_today(known, lambda run: runs.inputs_of(run, build))


if __name__ == "__main__":
    main()
