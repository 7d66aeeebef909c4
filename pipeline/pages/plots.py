"""Plots for pages: SVG whose lines and letters take the colour of the text around them, in any theme."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.image
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from numpy.typing import NDArray

_INK = "#010203"  # in the SVG it becomes the colour of the text; nothing else is drawn in it
_TEXT = ("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "text.color")
_STYLE: Any = {
    **dict.fromkeys(_TEXT, _INK),
    "axes.spines.top": False, "axes.spines.right": False, "font.family": "sans-serif", "font.size": 10,
    "legend.frameon": False, "svg.fonttype": "none", "svg.hashsalt": "page",
    "text.parse_math": False,  # a label may hold a dollar sign
}  # fmt: skip
_SIZE_INCHES = (4.6, 3.1)  # narrow: on a phone it is as wide as the screen, and its letters stay readable
_FIRST, _SECOND = "#3a86c8", "#e07b39"  # both are seen on white and on black
_LINES = ("-", "--", "-.", ":")  # told apart without colours, too
_SEEN_DB = 60  # of a spectrogram, below its loudest

Row = Mapping[str, Any]


def curves(history: Sequence[Row], kept: int) -> Markup:
    """Loss and accuracy over the epochs, a plot each; dotted is the one whose weights are kept, counted from 0."""
    percent = [{name: 100 * value for name, value in row.items()} for row in history]
    return _curve(history, "loss", "cross-entropy, nats", kept) + _curve(percent, "accuracy", "accuracy, %", kept)


def tradeoffs(streams: Mapping[str, Any]) -> Markup:
    """Detection error tradeoff: misses in streams with words against false alarms, a plot for each stream without.

    Where no threshold gives a false alarm there is nothing to draw.
    """
    without = [name for name, figures in streams["at_thresholds"].items() if not figures["words"]]
    swept = streams["sweep"]["streams"]
    drawn = [name for name in without if any(row["false_alarms_per_hour"] for row in swept[name])]
    return Markup("").join(_tradeoff(streams, name) for name in drawn)


@matplotlib.rc_context(_STYLE)
def reliability(bins: Sequence[Row]) -> Markup:
    """The share of clips that is right against their best score; a dot's area is how many clips it stands for."""
    figure = _figure()
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color=_INK, linewidth=0.8, linestyle=":")
    clips = np.array([row["clips"] for row in bins])
    score, right = (np.array([100 * row[name] for row in bins]) for name in ("score", "right"))
    axes.scatter(score, right, s=20 + 300 * clips / clips.sum(), color=_FIRST, alpha=0.8)
    axes.set(xlabel="best score, %", ylabel="right, %", xlim=(0, 103), ylim=(0, 105))
    return _svg(figure, "share of clips that is right, by their best score")


def spectrogram(decibels: NDArray[np.float32], what: str) -> Markup:
    """A small picture of a mel spectrogram `(n_mels, frames)`, low frequencies below."""
    buffer, loudest = io.BytesIO(), float(decibels.max())
    quietest = loudest - _SEEN_DB
    matplotlib.image.imsave(buffer, decibels, quietest, loudest, "magma", format="png", origin="lower")
    content = base64.b64encode(buffer.getvalue()).decode()
    return Markup('<img src="data:image/png;base64,{}" alt="{}">').format(content, f"spectrogram of {what}")


def confusion(counts: NDArray[np.int64], labels: Sequence[str]) -> bytes:
    """A picture, PNG, of how many clips of each label (rows) were given each label (columns), by share of the row."""
    size = 1.5 + 0.4 * len(labels)
    with matplotlib.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(size, size), layout="constrained")
        axes = figure.subplots()
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.argwhere(counts):
            ink = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=ink)
        axes.set_xticks(range(len(labels)), labels, rotation=90)
        axes.set_yticks(range(len(labels)), labels)
        axes.set(xlabel="heard", ylabel="said")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


@matplotlib.rc_context(_STYLE)
def _curve(history: Sequence[Row], name: str, axis: str, kept: int) -> Markup:
    figure, epochs = _figure(), range(1, len(history) + 1)
    axes = figure.subplots()
    axes.plot(epochs, [row[name] for row in history], color=_FIRST, label="training, changed copies")
    axes.plot(epochs, [row[f"val_{name}"] for row in history], color=_SECOND, linestyle="--", label="validation")
    axes.axvline(kept + 1, color=_INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel="epoch", ylabel=axis)
    axes.locator_params(axis="x", integer=True)
    axes.legend()
    return _svg(figure, f"{name} of training and validation over {len(history)} epochs")


@matplotlib.rc_context(_STYLE)
def _tradeoff(streams: Mapping[str, Any], alarms: str) -> Markup:
    figure, swept, shipped = _figure(), streams["sweep"]["streams"], streams["at_thresholds"]
    axes = figure.subplots()
    with_words = [name for name, figures in shipped.items() if figures["words"]]
    for number, words in enumerate(with_words):
        color, line = f"C{number}", _LINES[number % len(_LINES)]
        axes.plot(*_points(swept[alarms], swept[words]), line, color=color, label=words)
        axes.plot(*_points([shipped[alarms]], [shipped[words]]), "o", color=color, clip_on=False)
    axes.set(xlabel=f"false alarms an hour: {alarms}", ylabel="words missed, %", ylim=(0, 102))
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(0, None)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend()
    return _svg(figure, f"words missed against false alarms an hour in {alarms}")


def _points(alarms: Sequence[Row], words: Sequence[Row]) -> tuple[list[float], list[float]]:
    return [row["false_alarms_per_hour"] for row in alarms], [100 * row["missed"] for row in words]


def _figure() -> Figure:
    return Figure(figsize=_SIZE_INCHES, layout="constrained")


def _svg(figure: Figure, what: str) -> Markup:
    """The drawing as a part of a page, with words for who can't see it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")  # the XML prologue does not belong in a page
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{escape(what)}" ', 1))
