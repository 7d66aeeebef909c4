"""Features on one core: librosa clip by clip against the pipeline's batches, and the whole stage against decoding.

Run `python benchmarks/features.py SOURCE`, SOURCE being a folder of one-second clips; without it, noise is made.
Times are processor seconds, so that what else the machine does counts little.
"""

# ruff: noqa: E402  The limits count for libraries that are loaded after them.
from __future__ import annotations

import os

for _library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA", "VECLIB_MAXIMUM"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import librosa
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from pipeline.config import BACKGROUND_NOISE, Augment, Settings
from pipeline.corpora import manifest, windows
from pipeline.corpora.folder import SOUND_SUFFIXES
from pipeline.corpora.noise_kinds import coloured_noise
from pipeline.device import audio
from pipeline.device.audio import Samples
from pipeline.device.mfcc import mfcc
from pipeline.stages import features as stage

TOLERANCE = 1e-4
SETTINGS = Settings(augment=Augment(copies=0, fragments=0))  # one window a clip


@click.command()
@click.argument(
    "source", required=False, envvar="SOURCE", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option(
    "--clips", type=click.IntRange(1), default=2000, show_default=True, help="At most so many, from all over SOURCE."
)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Of each measurement, in turn; the median counts.",
)
@click.option("--json", "out", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here too.")
def main(source: Path | None, clips: int, repeats: int, out: Path | None) -> None:
    """Measure clips a second of the MFCC and of the features stage, on one core."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = choose(source, clips) if source else make_noise(folder / "noise", clips)
        data = describe(paths, source.name if source else "generated noise")
        result = {"data": data, **compare_mfcc(paths, repeats), **compare_stage(paths, folder, repeats)}
    Console().print(table(result))
    if out:
        machine = {
            "python": platform.python_version(),
            "librosa": importlib.metadata.version("librosa"),
            "machine": platform.machine(),
        }
        settings = {section: SETTINGS.section(section) for section in ("audio", "features")}
        out.write_text(json.dumps({**result, "versions": machine, "settings": settings}, indent=1) + "\n")
    if result["max_difference"] > TOLERANCE:
        raise click.ClickException(f"the two MFCC differ by {result['max_difference']:.2g}, more than {TOLERANCE}")


# --- what is measured ---


def compare_mfcc(paths: Sequence[Path], repeats: int) -> dict[str, Any]:
    """MFCC of decoded clips: one librosa call after the other, and batches as the stage makes them."""
    sounds = [audio.fit(read(path), SETTINGS.audio.clip_samples) for path in paths]
    difference = max(
        float(np.abs(alone - together).max())
        for alone, together in zip(one_by_one(sounds), np.concatenate(in_batches(sounds)), strict=True)
    )
    alone_s, batched_s = alternate(repeats, lambda: one_by_one(sounds), lambda: in_batches(sounds))
    return {
        "librosa_clips_per_s": len(paths) / alone_s,
        "batched_clips_per_s": len(paths) / batched_s,
        "batched_to_librosa": alone_s / batched_s,
        "max_difference": difference,
    }


def compare_stage(paths: Sequence[Path], folder: Path, repeats: int) -> dict[str, Any]:
    """Files to shards of MFCC as the stage makes them, and the same files only decoded."""
    corpus, work = folder / "corpus", folder / "features"
    write_corpus(corpus, paths)

    def run_stage() -> None:
        shutil.rmtree(work, ignore_errors=True)
        plan = stage.make_plan(corpus, SETTINGS)
        for part in plan.parts:
            windows.make(plan.shard(part), work, SETTINGS)

    def decode() -> None:
        for path in paths:
            read(path)

    run_stage()
    stage_s, decoding_s = alternate(repeats, run_stage, decode)
    return {
        "stage_clips_per_s": len(paths) / stage_s,
        "decoding_clips_per_s": len(paths) / decoding_s,
        "stage_to_decoding_time": stage_s / decoding_s,
    }


def one_by_one(sounds: Sequence[Samples]) -> list[NDArray[np.float32]]:
    """A loop as a person writes it who has librosa's manual."""
    chosen, sound = SETTINGS.features, SETTINGS.audio
    coefficients = []
    for window in sounds:
        mel = librosa.feature.melspectrogram(
            y=window,
            sr=sound.sample_rate_hz,
            n_fft=chosen.n_fft,
            win_length=chosen.window_samples(sound),
            hop_length=chosen.hop_samples(sound),
            center=False,
            n_mels=chosen.n_mels,
            fmin=chosen.f_min_hz,
            fmax=chosen.f_max_hz,
        )
        decibels = librosa.power_to_db(mel, top_db=None)
        coefficients.append(librosa.feature.mfcc(S=decibels, n_mfcc=chosen.n_mfcc).T)
    return coefficients


def in_batches(sounds: Sequence[Samples]) -> list[NDArray[np.float32]]:
    size = windows.BATCH_CLIPS
    batches = (sounds[start : start + size] for start in range(0, len(sounds), size))
    return [mfcc(np.stack(batch), audio=SETTINGS.audio, features=SETTINGS.features) for batch in batches]


def alternate(repeats: int, *tasks: Callable[[], object]) -> list[float]:
    """Median processor seconds of each task; they take turns, so that a slow minute falls on all."""
    seconds: list[list[float]] = [[] for _ in tasks]
    for _ in range(repeats):
        for task, measured in zip(tasks, seconds, strict=True):
            start = time.process_time()
            task()
            measured.append(time.process_time() - start)
    return [statistics.median(measured) for measured in seconds]


# --- the clips ---


def read(path: Path) -> Samples:
    return audio.read(path, SETTINGS.audio.sample_rate_hz)


def choose(source: Path, count: int) -> list[Path]:
    """At most `count` sound files, evenly from all over the sorted ones, without long recordings of noise."""
    found = sorted(
        path
        for path in source.rglob("*")
        if path.suffix.lower() in SOUND_SUFFIXES and BACKGROUND_NOISE not in path.parts and path.name[0] != "."
    )
    if not found:
        raise click.ClickException(f"{source}: no sound files in it")
    places = np.linspace(0, len(found) - 1, min(count, len(found))).astype(int)
    return [found[place] for place in places]


def make_noise(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    generator = np.random.default_rng(1)
    paths = [folder / f"{number:05d}.wav" for number in range(count)]
    for path in paths:
        samples = coloured_noise(SETTINGS.audio.clip_samples, generator.uniform(0, 2), generator)
        audio.write(path, samples * np.float32(0.1), SETTINGS.audio.sample_rate_hz)
    return paths


def write_corpus(folder: Path, paths: Sequence[Path]) -> None:
    folder.mkdir()
    digests = (hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    clip = manifest.Clip("", "word", "", manifest.TRAINING, "benchmark", "word", "")
    clips = [
        dataclasses.replace(clip, path=str(path.absolute()), sha256=digest)
        for path, digest in zip(paths, digests, strict=True)
    ]
    manifest.write(folder, clips, manifest.labels(["word"]))


def describe(paths: Sequence[Path], name: str) -> str:
    kinds = Counter(path.suffix.lstrip(".").upper() for path in paths)
    return f"{name}: " + ", ".join(f"{count:,} {kind} files" for kind, count in sorted(kinds.items()))


def table(result: dict[str, Any]) -> Table:
    shown = Table("one core", "clips/s", "ms/clip", "", title=result["data"])
    rows = [
        ("librosa, clip by clip", "librosa", ""),
        ("pipeline, batched", "batched", f"{result['batched_to_librosa']:.2f} × as fast"),
        ("decoding alone", "decoding", ""),
        ("whole stage", "stage", f"{result['stage_to_decoding_time']:.2f} × the time of decoding"),
    ]
    for name, key, note in rows:
        rate = result[f"{key}_clips_per_s"]
        shown.add_row(name, f"{rate:,.0f}", f"{1000 / rate:.3f}", note)
    shown.caption = f"largest difference between the two MFCC: {result['max_difference']:.1e}"
    return shown


if __name__ == "__main__":
    main()
