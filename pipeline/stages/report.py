"""One page that a person opens at the end. It only renders: every number on it stands in another stage's files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline import receipt
from pipeline.config import Settings
from pipeline.device.bundle import read_description

PAGE = "index.html"


def run(settings: Settings, train: Path, evaluate: Path, bundle: Path, out: Path) -> str:
    """Write the page, self-contained: it asks no other host for anything."""
    inputs = receipt.require(settings, train=train, evaluate=evaluate, bundle=bundle)
    with receipt.making(out, "report", settings, inputs) as work:
        loader = jinja2.PackageLoader("pipeline.stages", ".")
        # Labels and file names are a stranger's: all text is escaped.
        pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
        content = pages.get_template("report.html.j2").render(
            metrics=json.loads((evaluate / "metrics.json").read_text(encoding="utf-8")),
            description=read_description(bundle),
            curves=_curves(train / "history.csv"),
        )
        (work / PAGE).write_text(content, encoding="utf-8")
    return str(out / PAGE)


def _curves(history: Path) -> Markup:
    """Loss and accuracy over the epochs, as an SVG element; grey lines and text show on light and dark."""
    with history.open(newline="") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    epochs = range(1, len(rows) + 1)
    style: Any = dict.fromkeys(
        ("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "text.color"), "#8a8a8a"
    )
    with matplotlib.rc_context(style | {"svg.hashsalt": "report", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            axes.plot(epochs, [row[name] for row in rows], color="#3a86c8", label="training (changed copies)")
            axes.plot(epochs, [row[f"val_{name}"] for row in rows], color="#e07b39", label="validation")
            axes.set(xlabel="epoch", ylabel=name)
            axes.legend(frameon=False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    return Markup(svg[svg.index("<svg") :])  # the XML prologue does not belong in a page
