"""The phone files, and fused ones beside them, in every runtime, on one core.

Run `python -m benchmarks.runtimes BUILD`: it takes the bundle, the model and the test clips of a whole build. Each
round goes through all runtimes and files, so that a slow minute falls on all.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from benchmarks.machine import cpu
from benchmarks.runtimes.client import SAMPLE_RATE_HZ
from benchmarks.runtimes.runtimes import RUNTIMES, NotInstalled, Refused, Run, score
from pipeline import config
from pipeline.config import Audio, Features
from pipeline.corpora import manifest
from pipeline.device import metadata
from pipeline.device.bundle import read_description, verify
from pipeline.device.metadata import Metadata
from pipeline.device.mfcc import mfcc
from pipeline.errors import PipelineError
from pipeline.network import convert, model
from pipeline.network.engine import tf_keras
from pipeline.network.frontend import Frontend
from pipeline.stages.export import PHONE, PHONE_FLOAT

FUSED_FLOAT, FUSED_DYNAMIC = "fused, float", "fused, dynamic range"
CLIPS = 400
ROUNDS = 4  # two orders of the clips, each twice
SEED = 1

Scores = NDArray[np.float32]
Cells = dict[tuple[str, str], list[Run] | PipelineError]  # (file, runtime) → a run for each round, or why there is none


@click.command()
@click.argument("build", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "out", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here too.")
def main(build: Path, out: Path | None) -> None:
    """Score test clips of BUILD by each file in each runtime; compare with Keras, and with another order of clips."""
    try:
        result = compare(build)
    except PipelineError as error:
        raise click.ClickException(str(error)) from None
    # Folded to less, the table is not readable.
    Console(width=max(140, Console().width)).print(table(result))
    if out:
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def compare(build: Path) -> dict[str, Any]:
    bundle = build / "bundle"
    verify(bundle)
    description = read_description(bundle)
    sound, features = (config.build_section(name, description[name]) for name in ("audio", "features"))
    if sound.sample_rate_hz != SAMPLE_RATE_HZ:
        raise PipelineError(f"{bundle}: takes sound at {sound.sample_rate_hz} Hz, and this is for {SAMPLE_RATE_HZ} Hz")
    clips = choose(build / "corpus")
    windows = np.stack([manifest.window(build / "corpus", clip, sound) for clip in clips])
    network = model.load(build / "quantize" / "model.keras")
    keras = network.predict(mfcc(windows, audio=sound, features=features), batch_size=256, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        files = {name: bundle / name for name in (PHONE, PHONE_FLOAT)}
        about = metadata.read(files[PHONE].read_bytes(), str(files[PHONE]))
        files |= write_fused(Path(folder), network, sound, features, about)
        cells = measure(files, windows)
        sizes = {name: path.stat().st_size for name, path in files.items()}
    rows = [row(file, runtime, cells, keras) for file, runtime in cells]
    ms = {figures["file"]: figures["latency_ms"] for figures in rows if figures["runtime"] == "interpreter"}
    seeds = {name: section["seed"] for name, section in description["settings"].items() if "seed" in section}
    return {
        "corpus": f"{description['settings']['corpus']['kind']}, testing split",
        "clips": len(clips),
        "words": len({clip.word for clip in clips}),
        "bytes": sizes,
        "rows": rows,
        "phone_to_fused_time": ms[PHONE] / ms[FUSED_FLOAT],
        "seeds": {**seeds, "order": SEED},
        "versions": versions(),
        "cpu": cpu(),
    }


# --- what is measured ---


def choose(corpus: Path) -> list[manifest.Clip]:
    """Clips that the model was not trained on, evenly from all over the sorted ones."""
    clips = manifest.examples(manifest.read(corpus), manifest.TESTING)
    return [clips[place] for place in np.linspace(0, len(clips) - 1, min(CLIPS, len(clips))).astype(int)]


def write_fused(
    folder: Path, network: tf_keras.Model, sound: Audio, features: Features, about: Metadata
) -> dict[str, Path]:
    """The same model with the converter's own LSTM, behind the same front-end.

    Dynamic range takes the front-end with the rest: the converter has no switch for parts of a graph.
    """
    frontend = Frontend(sound, features)
    samples = tf_keras.Input((sound.clip_samples,), batch_size=1, name="samples")
    scores = network(tf_keras.layers.Lambda(lambda window: frontend(window)[None])(samples))
    whole = tf_keras.Model(samples, scores)
    files = {}
    for name, to_tflite in {FUSED_FLOAT: convert.to_float, FUSED_DYNAMIC: convert.to_dynamic_range}.items():
        files[name] = folder / f"{name}.tflite"
        files[name].write_bytes(metadata.pack(to_tflite(whole), about))
    return files


def measure(files: Mapping[str, Path], windows: NDArray[np.float32]) -> Cells:
    """Scores in the order of `windows`, in whichever order they were made."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # the runtimes' processes inherit it
    orders = [np.arange(len(windows)), np.random.default_rng(SEED).permutation(len(windows))] * (ROUNDS // 2)
    cells: Cells = {(file, runtime): [] for file in files for runtime in RUNTIMES}
    turns = [(order, file, runtime) for order in orders for file, runtime in cells]
    for order, file, runtime in track(turns, "rounds", console=Console(stderr=True)):
        runs = cells[file, runtime]
        if isinstance(runs, list):
            try:
                run = score(runtime, files[file], windows[order])
                runs.append(run._replace(scores=run.scores[np.argsort(order)]))
            except (NotInstalled, Refused) as reason:
                cells[file, runtime] = reason
    return cells


def row(file: str, runtime: str, cells: Cells, keras: Scores) -> dict[str, Any]:
    """Figures of one file in one runtime: the largest of each difference, and of the first order the labels changed."""
    runs, reference = cells[file, runtime], cells[file, "interpreter"]
    named = {"file": file, "runtime": runtime}
    if isinstance(runs, PipelineError):
        return {**named, "refused" if isinstance(runs, Refused) else "not_installed": str(runs)}
    assert isinstance(reference, list)  # the interpreter is always there and takes every file
    scores = np.stack([run.scores for run in runs])
    return {
        **named,
        "from_keras": float(np.abs(scores - keras).max()),
        "from_interpreter": float(np.abs(scores[0] - reference[0].scores).max()),
        "labels_changed": int((scores[0].argmax(axis=1) != keras.argmax(axis=1)).sum()),
        "between_orders": float(np.ptp(scores, axis=0).max()),
        "latency_ms": statistics.median(run.latency_ms for run in runs),
    }


# --- what it was measured on ---


def versions() -> dict[str, str]:
    """Of the runtimes, as they are pinned."""
    here = Path(__file__).parent
    pinned = re.findall(r"^(mediapipe)==(\S+)", (here / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    packages = json.loads((here / "package.json").read_text(encoding="utf-8"))["dependencies"]
    own = {"python": platform.python_version(), "ai-edge-litert": importlib.metadata.version("ai-edge-litert")}
    browser = shutil.which("chromium")
    said = subprocess.run([browser, "--version"], capture_output=True, text=True).stdout.split() if browser else []
    return {**own, **dict(pinned), **packages, **({"chromium": said[1]} if said else {})}


def table(result: dict[str, Any]) -> Table:
    shown = Table(
        title=f"{result['clips']} clips of {result['words']} words ({result['corpus']}), one thread of {result['cpu']}"
    )
    shown.add_column("file", no_wrap=True)
    shown.add_column("runtime", no_wrap=True)
    for column in ("from\nKeras", "from the\ninterpreter", "labels\nchanged", "between\norders", "ms"):
        shown.add_column(column, justify="right", no_wrap=True)
    shown.add_column("")
    for file, size in result["bytes"].items():
        of_file = [figures for figures in result["rows"] if figures["file"] == file]
        names = [file, f"{size / 1e3:.0f} kB", *[""] * len(of_file)]
        for name, figures in zip(names, of_file, strict=False):
            shown.add_row(name, RUNTIMES[figures["runtime"]], *shown_figures(figures))
        shown.add_section()
    ratio = f"{result['phone_to_fused_time']:.2f} of the time of {FUSED_FLOAT!r}"
    shown.caption = f"In the Python interpreter, {PHONE} takes {ratio}."
    return shown


def shown_figures(figures: dict[str, Any]) -> list[str]:
    for why in ("refused", "not_installed"):
        if why in figures:
            return [*[""] * 5, escape(f"{why.replace('_', ' ')}: {figures[why]}")]
    return [
        f"{figures['from_keras']:.1e}",
        f"{figures['from_interpreter']:.1e}",
        str(figures["labels_changed"]),
        f"{figures['between_orders']:.1e}",
        f"{figures['latency_ms']:.2f}",
        "state leaks" if figures["between_orders"] else "",
    ]


if __name__ == "__main__":
    main()
