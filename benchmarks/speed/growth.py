"""The features stage as clips grow: time for each, and peak memory of all its processes; and what one core takes.

The clips are the same thousand, repeated.
"""

from __future__ import annotations

import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.speed import features, figures
from benchmarks.speed.figures import Figure
from pipeline import receipt
from pipeline.stages import features as stage

TIMES = (1, 4, 16, 64)
TIMES_ON_ONE_CORE = 16
_LOOK_S = 0.1


def measure(base_clips: int) -> list[Figure]:
    """The stage with `base_clips` clips and 4, 16 and 64 times as many, each once; one of them again on one core."""
    made = {}
    with tempfile.TemporaryDirectory() as name:
        paths = features.make_noise(Path(name) / "noise", min(base_clips, 1_000))
        _run(paths, 1, Path(name))  # librosa compiles, the first time
        for times in TIMES:
            made[times] = _run(paths, base_clips * times // len(paths), Path(name))
        figures.on_one_core()
        alone_s, _ = _run(paths, base_clips * TIMES_ON_ONE_CORE // len(paths), Path(name))
    first_s, first_mb = made[1]
    found = []
    for times, (took_s, peak_mb) in made.items():
        count = base_clips * times
        one = f"{base_clips:,} clips" if times > 1 else ""
        each_ms, first_ms = 1e3 * took_s / count, 1e3 * first_s / base_clips
        found += [
            Figure(f"features of {count:,} clips: time", each_ms, "ms a clip", one, each_ms / first_ms),
            Figure(f"features of {count:,} clips: peak memory", peak_mb, "MB", one, peak_mb / first_mb),
        ]
    count, all_s = base_clips * TIMES_ON_ONE_CORE, made[TIMES_ON_ONE_CORE][0]
    one_core = f"features of {count:,} clips: time on one core"
    return [*found, Figure(one_core, 1e3 * alone_s / count, "ms a clip", "all cores", alone_s / all_s)]


def _run(paths: list[Path], times: int, folder: Path) -> tuple[float, float]:
    """Seconds and megabytes of the stage with each clip so many times."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        work = Path(name)
        with receipt.making(work / "corpus", "corpus", features.SETTINGS) as corpus:
            features.write_corpus(corpus / "made", paths, times)
            for path in (corpus / "made").iterdir():
                path.rename(corpus / path.name)
            (corpus / "made").rmdir()
        with _Peak() as peak:
            began_s = time.perf_counter()
            stage.run(features.SETTINGS, work / "corpus", work / "features")
            return time.perf_counter() - began_s, peak.megabytes


class _Peak:
    """The most resident memory that this process and those that it started have had together."""

    def __enter__(self) -> _Peak:
        self.megabytes, self._is_over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        self.megabytes = _resident_mb()  # at once: a short run may be over before the next look
        while not self._is_over.wait(_LOOK_S):
            self.megabytes = max(self.megabytes, _resident_mb())


def _resident_mb() -> float:
    """Of this process and all that it started."""
    own, total = psutil.Process(), 0
    for process in (own, *own.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it has ended since it was listed
            total += process.memory_info().rss
    return total / 1e6


if __name__ == "__main__":
    figures.answer(measure)
