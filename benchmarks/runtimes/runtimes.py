"""The same windows scored by the same file in each runtime; every runtime takes and gives the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-runtimes"

# Name → what a person calls it.
BROWSER = {"litert_js": "LiteRT.js", "mediapipe_web": "MediaPipe, web"}
RUNTIMES = {
    "interpreter": "Python interpreter",
    "interpreter_reset": "the same, reset each time",
    "compiled_model": "CompiledModel, Python",
    "mediapipe_python": "MediaPipe, Python",
    **BROWSER,
}
_OWN = ("interpreter", "interpreter_reset", "compiled_model")  # those in the environment that runs this


class NotInstalled(PipelineError):
    """This machine lacks a runtime; the message says what to run."""


class Refused(PipelineError):
    """A runtime doesn't take a file; the message is the runtime's own."""


class Run(NamedTuple):
    scores: NDArray[np.float32]  # (windows, labels)
    latency_ms: float  # the median of one call
    labels: tuple[str, ...]  # as the runtime names the scores; empty where it doesn't


def score(runtime: str, model: Path, windows: NDArray[np.float32]) -> Run:
    """Scores of `windows`, in that order, by one copy of `model` in a fresh process.

    Parameters
    ----------
    runtime
        One of `RUNTIMES`.
    windows
        float32 `(windows, ...)`, each of the shape that the file takes; sound at 16 kHz.

    Raises
    ------
    NotInstalled
        If this machine lacks the runtime.
    Refused
        If the runtime doesn't take the file.
    """
    python = _python(runtime)
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "windows.npy", Path(folder) / "result.npz"
        np.save(given, windows, allow_pickle=False)
        command = [python, Path(__file__).with_name("client.py"), runtime, model, given, result]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise RuntimeError(f"{RUNTIMES[runtime]} broke off ({done.returncode}) at {model}:\n{done.stderr[-3000:]}")
        with np.load(result, allow_pickle=False) as arrays:
            found: dict[str, Any] = dict(arrays)
    if "refused" in found:
        raise Refused(_reason(str(found["refused"]), done.stderr))
    return Run(found["scores"], float(np.median(found["times_ms"])), tuple(map(str, found["labels"])))


def _python(runtime: str) -> Path:
    """The interpreter whose environment holds a runtime."""
    if runtime in _OWN:
        return Path(sys.executable)
    if not (ENVIRONMENT / "ready").exists():
        raise NotInstalled(f"{RUNTIMES[runtime]} is not installed; run: make runtimes")
    if runtime in BROWSER and not shutil.which("chromium"):
        raise NotInstalled(f"{RUNTIMES[runtime]} needs Chromium; install it, on Debian with: apt install chromium")
    return ENVIRONMENT / "bin" / "python"


def _reason(message: str, log: str) -> str:
    """In one line; LiteRT says what is wrong only in what it logs."""
    logged = [line for line in log.splitlines() if line.startswith("ERROR: ")]
    return "; ".join([message.splitlines()[0], *logged])
