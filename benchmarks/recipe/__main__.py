"""Our network by the recipe of a build, and by the same recipe with one thing changed, for each change in `changes`.

Run `python -m benchmarks.recipe BUILD`: it takes the clips, the features and the settings of a whole build, and looks
at validation only. Each finished run leaves a file in `benchmarks/results/recipe`; runs that have one are not made
again. Ctrl-C ends it at any time, and the same command goes on. Without BUILD it only shows the table of the files.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks import trainings, views
from benchmarks.changes import AS_IT_IS, Run
from benchmarks.recipe import runs, tables
from benchmarks.recipe.runs import NAMES
from benchmarks.recipe.tables import Results
from benchmarks.trainings import Build, open_build, read_comparable, read_results
from pipeline.errors import PipelineError

RESULTS = Path(__file__).parents[1] / "results" / "recipe"

log = logging.getLogger("pipeline.recipe")


@click.command()
@click.argument("build", required=False, type=click.Path(path_type=Path))
@click.option("--only", "names", multiple=True, type=click.Choice(NAMES), help="This change; give it for each.")
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(0), help="This seed instead of the build's own.")
@click.option("--markdown", is_flag=True, help="The table for docs/recipe.md.")
def main(build: Path | None, names: tuple[str, ...], seeds: tuple[int, ...], markdown: bool) -> None:
    """Train what isn't trained yet on the clips of BUILD, and show the table of all finished runs."""
    trainings.show_progress()
    try:
        results = make_all(open_build(build), names or NAMES, seeds) if build else read_comparable(RESULTS, Run)
    except PipelineError as error:
        raise click.ClickException(str(error)) from None
    if markdown:
        click.echo(tables.markdown(results))
    else:
        views.show(tables.table(results))


def make_all(build: Build, names: Sequence[str], seeds: Sequence[int]) -> Results:
    """Make every run that is asked for and has no file; all results that are of this build."""
    asked = planned(build, names, seeds or [build.settings.train.seed])
    results = read_of(build)
    for number, run in enumerate(asked, 1):
        if run not in results:
            log.info("run %d of %d: %s", number, len(asked), run)
            results[run] = runs.make(run, build, RESULTS)
        if all(other in results for other in asked if other.change == run.change):
            runs.forget_features(run.change, build)
    return results


def planned(build: Build, names: Sequence[str], seeds: Sequence[int]) -> list[Run]:
    """All seeds of a change, then those of the next; changes that the build's recipe has anyway are left out."""
    real = [name for name in names if name == AS_IT_IS or runs.changed(name, build.settings) != build.settings]
    for name in (name for name in names if name not in real):
        log.info("%s is what the recipe of %s has: it is left out", name, build.folder)
    return [Run(name, seed) for name in real for seed in seeds]


def read_of(build: Build) -> dict[Run, trainings.Result]:
    """Results that are of this build and of today's changes."""
    known = {run: result for run, result in read_results(RESULTS, Run).items() if run.change in NAMES}
    return trainings.of_today(known, lambda run: runs.inputs_of(run, build))


if __name__ == "__main__":
    main()
