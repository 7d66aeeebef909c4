"""Why an LSTM: networks of equal size trained on a task with a known gap and on the corpus, as numbers and pictures.

`memory.json` holds every number, and the pictures are made from it alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pipeline import receipt
from pipeline.config import Settings
from pipeline.corpora import manifest, shards
from pipeline.network import memory

FIGURES = "memory.json"
UNFINISHED = "unfinished"  # a file for each training that is done

Record = dict[str, Any]  # a training and what came of it, as in `memory.json`


@dataclass(frozen=True)
class Run:
    """One training."""

    kind: str
    gap_steps: int | None  # None: the corpus
    is_clipped: bool
    seed: int

    @property
    def name(self) -> str:
        task = "corpus" if self.gap_steps is None else f"gap-{self.gap_steps}"
        return f"{self.kind}-{task}-{'clipped' if self.is_clipped else 'unclipped'}-{self.seed}.json"


def run(settings: Settings, features: Path, out: Path) -> Table:
    """Train what isn't trained yet, each in a process beside others; then write the numbers and draw them."""
    inputs = receipt.require(settings, features=features)
    with receipt.making(out, "memory", settings, inputs) as work:
        unfinished = work / UNFINISHED
        unfinished.mkdir(exist_ok=True)
        runs = plan(settings)
        _train_all([one for one in runs if not (unfinished / one.name).exists()], settings, features, unfinished)
        records = [json.loads((unfinished / one.name).read_text(encoding="utf-8")) for one in runs]
        figures = {
            "corpus": _corpus(settings, features),
            "cues": memory.CUES,
            "clip_norm": settings.memory.clip_norm,
            "runs": records,
        }
        (work / FIGURES).write_text(json.dumps(figures, allow_nan=False) + "\n", encoding="utf-8")
        draw(work)
        shutil.rmtree(unfinished)
    return table(figures)


def plan(settings: Settings) -> list[Run]:
    """Every training: each kind of network, on each task, clipped and not, from each seed."""
    wanted = settings.memory
    return [
        Run(kind, gap_steps, is_clipped, wanted.seed + number)
        for number in range(wanted.seeds)
        for gap_steps in (None, *wanted.gap_steps)
        for kind in memory.KINDS
        for is_clipped in (True, False)
    ]


def _train_all(pending: Sequence[Run], settings: Settings, features: Path, unfinished: Path) -> None:
    if not pending:
        return
    workers = min(joblib.cpu_count(), len(pending))
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")
    done = parallel(joblib.delayed(_train)(one, settings, features) for one in pending)
    for name, record in track(done, "trainings", total=len(pending), console=Console(stderr=True)):
        part = (unfinished / name).with_suffix(".part")
        part.write_text(json.dumps(record, allow_nan=False), encoding="utf-8")
        part.rename(unfinished / name)  # whole or not at all


def _train(one: Run, settings: Settings, features: Path) -> tuple[str, Record]:
    if one.gap_steps is None:
        task, updates = _clips(settings, features), settings.memory.corpus_updates
    else:
        task, updates = memory.gap_task(one.kind, one.gap_steps, one.seed), settings.memory.gap_updates
    clip_norm = settings.memory.clip_norm if one.is_clipped else None
    outcome = memory.train(one.kind, task, settings.memory, updates=updates, clip_norm=clip_norm, seed=one.seed)
    return one.name, _short({**asdict(one), **asdict(outcome)})


@lru_cache(maxsize=1)
def _clips(settings: Settings, features: Path) -> memory.Task:
    """Clips as they are, without copies, normalised; accuracy is of the validation split."""
    mean, std = shards.read_normaliser(features)

    def normalised(split: str) -> memory.Batch:
        mfcc, index = shards.read(features / split).originals()
        return (mfcc - mean) / std, index[:, shards.LABEL]

    labels = manifest.read_labels(features)
    return memory.clips_task(normalised(manifest.TRAINING), normalised(manifest.VALIDATION), len(labels))


