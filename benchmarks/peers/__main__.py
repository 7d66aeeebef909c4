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
from rich.console import Console

from benchmarks.peers import runs, tables
from benchmarks.peers.recipes import PEERS
from benchmarks.peers.runs import NAMES, OURS, OWN, PUBLISHED, SMALL, Build, Run
from benchmarks.peers.tables import Results
from pipeline.errors import PipelineError

RESULTS = Path(__file__).parents[1] / "results" / "peers"
SEEDS = (1, 2, 3)
ALWAYS_ALL_SEEDS = ((OURS, OURS), (SMALL, OURS))
BEST_PEERS = 2  # so many get all seeds too; the others one
ROWS = [*((name, OURS) for name in OWN), *((name, recipe) for name in PEERS for recipe in (PUBLISHED, OURS))]

Row = tuple[str, str]  # name of a network, and a recipe

log = logging.getLogger("pipeline.peers")


@click.command()
@click.argument("build", required=False, type=click.Path(path_type=Path))
@click.option("--only", "names", multiple=True, type=click.Choice(NAMES), help="This network; give it for each.")
@click.option("--recipe", "recipes", multiple=True, type=click.Choice((PUBLISHED, OURS)), help="By this recipe.")
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(0), help="This seed, whatever the others do.")
@click.option("--markdown", is_flag=True, help="The tables for docs/benchmarks.md.")
def main(
    build: Path | None, names: tuple[str, ...], recipes: tuple[str, ...], seeds: tuple[int, ...], markdown: bool
) -> None:
    """Train what isn't trained yet on the clips of BUILD, and show the tables of all finished runs."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("pipeline").setLevel(logging.INFO)
    rows = [(name, recipe) for name, recipe in ROWS if name in (names or NAMES) and recipe in (recipes or (recipe,))]
    if not rows:
        raise click.UsageError(f"no published recipe has: {', '.join(names)}")
    try:
        results = make_all(runs.open_build(build), rows, seeds) if build else read_all()
    except PipelineError as error:
        raise click.ClickException(str(error)) from None
    if markdown:
        click.echo(tables.markdown(results))
    else:  # folded to less, the table is not readable
        Console(width=max(200, Console().width)).print(tables.tables(results))


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
    """The seeds that are given, or all of them for ours, small and the best peers, and the first for the rest."""
    best = {*ALWAYS_ALL_SEEDS, *best_peers(results)}
    return [Run(*row, seed) for seed in seeds or SEEDS for row in rows if seeds or seed == SEEDS[0] or row in best]


def best_peers(results: Results) -> list[Row]:
    """The peers with the best validation accuracy, each by the recipe that suits it; none before all had a run."""
    first = {row: results.get(Run(*row, SEEDS[0])) for row in ROWS if row[0] in PEERS}
    accuracy = {row: result["validation_accuracy"] for row, result in first.items() if result}
    if len(accuracy) < len(first):
        return []
    own_best = [max([(name, PUBLISHED), (name, OURS)], key=lambda row: accuracy[row]) for name in PEERS]
    return sorted(own_best, key=lambda row: accuracy[row], reverse=True)[:BEST_PEERS]


def read_of(build: Build) -> Results:
    """Results that are of this build and of today's recipes; the others are left out, and made anew when asked for."""
    found = {run: result for run, result in _read_files().items() if run.name in NAMES}
    results = {run: result for run, result in found.items() if result["inputs"] == runs.inputs_of(run, build)}
    for run in sorted(map(str, found.keys() - results.keys())):
        log.info("%s.json is of other inputs: it is left out, and made anew when its turn comes", run)
    return results


def read_all() -> Results:
    """Every result, all of the same clips.

    Raises
    ------
    PipelineError
        If there is none, or if they are of different clips, or the seeds of a row of different settings.
    """
    results = _read_files()
    if not results:
        raise PipelineError(f"{RESULTS}: no finished runs; give BUILD, to make some")
    rows = {(run.name, run.recipe) for run in results}
    inputs = {(run.name, run.recipe, result["inputs"]["settings"]) for run, result in results.items()}
    if len({result["inputs"]["corpus"] for result in results.values()}) > 1 or len(inputs) > len(rows):
        raise PipelineError(f"{RESULTS}: runs that can't be compared; give BUILD, to remake those of other inputs")
    return results


def _read_files() -> Results:
    return dict(runs.read(path) for path in sorted(RESULTS.glob("*.json")))


if __name__ == "__main__":
    main()
