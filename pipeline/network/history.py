"""What a training leaves of each finished epoch: loss and accuracy, on validation too, and the seconds it took."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

FILE = "history.csv"

Epoch = dict[str, float]


def read(folder: Path) -> list[Epoch]:
    """The epochs so far; none where there is no file yet."""
    path = folder / FILE
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def append(folder: Path, epoch: Epoch) -> None:
    with (folder / FILE).open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, epoch, lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(epoch)


def best_epoch(epochs: Sequence[Epoch]) -> int:
    """Number of the one with the least loss on validation, from 0."""
    return min(range(len(epochs)), key=lambda n: epochs[n]["val_loss"])