def _corpus(settings: Settings, features: Path) -> dict[str, Any]:
    """What the clips are, by which a picture says what it is of."""
    training, validation = (
        int(np.sum(shards.read(features / split).index[:, shards.COPY] == 0))
        for split in (manifest.TRAINING, manifest.VALIDATION)
    )
    labels = manifest.read_labels(features)
    return {"training_clips": training, "validation_clips": validation, "labels": labels,
            "hop_ms": settings.features.hop_ms, "kind": settings.corpus.kind}  # fmt: skip


def _short(value: Any) -> Any:
    """Numbers of four digits, so that the file stays small."""
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_short(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def chosen(figures: Record, **wanted: Any) -> list[Record]:
    """Trainings of one kind, task and so on, one from each seed."""
    return [record for record in figures["runs"] if wanted.items() <= record.items()]


def accuracy(records: Sequence[Record]) -> list[float]:
    return [record["accuracy"] for record in records]


def reach(records: Sequence[Record], when: str) -> list[float]:
    """The median over the seeds, by the distance from the end."""
    return np.median([record[f"reach_{when}"] for record in records], axis=0).tolist()


def gaps(figures: Record) -> list[int]:
    return sorted({record["gap_steps"] for record in figures["runs"]} - {None})


def table(figures: Record) -> Table:
    """What it comes to: accuracy in the mean over seeds, and how much of an error at the end reaches the cue."""
    longest = gaps(figures)[-1]
    view = Table(title="accuracy with a clipped gradient, without in brackets", title_justify="left")
    view.add_column("network")
    for column in (
        "parameters",
        "corpus",
        *(f"gap {gap}" for gap in gaps(figures)),
        f"error felt {longest} steps before",
    ):
        view.add_column(column, justify="right")
    for kind, entry in memory.KINDS.items():
        cells = []
        for task in (None, *gaps(figures)):
            clipped, not_clipped = (
                np.mean(accuracy(chosen(figures, kind=kind, gap_steps=task, is_clipped=is_clipped)))
                for is_clipped in (True, False)
            )
            cells.append(f"{clipped:.0%} ({not_clipped:.0%})")
        last = chosen(figures, kind=kind, gap_steps=longest, is_clipped=True)
        felt = " → ".join(f"{reach(last, when)[longest]:.0e}" for when in ("before", "after"))
        view.add_row(entry.title, f"{last[0]['parameters']:,}", *cells, felt)
    return view


# --- the pictures ---

# Okabe and Ito's colours, which colour-blind people tell apart, and lines that black and white tell apart.
LOOKS: dict[str, dict[str, Any]] = {
    "rnn": {"color": "#D55E00", "linestyle": "-", "marker": "o"},
    "rnn_large": {"color": "#CC79A7", "linestyle": "--", "marker": "v"},
    "gru": {"color": "#009E73", "linestyle": "-", "marker": "s"},
    "lstm": {"color": "#0072B2", "linestyle": "-", "marker": "D"},
    "bilstm": {"color": "#56B4E9", "linestyle": "--", "marker": "^"},
    "lstm_bias_1": {"color": "#000000", "linestyle": ":", "marker": "x"},
}

LEAST = 1e-16  # what a picture shows of a vanishing gradient


def draw(folder: Path) -> None:
    """Make the pictures beside `memory.json`, from nothing else."""
    figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
    with _picture(folder / "accuracy.png", "Does it know the cue after the gap?") as (left, right):
        _draw_accuracy(left, figures, is_clipped=False)
        _draw_accuracy(right, figures, is_clipped=True)
    longest = gaps(figures)[-1]
    with _picture(folder / "gradient_gap.png", "How much of an error at the end is felt before?") as both:
        for axes, when in zip(both, ("before", "after"), strict=True):
            _draw_reach(axes, figures, longest, when)
            axes.set_xlabel("steps before the end")
            axes.axvspan(longest, longest + memory.CUE_STEPS - 1, color="#00000022")
            axes.annotate("cue", (longest, 1.01), xycoords=("data", "axes fraction"), color="#666666", fontsize=9)
    with _picture(folder / "gradient_corpus.png", "How much of an error at the end of a clip is felt before?") as both:
        for axes, when in zip(both, ("before", "after"), strict=True):
            _draw_reach(axes, figures, None, when, figures["corpus"]["hop_ms"])
            axes.set_xlabel("ms before the end of the clip")
    with _picture(folder / "clipping.png", "The gradient of each update") as (left, right):
        _draw_norms(left, figures, is_clipped=False)
        _draw_norms(right, figures, is_clipped=True)


@contextmanager
def _picture(path: Path, title: str) -> Iterator[Any]:
    """Two axes side by side that share their scales."""
    figure = Figure(figsize=(11, 4.4), dpi=110, layout="constrained")
    figure.suptitle(title)
    both = figure.subplots(1, 2, sharex=True, sharey=True)
    yield both
    both[1].tick_params(labelleft=True)
    figure.legend(*both[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.savefig(path, metadata={"Software": None})


def _clipping(is_clipped: bool) -> str:
    return "gradient clipped by its norm" if is_clipped else "gradient as it is"


def _draw_accuracy(axes: Axes, figures: Record, *, is_clipped: bool) -> None:
    """The mean over the seeds, and each of them as a small point."""
    steps = gaps(figures)
    for kind, look in LOOKS.items():
        of_gap = [accuracy(chosen(figures, kind=kind, gap_steps=gap, is_clipped=is_clipped)) for gap in steps]
        means = [100 * float(np.mean(values)) for values in of_gap]
        axes.plot(steps, means, **look, label=memory.KINDS[kind].title)
        points = {**look, "linestyle": "", "markersize": 3, "alpha": 0.6}
        axes.plot(np.repeat(steps, len(of_gap[0])), 100 * np.ravel(of_gap), **points)
    chance = 100 / figures["cues"]
    axes.axhline(chance, color="#888888", linewidth=1)
    axes.annotate("chance", (steps[0], chance), (0, -11), textcoords="offset points", color="#666666", fontsize=9)
    axes.set(xscale="log", ylim=(0, 103), title=_clipping(is_clipped))
    axes.set(xlabel="gap between cue and answer, steps", ylabel="held-out accuracy, %")
    axes.set_xticks(steps, [str(gap) for gap in steps])
    axes.minorticks_off()


def _draw_reach(axes: Axes, figures: Record, gap_steps: int | None, when: str, step: int = 1) -> None:
    """Of the clipped trainings."""
    for kind, look in LOOKS.items():
        felt = reach(chosen(figures, kind=kind, gap_steps=gap_steps, is_clipped=True), when)
        if gap_steps is not None:
            felt = felt[: gap_steps + memory.CUE_STEPS]  # a network that reads both ways has further steps before
        every = max(len(felt) // 8, 1)
        axes.plot(np.arange(len(felt)) * step, felt, **look, markevery=every, label=memory.KINDS[kind].title)
    axes.set(yscale="log", title=f"{when} training", ylabel="‖∂L/∂s‖, 1 at the end")
    axes.set_ylim(bottom=max(axes.get_ylim()[0], LEAST))
    axes.axhline(1, color="#888888", linewidth=1)


def _draw_norms(axes: Axes, figures: Record, *, is_clipped: bool) -> None:
    """Of one seed, at the gap where clipping makes the greatest difference to the large weights."""

    def gained(gap: int) -> float:
        clipped, not_clipped = (
            chosen(figures, kind="rnn_large", gap_steps=gap, is_clipped=is_) for is_ in (True, False)
        )
        return float(np.mean(accuracy(clipped)) - np.mean(accuracy(not_clipped)))

    gap, kinds = max(gaps(figures), key=gained), ("rnn", "rnn_large", "lstm")
    for kind in kinds:
        norms = chosen(figures, kind=kind, gap_steps=gap, is_clipped=is_clipped)[0]["gradient_norms"]
        look = {**LOOKS[kind], "marker": "", "linewidth": 1}
        axes.plot(range(1, len(norms) + 1), norms, **look, label=memory.KINDS[kind].title)
    axes.axhline(figures["clip_norm"], color="#888888", linewidth=1)
    axes.set(yscale="log", title=f"{_clipping(is_clipped)}, gap of {gap} steps")
    axes.set(xlabel="update", ylabel="norm before clipping")
