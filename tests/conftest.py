"""A whole build of a tiny corpus, made once by `make` for every test that needs one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.runtimes.runtimes import ENVIRONMENT

# A shell that runs the tests in the background has Ctrl-C ignored; what they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# pytest-xdist tells its workers a size of the terminal, which programs would take for that of the one they run in.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

ROOT = Path(__file__).parent.parent
FILES = [
    "commands.tflite",
    "commands_float.tflite",
    *(f"commands_features_{k}.tflite" for k in ("float", "dynamic", "int8")),
]
TINY = ROOT / "params" / "tiny.toml"
# What `make` or a person's shell may have set must not reach the builds that tests make.
INHERITED = ("CORPUS", "SOURCE", "WORDS", "PARAMS", "NEGATIVE", "BUNDLE", "BUILD", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
CLEAN = {name: value for name, value in os.environ.items() if name not in INHERITED}


def run_make(build: Path, *targets: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`make` in the project with `build` as its folder and the tiny settings, unless told otherwise."""
    given = {"BUILD": str(build), "PARAMS": str(TINY), **variables}
    command = ["make", *targets, *(f"{name}={value}" for name, value in given.items())]
    return subprocess.run(command, cwd=ROOT, env=CLEAN, capture_output=True, text=True, timeout=600)


def see(scene: str, address: str, **options: Any) -> dict[str, Any]:
    """Play a scene of `tests/browse.py`."""
    command = [str(ENVIRONMENT / "bin" / "python"), "-m", "tests.browse", scene, address, json.dumps(options)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.fixture(scope="session")
def tiny_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every stage leaves for two synthetic words. Tests only read it."""
    build = tmp_path_factory.mktemp("tiny") / "build"
    result = run_make(build, "report", "memory")
    assert result.returncode == 0, result.stdout + result.stderr
    return build
