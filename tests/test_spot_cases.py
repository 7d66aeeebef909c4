"""Spotter's rule as a table: here Spotter itself and the page's port of it are held to it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import config
from pipeline.device.spot import Detection, Spotter

HERE = Path(__file__).parent
PATH = HERE / "spot_cases.json"
TABLE = json.loads(PATH.read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in TABLE["cases"]}
SOUND = config.build_section("audio", TABLE["audio"])
SIZES = [1, 160, 333, 16_000]

by_case = pytest.mark.parametrize("name", CASES)
by_size = pytest.mark.parametrize("size", SIZES)


def rows(case: dict[str, Any]) -> list[list[float]]:
    """What the recogniser gives each time it is asked."""
    return [row for row in case["scores"] if row is not None]


def assert_as_in_the_table(heard: list[Detection], name: str) -> None:
    expected = [Detection(**detection) for detection in CASES[name]["detections"]]
    assert [detection.word for detection in heard] == [detection.word for detection in expected]
    for found, wanted in zip(heard, expected, strict=True):
        assert (found.start_s, found.end_s, found.score) == pytest.approx(
            (wanted.start_s, wanted.end_s, wanted.score), rel=0, abs=1e-6
        )


def test_no_name_stands_twice() -> None:
    assert len(CASES) == len(TABLE["cases"])


@by_size
@by_case
def test_spotter_keeps_to_the_table(name: str, size: int) -> None:
    listen = config.build_section("listen", CASES[name].get("listen", TABLE["listen"]))
    given: Iterator[list[float]] = iter(rows(CASES[name]))
    spotter = Spotter(lambda _: np.array(next(given), np.float32), TABLE["labels"], TABLE["thresholds"], SOUND, listen)
    samples = np.repeat(np.array(CASES[name]["levels"], np.float32), listen.hop_samples(SOUND))
    heard = [d for start in range(0, len(samples), size) for d in spotter.feed(samples[start : start + size])]
    assert_as_in_the_table(heard + spotter.finish(), name)
    assert next(given, None) is None, "the recogniser was not asked for every row"


@pytest.fixture(scope="module")
def in_node() -> dict[str, dict[str, Any]]:
    """What the page's Spotter hears: size of the pieces → name of the case → detections, and how often it asked."""
    if not shutil.which("node"):
        pytest.skip("Node.js is not installed; install it, on Debian with: apt install nodejs")
    command = ["node", str(HERE / "spot_cases.mjs"), str(PATH), *map(str, SIZES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return {size: {one["name"]: one for one in cases} for size, cases in json.loads(done.stdout).items()}


@by_size
@by_case
def test_the_page_keeps_to_the_table(name: str, size: int, in_node: dict[str, dict[str, Any]]) -> None:
    found = in_node[str(size)][name]
    assert_as_in_the_table([Detection(**detection) for detection in found["detections"]], name)
    assert found["asked"] == len(rows(CASES[name]))
