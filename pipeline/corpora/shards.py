"""MFCC of one split on disk: memory-mapped arrays in files of bounded size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Columns of an index: number of the label, number of the clip in the manifest, number of the copy (0: the clip itself).
LABEL, CLIP, COPY = range(3)
NORMALISER = "normaliser.json"


@dataclass(frozen=True)
class Shards:
    """All shards of one split.

    `mfcc` holds one memory-mapped float32 `(rows, frames, n_mfcc)` a shard, `index` int32 `(all rows, 3)`.
    """

    mfcc: list[NDArray[np.float32]]
    index: NDArray[np.int32]

    def originals(self) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Rows that are no augmented copies: float32 `(clips, frames, n_mfcc)` and their index `(clips, 3)`."""
        chosen = self.index[:, COPY] == 0
        starts = np.cumsum([0, *(len(part) for part in self.mfcc)])
        parts = [part[chosen[start : start + len(part)]] for part, start in zip(self.mfcc, starts, strict=False)]
        return np.concatenate(parts), self.index[chosen]


def write(folder: Path, number: int, mfcc: NDArray[np.float32], index: NDArray[np.int32]) -> None:
    """Write one shard; it counts as finished when its MFCC file has its name."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(_index_path(_mfcc_path(folder, number)), index, allow_pickle=False)
    part = folder / f"{number:05d}.mfcc.part.npy"
    np.save(part, mfcc, allow_pickle=False)
    part.rename(_mfcc_path(folder, number))


def link(source: Path, folder: Path, numbers: NDArray[np.int32]) -> int:
    """Take over the shards of a split from the features of another corpus, and say how many they are.

    MFCC may be gigabytes, so `folder` gets links to them.

    Parameters
    ----------
    numbers
        For each clip in the other manifest its number in this one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = sorted(source.glob("*.mfcc.npy"))
    for number, path in enumerate(paths):
        index = np.load(_index_path(path), allow_pickle=False)
        index[:, CLIP] = numbers[index[:, CLIP]]
        linked = _mfcc_path(folder, number)
        np.save(_index_path(linked), index, allow_pickle=False)
        linked.unlink(missing_ok=True)  # of an interrupted run
        linked.symlink_to(path.resolve())
    return len(paths)


def is_finished(folder: Path, number: int) -> bool:
    return _mfcc_path(folder, number).exists()


def read(folder: Path) -> Shards:
    paths = sorted(folder.glob("*.mfcc.npy"))
    mfcc = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
    index = [np.load(_index_path(path), allow_pickle=False) for path in paths]
    return Shards(mfcc, np.concatenate(index))


def write_normaliser(folder: Path, mean: NDArray[np.float64], std: NDArray[np.float64]) -> None:
    (folder / NORMALISER).write_text(json.dumps({"mean": mean.tolist(), "std": std.tolist()}))


def read_normaliser(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each coefficient over the training split, each `(n_mfcc,)`."""
    values = json.loads((folder / NORMALISER).read_text())
    return np.array(values["mean"], np.float32), np.array(values["std"], np.float32)


def _mfcc_path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.mfcc.npy"


def _index_path(mfcc: Path) -> Path:
    return mfcc.with_name(mfcc.name.replace("mfcc", "index"))
