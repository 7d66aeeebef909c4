"""One page that a person opens at the end. It only renders: every number on it stands in another stage's files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline import receipt
from pipeline.config import Settings
from pipeline.device.bundle import read_description
from pipeline.pages import html

PAGE = "index.html"


def run(settings: Settings, train: Path, evaluate: Path, bundle: Path, out: Path) -> str:
    """Write the page, self-contained: it asks no other host for anything."""
    inputs = receipt.require(settings, train=train, evaluate=evaluate, bundle=bundle)
    with receipt.making(out, "report", settings, inputs) as work:
        metrics = json.loads((evaluate / "metrics.json").read_text(encoding="utf-8"))
        content = html.render(
            "report.html.j2",
            metrics=metrics,
            description=read_description(bundle),
            curves=_curves(train / "history.csv"),
            tradeoff=_tradeoff(metrics["streams"]),
        )
        (work / PAGE).write_text(content, encoding="utf-8")
    return str(out / PAGE)


def _curves(history: Path) -> Markup:
    """Loss and accuracy over the epochs."""
    with history.open(newline="") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    epochs = range(1, len(rows) + 1)
    with _drawing() as figure:
        for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            axes.plot(epochs, [row[name] for row in rows], color="#3a86c8", label="training (changed copies)")
            axes.plot(epochs, [row[f"val_{name}"] for row in rows], color="#e07b39", label="validation")
            axes.set(xlabel="epoch", ylabel=name)
            axes.legend(frameon=False)
        return _svg(figure)


def _tradeoff(streams: dict[str, Any]) -> Markup:
    """Detection error tradeoff: misses in streams with words against false alarms an hour in those without."""
    with_words = [name for name, figures in streams["at_thresholds"].items() if figures["words"]]
    without = [name for name in streams["at_thresholds"] if name not in with_words]
    if not without:
        return Markup("<p>No stream without words: see corpus.sentences and NEGATIVE.</p>")
    with _drawing() as figure:
        for axes, alarms in zip(figure.subplots(1, len(without), squeeze=False)[0], without, strict=True):
            for number, words in enumerate(with_words):
                colour = f"C{number}"
                swept, shipped = streams["sweep"]["streams"], streams["at_thresholds"]
                axes.plot(*_points(swept[alarms], swept[words]), color=colour, label=words)
                axes.plot(*_points([shipped[alarms]], [shipped[words]]), "o", color=colour)
            axes.set(xlabel=f"false alarms an hour: {alarms}", ylabel="words missed, %", ylim=(0, 100))
            axes.set_xscale("symlog", linthresh=1)
            axes.set_xlim(0, None)
            axes.xaxis.set_major_formatter("{x:g}")
            axes.legend(frameon=False)
        return _svg(figure)


def _points(alarms: Sequence[dict[str, Any]], words: Sequence[dict[str, Any]]) -> tuple[list[float], list[float]]:
    return [row["false_alarms_per_hour"] for row in alarms], [100 * row["missed"] for row in words]


@contextmanager
def _drawing() -> Iterator[Figure]:
    """A figure whose grey lines and text show on light and on dark."""
    style: Any = dict.fromkeys(
        ("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "text.color"), "#8a8a8a"
    )
    with matplotlib.rc_context(style | {"svg.hashsalt": "report", "svg.fonttype": "none"}):
        yield Figure(figsize=(9, 3.2), layout="constrained")


def _svg(figure: Figure) -> Markup:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    return Markup(svg[svg.index("<svg") :])  # the XML prologue does not belong in a page
