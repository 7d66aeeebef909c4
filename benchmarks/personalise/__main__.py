"""What a speaker that no training has heard gains by one take of each word, and what everyone else loses.

Run `python -m benchmarks.personalise BUILD`: it takes the clips, the features and the network of a whole build, and
every speaker of its testing split with at least three takes of every word. Each finished run leaves a file in
`benchmarks/results/personalise`; runs that have one are not made again. Ctrl-C ends it at any time, and the same
command goes on. Without BUILD it only shows the table of the files.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks import trainings, views
from benchmarks.personalise import runs, tables
from benchmarks.personalise.runs import LEAST_TAKES, Run
from benchmarks.personalise.tables import Results
from benchmarks.trainings import Build, open_build, read_comparable, read_results
from pipeline import receipt
from pipeline.errors import PipelineError

RESULTS = Path(__file__).parents[1] / "results" / "personalise"

log = logging.getLogger("pipeline.personalise")


@click.command()
@click.argument("build", required=False, type=click.Path(path_type=Path))
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(0), help="This seed instead of the setting's.")
@click.option("--markdown", is_flag=True, help="The table for docs/own-words.md.")
def main(build: Path | None, seeds: tuple[int, ...], markdown: bool) -> None:
    """Personalise the network of BUILD for each speaker it wasn't done for yet, and show the table of all runs."""
    trainings.show_progress()
    try:
        results = make_all(open_build(build), seeds) if build else read_comparable(RESULTS, Run)
    except PipelineError as error:
        raise click.ClickException(str(error)) from None
    if markdown:
        click.echo(tables.markdown(results))
    else:
        views.show(tables.table(results))


def make_all(build: Build, seeds: Sequence[int]) -> Results:
    """Make every run that is asked for and has no file; all results that are of this build."""
    receipt.require(build.settings, train=build.folder / "train")
    asked = planned(build, seeds or [build.settings.personalise.seed])
    inputs = runs.inputs(build)
    results = trainings.of_today(read_results(RESULTS, Run), lambda run: inputs)
    for number, run in enumerate(asked, 1):
        if run not in results:
            log.info("run %d of %d: %s", number, len(asked), run)
            results[run] = runs.make(run, build, RESULTS)
    return results


def planned(build: Build, seeds: Sequence[int]) -> list[Run]:
    """All speakers with a seed, then with the next.

    Raises
    ------
    PipelineError
        If no speaker has takes enough.
    """
    speakers = runs.speakers(build)
    if not speakers:
        raise PipelineError(f"{build.folder}: no speaker of testing has {LEAST_TAKES} takes of every word")
    return [Run(speaker, seed) for seed in seeds for speaker in speakers]


if __name__ == "__main__":
    main()
