"""What everything takes, each figure with its ratio to a peer in the same run.

Run `python -m benchmarks.speed`: features, growth, network, profile and program, a table and a JSON beside it. The
machine should have nothing else to do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from benchmarks import views
from benchmarks.machine import cores, cpu
from benchmarks.speed.figures import Figure

RESULT = Path(__file__).parents[1] / "results" / "speed.json"
PARTS = ("features", "growth", "network", "profile", "program")
COLUMNS = ("what", "takes", "times that of", "which is")
LEFT = ("what", "which is")  # the other columns are numbers
_ONE_THREAD = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA", "VECLIB_MAXIMUM")  # read as libraries are loaded


@click.command()
@click.argument(
    "source", required=False, envvar="SOURCE", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--only", "parts", multiple=True, type=click.Choice(PARTS), help="This part; give it for each.")
@click.option("--clips", type=click.IntRange(1), default=2000, show_default=True, help="From all over SOURCE, at most.")
@click.option("--growth", "base", type=click.IntRange(64), default=2000, show_default=True, help="Clips to grow from.")
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True, help="In turn; the median counts.")
@click.option("--json", "out", type=click.Path(dir_okay=False, path_type=Path), default=RESULT, show_default=True)
@click.option("--markdown", is_flag=True, help="The table for docs/performance.md.")
def main(
    source: Path | None, parts: Sequence[str], clips: int, base: int, repeats: int, out: Path, markdown: bool
) -> None:
    """Measure, on clips of SOURCE or on made ones; what `--only` leaves out stays in the JSON as it was."""
    asked: dict[str, dict[str, object]] = {
        "features": {"source": source and str(source), "clips": clips, "repeats": repeats},
        "growth": {"base_clips": base},
        "network": {"repeats": repeats},
        "profile": {"repeats": repeats},
        "program": {"repeats": repeats},
    }
    known = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    for part in parts or PARTS:
        known[part] = {"cpu": cpu(), "cores": cores(), "figures": _measure(part, asked[part])}
    out.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    shown = {part: known[part] for part in PARTS if part in known}
    cells = [_cells(Figure(**one)) for result in shown.values() for one in result["figures"]]
    if markdown:
        click.echo(f"{views.machines(shown)}\n\n{views.markdown(COLUMNS, cells, LEFT)}")
    else:
        views.show(views.table(views.machines(shown), COLUMNS, cells, LEFT))


def _measure(part: str, arguments: Mapping[str, object]) -> list[dict[str, object]]:
    """The figures of a part, in a process of its own: what a library has done in one part is nothing to the next."""
    threads = {} if part in ("growth", "program") else {f"{name}_NUM_THREADS": "1" for name in _ONE_THREAD}
    command = [sys.executable, "-m", f"benchmarks.speed.{part}", json.dumps(arguments)]
    done = subprocess.run(command, env=os.environ | threads, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise click.ClickException(f"{part}: it broke off, see above")
    figures: list[dict[str, object]] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _cells(figure: Figure) -> list[str]:
    ratio = f"{figure.ratio:.3g}" if figure.to else ""
    return [figure.what, f"{figure.value:.3g} {figure.unit}", ratio, figure.to]


if __name__ == "__main__":
    main()
