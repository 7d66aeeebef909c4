"""A table of text for the terminal, and the same as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

_LEAST_WIDTH = 200  # folded to less, these tables are not readable


def table(title: str, columns: Sequence[str], cells: Sequence[Sequence[str]], left: Sequence[str]) -> Table:
    """For the terminal; the columns that are not in `left` are numbers."""
    view = Table(title=title, title_justify="left", box=box.SIMPLE, collapse_padding=True, pad_edge=False)
    for column, *below in zip(columns, *cells, strict=True):  # a heading is folded to the width of its figures
        heading = textwrap.fill(column, max(map(len, below)) or 1, break_long_words=False)
        view.add_column(heading, justify="left" if column in left else "right", no_wrap=True)
    for row in cells:
        view.add_row(*row)
    return view


def markdown(columns: Sequence[str], cells: Sequence[Sequence[str]], left: Sequence[str]) -> str:
    """Lines of the same, for docs."""
    rules = ["---" if column in left else "---:" for column in columns]
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, rules, *cells))


def show(view: RenderableType) -> None:
    Console(width=max(_LEAST_WIDTH, Console().width)).print(view)


def machines(results: Mapping[Any, dict[str, Any]]) -> str:
    """What the times were measured on."""
    return " and ".join(sorted({f"{result['cpu']}, cores: {result['cores']}" for result in results.values()}))
