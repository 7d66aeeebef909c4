"""What the programs with a microphone draw in a terminal, by `rich`, which comes with the extra `microphone`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.device import audio
from pipeline.device.audio import Samples

if TYPE_CHECKING:
    from rich.console import RenderableType

QUIET_DBFS = -60.0  # where the bar of the level begins


def level_dbfs(piece: Samples) -> float:
    """Level of the loudest of `(n,)` samples; there may be none."""
    return audio.decibels(float(np.abs(piece).max(initial=0)))


def level_bar(level_dbfs: float) -> RenderableType:
    """A bar as wide as there is room, full at full scale."""
    return bar("level", 1 - level_dbfs / QUIET_DBFS, f"{level_dbfs:4.0f} dBFS")


def bar(name: str, share: float, value: str, width: int | None = None) -> RenderableType:
    """A bar between its name and value, of this width or as wide as there is room."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    row = Table.grid(padding=(0, 1), expand=width is None)
    row.add_column()
    row.add_column(ratio=1)
    row.add_column()
    row.add_row(name, ProgressBar(1.0, min(max(share, 0.0), 1.0), width), value)
    return row
