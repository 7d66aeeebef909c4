"""The tables at the end of `make`: the figures that a person wants first, of what `metrics.json` holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.table import Table

from pipeline.device.recognizer import DEFAULT_FILE

# Of the models in the metrics, beside the files.
KERAS = "keras"
BEFORE = f"{DEFAULT_FILE} before"  # of the bundle that this one was personalised from


def tables(metrics: dict[str, Any]) -> Group:
    """Clips, streams, clips without keywords; and of a personalised build before and after."""
    shown = [_clips(metrics), _streams(metrics["streams"]), _without_keywords(metrics)]
    is_personal = any(BEFORE in figures["models"] for figures in metrics["splits"].values())
    return Group(*shown, *([_before_and_after(metrics)] if is_personal else []))


def _clips(metrics: dict[str, Any]) -> Table:
    data = metrics["data"]
    numbers = ("clips", "accuracy", "95 % interval", "labels changed", "size", "gzip", "latency")
    view = _table(f"{data['corpus']}: {data['origin']}, split by {data['split_by']}", ("split", "model"), numbers)
    for split, figures in metrics["splits"].items():
        for name, figure in figures["models"].items():
            file = metrics["files"].get(name)
            sizes = [f"{file[k] / 1e3:.0f} kB" for k in ("bytes", "gzip_bytes")] if file else ["", ""]
            view.add_row(
                split, name, f"{figure['clips']:,}", f"{figure['accuracy']:.2%}", _between(figure["accuracy_interval"]),
                "" if name == KERAS else f"{figure['labels_changed']:.2%}", *sizes,
                f"{file['latency_ms']:.2f} ms" if file else "",
            )  # fmt: skip
    return view


def _streams(streams: dict[str, Any]) -> Table:
    numbers = ("hours", "words", "missed", "95 %", "wrong", "false an hour", "95 %", "known after")
    view = _table(f"{streams['file']} on streams of the testing split, at its thresholds", ("stream",), numbers)
    for name, figure in streams["at_thresholds"].items():
        cells = ["", "", "", ""]
        if figure["words"]:
            missed, interval = f"{figure['missed']:.1%}", _between(figure["missed_interval"])
            cells = [str(figure["words"]), missed, interval, str(figure["wrong"])]
        low, high = figure["false_alarms_per_hour_interval"]
        delay = f"{figure['delay_ms']['median']:.0f} ms" if figure["delay_ms"] else ""
        alarms = [f"{figure['false_alarms_per_hour']:.1f}", f"{low:.1f} to {high:.1f}"]
        view.add_row(name, f"{figure['hours']:.2f}", *cells, *alarms, delay)
    return view


def _without_keywords(metrics: dict[str, Any]) -> Table:
    numbers = ("clips", "recall", "95 %", "taken for a keyword", "95 %")
    view = _table(f"{DEFAULT_FILE} on clips without keywords, the best label of each", ("clips of",), numbers)
    for group, figure in metrics["without_keywords"][DEFAULT_FILE].items():
        view.add_row(
            group, f"{figure['clips']:,}", f"{figure['recall']:.1%}", _between(figure["recall_interval"]),
            f"{figure['taken_for_keyword']:.1%}", _between(figure["taken_for_keyword_interval"]),
        )  # fmt: skip
    return view


def _before_and_after(metrics: dict[str, Any]) -> Table:
    """What a speaker's own takes did for that speaker, and for others."""
    numbers = ("clips", "before", "95 %", "after", "95 %")
    view = _table(f"{DEFAULT_FILE}, before → after it was personalised", ("clips of",), numbers)
    for figures in metrics["splits"].values():
        before, after = (figures["models"][name] for name in (BEFORE, DEFAULT_FILE))
        view.add_row(
            figures["of"], f"{before['clips']:,}", f"{before['accuracy']:.1%}", _between(before["accuracy_interval"]),
            f"{after['accuracy']:.1%}", _between(after["accuracy_interval"]),
        )  # fmt: skip
    return view


def _table(title: str, names: Sequence[str], numbers: Sequence[str]) -> Table:
    view = Table(title=title, title_justify="left")
    for column in names:
        view.add_column(column, overflow="fold")
    for column in numbers:
        view.add_column(column, justify="right")
    return view


def _between(interval: Sequence[float]) -> str:
    return "{:.1%} to {:.1%}".format(*interval)
