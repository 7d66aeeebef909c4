"""MFCC of one split on disk: memory-mapped arrays in files of bounded size."""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

# Columns of an index: number of the label, number of the clip in the manifest, number of the copy (0: the clip itself).
LABEL, CLIP, COPY = range(3)
NORMALISER = "normaliser.json"
_UNFINISHED = ".part"


class Files(Sequence[NDArray[np.float32]]):
    """Arrays in files, each memory-mapped when it is used: a process may not hold thousands open."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.open = functools.lru_cache(maxsize=256)(_open)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> NDArray[np.float32]:  # type: ignore[override]  # no slices
        return self.open(self.paths[place])

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """One after the other; none is kept, so that what was read of it needn't stay in memory."""
        return map(_open, self.paths)


@dataclass(frozen=True)
class Shards:
    """All shards of one split.

    `mfcc` holds one float32 `(rows, frames, n_mfcc)` a shard, `index` int32 `(all rows, 3)`.
    """

    mfcc: Sequence[NDArray[np.float32]]
    index: NDArray[np.int32]

    def originals(self) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Rows that are no augmented copies: float32 `(clips, frames, n_mfcc)` and their index `(clips, 3)`."""
        chosen = self.index[:, COPY] == 0
        starts = np.cumsum([0, *(len(part) for part in self.mfcc)])
        parts = [part[chosen[start : start + len(part)]] for part, start in zip(self.mfcc, starts, strict=False)]
        return np.concatenate(parts), self.index[chosen]

    def unspliced(self, copies: int) -> NDArray[np.int64]:
        """Numbers of the rows that aren't put together of two words, which come after the `copies` of a clip.

        Of a sentence's windows no more than `copies` are among them.
        """
        return np.flatnonzero(self.index[:, COPY] <= copies)


def write(folder: Path, number: int, index: NDArray[np.int32], mfcc: Iterable[NDArray[np.float32]]) -> None:
    """Write one shard; it counts as finished when its MFCC file has its name.

    Parameters
    ----------
    index
        `(rows, 3)`.
    mfcc
        The same rows in parts, one at least, each `(n, frames, n_mfcc)`: memory needs to hold only one of them.
    """
    with _whole(_index_path(_mfcc_path(folder, number))) as file:
        np.save(file, index, allow_pickle=False)
    with _whole(_mfcc_path(folder, number)) as file:
        written = 0
        for rows in mfcc:
            if not written:
                shape = (len(index), *rows.shape[1:])
                header = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(rows).data)
            written += len(rows)
        if written != len(index):
            raise ValueError(f"{written} rows of MFCC for an index of {len(index)}")


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file that has its name once it is whole; another worker, taken for lost, may still be writing the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}{_UNFINISHED}")
    with part.open("xb") as file:
        yield file
    part.rename(path)


def forget_unfinished(folder: Path) -> None:
    """Delete what workers that broke off have left."""
    for path in folder.rglob(f"*{_UNFINISHED}"):
        path.unlink()


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


def read(folder: Path, first: int = 0, step: int = 1) -> Shards:
    """The shards of a split, or every `step`-th of them from the number `first` on."""
    mfcc = Files(files(folder).paths[first::step])
    index = [np.load(_index_path(path), allow_pickle=False) for path in mfcc.paths]
    return Shards(mfcc, np.concatenate(index))


def files(folder: Path) -> Files:
    """The MFCC of a split alone."""
    return Files(sorted(folder.glob("*.mfcc.npy")))


def rows(folder: Path) -> list[int]:
    """How many rows each shard has; their index may be large."""
    return [len(np.load(_index_path(path), mmap_mode="r", allow_pickle=False)) for path in files(folder).paths]


def write_normaliser(folder: Path, mean: NDArray[np.float64], std: NDArray[np.float64]) -> None:
    (folder / NORMALISER).write_text(json.dumps({"mean": mean.tolist(), "std": std.tolist()}))


def read_normaliser(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each coefficient over the training split, each `(n_mfcc,)`."""
    values = json.loads((folder / NORMALISER).read_text())
    return np.array(values["mean"], np.float32), np.array(values["std"], np.float32)


def _open(path: Path) -> NDArray[np.float32]:
    mapped: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def _mfcc_path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.mfcc.npy"


def _index_path(mfcc: Path) -> Path:
    return mfcc.with_name(mfcc.name.replace("mfcc", "index"))
