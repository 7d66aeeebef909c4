"""A list of words alone, tested on people: the recipe as it is, and with one thing changed for each file in `changes`.

Run `python -m benchmarks.own_words BUILD`, where BUILD is one of recordings of people: its keywords are the list, its
validation split chooses. Each finished run leaves a file in `benchmarks/results/own_words`; runs that have one are not
made again. Ctrl-C ends it at any time, and the same command goes on. Without BUILD it only shows the tables of the
files.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks import trainings, views
from benchmarks.changes import AS_IT_IS, Run
from benchmarks.own_words import runs, tables
from benchmarks.own_words.runs import NAMES
from benchmarks.own_words.tables import Results
from benchmarks.trainings import Build, open_build, read_comparable, read_results
from pipeline.errors import PipelineError

RESULTS = Path(__file__).parents[1] / "results" / "own_words"

log = logging.getLogger("pipeline.own_words")


@click.command()
@click.argument("build", required=False, type=click.Path(path_type=Path))
@click.option("--only", "names", multiple=True, type=click.Choice(NAMES), help="This change; give it for each.")
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(0), help="This seed of the training instead.")
@click.option("--markdown", is_flag=True, help="The tables for docs/own-words.md.")
def main(build: Path | None, names: tuple[str, ...], seeds: tuple[int, ...], markdown: bool) -> None:
    """Train on synthetic voices what isn't trained yet, and show the tables of all finished runs."""
    trainings.show_progress()
    try:
        results = make_all(open_build(build), names or NAMES, seeds) if build else read_comparable(RESULTS, Run)
    except PipelineError as error:
        raise click.ClickException(str(error)) from None
    if markdown:
        click.echo(tables.markdown(results))
    else:
        views.show(tables.tables(results))


def make_all(build: Build, names: Sequence[str], seeds: Sequence[int]) -> Results:
    """Make every run that is asked for and has no file; all results that are of this build."""
    asked = planned(build, names, seeds or [runs.as_it_is(build).train.seed])
    results = read_of(build)
    missing = [run for run in asked if run not in results]
    while missing:
        run, *missing = missing
        log.info("run %d of %d: %s", len(asked) - len(missing), len(asked), run)
        results[run] = runs.make(run, build, RESULTS)
        folder = runs.features_of(run, build)
        if folder not in (runs.features_of(other, build) for other in missing):  # many would fill a disk
            shutil.rmtree(folder)
    return results


def planned(build: Build, names: Sequence[str], seeds: Sequence[int]) -> list[Run]:
    """All seeds of a change, then those of the next; changes that the recipe has anyway are left out."""
    plain = runs.as_it_is(build)
    real = [name for name in names if name == AS_IT_IS or runs.changed(name, build) != plain]
    return [Run(name, seed) for name in real for seed in seeds]


def read_of(build: Build) -> dict[Run, trainings.Result]:
    """Results that are of this build and of today's changes."""
    known = {run: result for run, result in read_results(RESULTS, Run).items() if run.change in NAMES}
    return trainings.of_today(known, lambda run: runs.inputs_of(run, build))


if __name__ == "__main__":
    main()
